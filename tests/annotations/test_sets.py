"""Files of two conversions are never taken for one set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.annotations import (
    file_set,
    read_annotations,
    stage_annotation_parts,
    write_annotations,
)
from cellseg_mmdet.annotations import sets as module
from cellseg_mmdet.datasets import CellDataset
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord

CELLS = Runs.from_label_map(np.eye(4, dtype=np.int32))
RECORDS = [ImageRecord(f"{number}.png", 4, 4, CELLS, ("cell",)) for number in range(4)]


def convert(folder: Path, *, suffix: str = ".json", num_folds: int = 2, note: str = "") -> None:
    with file_set(folder) as files:
        parts = {folder / f"all{suffix}": range(4)}
        for fold in range(num_folds):
            parts[folder / f"train_fold{fold}{suffix}"] = [n for n in range(4) if n != fold]
            parts[folder / f"val_fold{fold}{suffix}"] = [fold]
        stage_annotation_parts(files, parts, RECORDS, categories=("cell",), info={"note": note})


def readable(folder: Path) -> set[str]:
    """Return the stems of the annotation files that are let through; the others say what to do."""
    found = set()
    for path in folder.iterdir():
        if path.stem.startswith(("all", "train", "val")):
            try:
                read_annotations(path)
            except DataError as error:
                told = str(error)
            else:
                found.add(path.stem)
                continue
            assert "Run it again: cellseg convert" in told or "make it again" in told
    return found


@pytest.fixture(autouse=True)
def _command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "argv", ["/bin/cellseg", "convert", "my data"])


@pytest.mark.parametrize("suffix", [".json", ".pkl"])
@pytest.mark.parametrize("renamed", range(6))
def test_a_set_that_a_kill_left_half_renamed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, renamed: int
) -> None:
    convert(tmp_path, suffix=suffix, note="first")
    names = {"all", "train_fold0", "val_fold0", "train_fold1", "val_fold1"}
    assert readable(tmp_path) == names
    done: list[Path] = []

    def publish(temporary: Path, target: Path) -> None:
        if len(done) == renamed:
            raise KeyboardInterrupt
        done.append(target)
        temporary.replace(target)

    monkeypatch.setattr(module, "publish", publish)
    if renamed < 5:
        with pytest.raises(KeyboardInterrupt):
            convert(tmp_path, suffix=suffix, note="second")
    else:
        convert(tmp_path, suffix=suffix, note="second")

    new = {path.stem for path in done}
    assert readable(tmp_path) == new  # of the second run alone
    assert not list(tmp_path.glob(".*"))
    monkeypatch.undo()
    convert(tmp_path, suffix=suffix, note="second")
    assert readable(tmp_path) == names


def test_before_the_first_rename_all_is_as_it_was(tmp_path: Path) -> None:
    convert(tmp_path, note="first")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def fail() -> None:
        with file_set(tmp_path) as files:
            files.stage(tmp_path / "all.json", "0").write_text("half")
            raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        fail()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_folds_that_an_older_conversion_left_are_refused(tmp_path: Path) -> None:
    convert(tmp_path, num_folds=3)
    convert(tmp_path, num_folds=2)
    assert (tmp_path / "val_fold2.json").exists()
    assert readable(tmp_path) == {"all", "train_fold0", "val_fold0", "train_fold1", "val_fold1"}
    (tmp_path / "images").mkdir()
    for number in range(4):
        (tmp_path / "images" / f"{number}.png").touch()
    with pytest.raises(DataError, match=r"train_fold2\.json is left from an older conversion"):
        CellDataset("train_fold2.json", data_root=str(tmp_path), data_prefix={"img": "images/"})
    convert(tmp_path, num_folds=0)
    assert readable(tmp_path) == {"all"}
    convert(tmp_path, num_folds=3)
    assert len(readable(tmp_path)) == 7


def test_a_set_is_known_by_its_content(tmp_path: Path) -> None:
    convert(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    convert(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_others_are_let_alone(tmp_path: Path) -> None:
    convert(tmp_path)
    (tmp_path / "mine.json").write_bytes((tmp_path / "all.json").read_bytes())  # a copy
    write_annotations(tmp_path / "other.json", RECORDS, categories=("cell",))
    with file_set(tmp_path) as files:  # another set in the same folder
        for name in ("a.json", "b.json"):
            stage_annotation_parts(files, {tmp_path / name: [0]}, RECORDS, categories=("cell",))
    content = json.loads((tmp_path / "all.json").read_text())
    (tmp_path / "all.json").write_text(json.dumps(content))  # written anew by a script of a user
    for name in ("mine", "other", "a", "b", "all", "val_fold1"):
        read_annotations(tmp_path / f"{name}.json")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "all.json").write_bytes((tmp_path / "all.json").read_bytes())
    read_annotations(tmp_path / "copy" / "all.json")


@pytest.mark.parametrize("text", ["", "[]", '{"sets": [{}]}', '{"sets": {"a": 1}}'])
def test_a_damaged_list_is_named(tmp_path: Path, text: str) -> None:
    convert(tmp_path)
    (tmp_path / "conversions.json").write_text(text)
    with pytest.raises(DataError, match=r"conversions\.json"):
        read_annotations(tmp_path / "all.json")
