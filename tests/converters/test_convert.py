from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.cli import run
from cellseg_mmdet.converters import READERS
from cellseg_mmdet.converters.convert import describe
from cellseg_mmdet.converters.pipeline import Converted
from cellseg_mmdet.errors import ConfigError, UsageError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord


@pytest.fixture(autouse=True)
def _readers_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(READERS, "_parts", dict(READERS._parts))


def main(name: str, argv: list[str]) -> None:
    run(["convert", name, *argv])


def record(name: str) -> ImageRecord:
    masks = Runs.from_label_map(np.eye(4, dtype=np.int32))
    return ImageRecord(name, 4, 4, masks, ("cell",))


def test_there_is_a_reader_for_each_raw_data_set() -> None:
    assert READERS.names() == [
        "dsb2018",
        "label-images",
        "livecell",
        "mmdet-pickle",
        "npz",
        "sartorius",
        "synthetic",
    ]
    assert all(describe(name).splitlines()[0].endswith(".") for name in READERS.names())
    with pytest.raises(ConfigError, match="unknown raw data set 'coco'; there are dsb2018"):
        describe("coco")


@pytest.mark.parametrize("name", READERS.names())
def test_every_reader_has_a_command_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(name, ["--help"])
    assert end.value.code == 0
    assert describe(name).split()[0] in capsys.readouterr().out


def test_a_new_reader_is_one_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @READERS.register("diagonals")
    class Diagonals:
        """Convert diagonals."""

        output = "folds"

        def add_arguments(self, parser: ArgumentParser) -> None:
            parser.add_argument("--count", type=int)

        def read(self, args: Namespace) -> Converted:
            records = [record(f"{number}.png") for number in range(args.count)]
            return Converted(records=records, source="diagonals")

    main("diagonals", ["--count", "4", "--folds", "2", "--out-dir", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "all.json",
        "conversions.json",
        "train_fold0.json",
        "train_fold1.json",
        "val_fold0.json",
        "val_fold1.json",
    ]
    content = json.loads((tmp_path / "all.json").read_text())
    assert content["info"]["source"] == "diagonals"
    assert content["info"]["options"] == {"folds": 2, "seed": 0, "clean": {}, "on_error": "stop"}
    assert "4 images, 4 cells (4 cell)" in capsys.readouterr().out


def test_splits_are_read_one_after_the_other(tmp_path: Path) -> None:
    events: list[str] = []

    @READERS.register("halves")
    class Halves:
        """Convert halves."""

        output = "splits"

        def add_arguments(self, parser: ArgumentParser) -> None:
            pass

        def read(self, args: Namespace) -> Iterator[Converted]:
            for split in ("test", "train"):
                found = [path.name for path in sorted(tmp_path.iterdir())]
                assert all(name.startswith(".") for name in found)  # nothing half-done is seen
                events.extend(name.split(".")[1] for name in found)
                events.append(f"read {split}")
                yield Converted(records=[record("a.png")], split=split)

    main("halves", ["--out-dir", str(tmp_path), "--format", "mmdet", "--on-error", "skip"])
    assert events == ["read test", "test", "test_rejected", "read train"]
    names = ["conversions.json", "test.pkl", "test_rejected.csv", "train.pkl", "train_rejected.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_format_and_name_must_agree_before_anything_is_read(tmp_path: Path) -> None:
    arguments = ["missing.pkl", "--format", "coco", "--out", str(tmp_path / "a.pkl")]
    with pytest.raises(UsageError, match=r"--format coco makes a \.json file"):
        main("mmdet-pickle", arguments)
