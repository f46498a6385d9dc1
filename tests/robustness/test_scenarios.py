"""What users do by mistake with export, measure, models and the Python API: found by scenarios run as they would be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cellseg_mmdet import cli
from cellseg_mmdet.cli import run
from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.inference.cells import Cells
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.measure import MeasureOptions, Ring

ROOT = Path(__file__).resolve().parents[2]
LABELS = np.zeros((20, 30), np.uint16)
LABELS[2:8, 2:9], LABELS[10:16, 12:20] = 1, 2
RLE = Runs.from_label_map(LABELS).to_coco()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images, their label images, and COCO results of the first."""
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "masks", "found"):
        Path(folder).mkdir()
    for name in "ab":
        cv2.imwrite(f"images/{name}.png", (LABELS * 90).astype(np.uint8))
        cv2.imwrite(f"masks/{name}.png", LABELS)
    images = [
        {"id": 1, "file_name": "images/a.png", "name": "a", "height": 20, "width": 30},
        {"id": 2, "file_name": "images/b.png", "name": "b", "height": 20, "width": 30},
    ]
    index = {"images": images, "categories": [{"id": 1, "name": "cell"}]}
    results = [
        {"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": rle, "bbox": [2, 2, 7, 6]}
        for rle in RLE
    ]
    Path("found/images.json").write_text(json.dumps(index))
    Path("found/predictions.json").write_text(json.dumps(results, default=bytes.decode))
    return tmp_path


def changed(path: str, change: Callable[[Any], Any]) -> None:
    content = json.loads(Path(path).read_text())
    change(content)
    Path(path).write_text(json.dumps(content))


MEASURE = ["measure", "masks", "images", "--out", "cells.csv"]
EXPORT = ["export", "found/predictions.json", "--out-dir", "out", "--to"]
ALL_OF_AN_IMAGE = ["geojson", "label-tiff", "npz", "ome-zarr", "imagej", "outlines"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([*MEASURE, "--group", ""], "the expression is empty"),
        ([*MEASURE, "--group", "(?P<mean_gray>.)"], "column mean_gray already"),
        ([*MEASURE, "--group", "(?P<Area>.)", "--names", "imagej"], "the column Area"),
        (
            [*MEASURE, "--group", "(?P<median_area_px>.)", "--summary", "s.csv"],
            "column median_area_px already",
        ),
        ([*MEASURE, "--summary", "cells.csv"], "would be one file"),
        ([*MEASURE[:-1], "s_groups.csv", "--summary", "s.csv", "--group", "."], "would be one"),
        ([*MEASURE, "--pixel-size", "1e300"], "pixel_size_um"),
        ([*MEASURE, "--channel", "9"], "--channel 9"),
        ([*MEASURE, "--channel", "DAPI"], "--channel DAPI"),
        ([*MEASURE, "--z", "3"], "no plane 3 for --z"),
        ([*MEASURE, "--t", "3"], "no plane 3 for --t"),
        ([*MEASURE, "--planes", "3"], "no plane 3 for --planes"),
        ([*EXPORT, "coco", "--format", "dsb2018"], "--format is of the writers submission"),
        (
            ["ensemble", "found/predictions.json", "masks", "--out", "e.png"],
            "e.png: the name of a dump ends with .pkl",
        ),
        (["models", ""], "no model '' ships"),
    ],
    ids=lambda value: "-".join(value[-2:]) if isinstance(value, list) else "",
)
def test_arguments_that_cannot_be_meant(scene: Path, argv: list[str], said: str) -> None:
    with pytest.raises(CellsegError, match=said):
        run(argv)
    assert not Path("cells.csv").exists()


@pytest.mark.parametrize("reach", [100_000, 10**30])
def test_a_ring_beyond_the_image(scene: Path, reach: int) -> None:
    run([*MEASURE, "--ring", "0", str(reach)])
    (_, first, *_) = Path("cells.csv").read_text().splitlines()
    names = Path("cells.csv").read_text().splitlines()[0].split(",")
    assert dict(zip(names, first.split(","), strict=True))["background_gray"] == "0"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("../../escaped", ".._.._escaped"),
        ("/tmp/escaped", "_tmp_escaped"),
        ("sub/b", "sub_b"),
        ("sub\\b", "sub_b"),
        ("..", "__"),
        ("12:30", "12_30"),
    ],
)
def test_names_of_images_do_not_lead_out_of_the_folder(scene: Path, name: str, file: str) -> None:
    changed("found/images.json", lambda content: content["images"][1].update(name=name))
    before = set(scene.rglob("*"))
    run([*EXPORT, *ALL_OF_AN_IMAGE])
    new = [path for path in set(scene.rglob("*")) - before if path != scene / "out"]
    assert new
    assert all(path.is_relative_to(scene / "out") for path in new)
    assert (scene / "out/geojson" / f"{file}.geojson").is_file()


def test_two_images_of_one_file(scene: Path) -> None:
    changed("found/images.json", lambda content: content["images"][0].update(name="x/b"))
    changed("found/images.json", lambda content: content["images"][1].update(name="x:b"))
    with pytest.raises(CellsegError, match="'x/b' and 'x:b' would both be written to x_b"):
        run([*EXPORT, "npz"])


@pytest.mark.skipif(sys.platform == "win32", reason="no such names")
@pytest.mark.parametrize("name", ["a\nb", "12:30", "<b>", "a\udce4"], ids=ascii)
def test_odd_names_of_images_are_found_again(scene: Path, name: str) -> None:
    for folder in ("images", "masks"):
        try:
            os.rename(f"{folder}/a.png", f"{folder}/{name}.png")
        except (OSError, UnicodeError):
            pytest.skip("this file system takes no such name")
    run([*MEASURE, "--summary", "s.csv", "--page", "page"])
    formats = [*ALL_OF_AN_IMAGE, "coco", "dump", "submission", "overlay", "table"]
    run(["export", "masks", "--images", "images", "--out-dir", "out", "--to", *formats])
    assert len(Path("cells.csv").read_text().splitlines()) >= 5


def test_a_class_that_is_called_all(scene: Path) -> None:
    names = [{"id": 1, "name": "all"}, {"id": 2, "name": "other"}]
    changed("found/images.json", lambda content: content.update(categories=names))
    run(
        [
            "measure",
            "found/predictions.json",
            "--out",
            "c.csv",
            "--group",
            "images",
            "--summary",
            "s.csv",
        ]
    )
    lines = Path("s_groups.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    counts = {row["class"]: row["cells"] for row in rows if row["group"] == "images"}
    assert counts == {"all": "2", "class all": "2", "other": "0"}


def test_results_with_a_negative_box(scene: Path) -> None:
    changed("found/predictions.json", lambda content: content[0].update(bbox=[1, 2, -3, 3]))
    with pytest.raises(CellsegError, match=r"result 1.*must not be negative"):
        run([*EXPORT, "coco"])
    run([*EXPORT, "coco", "--on-error", "skip"])
    assert len(json.loads(Path("out/predictions.json").read_text())) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_pipes_are_not_waited_for(scene: Path) -> None:
    os.mkfifo("pipe.json")
    os.mkfifo("pipe.png")
    for argv in (
        ["measure", "pipe.json", "--out", "c.csv"],
        ["evaluate", "masks", "--ann", "pipe.json"],
        ["measure", "masks", "pipe.png", "--out", "c.csv"],
    ):
        with pytest.raises((CellsegError, OSError), match="pipe"):
            run(argv)


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are closed by a shell")
@pytest.mark.parametrize("descriptor", [1, 2])
def test_standard_streams_that_are_closed(tmp_path: Path, descriptor: int) -> None:
    os.mkdir(tmp_path / "masks")
    cv2.imwrite(str(tmp_path / "masks/a.png"), LABELS)
    command = f'exec "$@" {descriptor}>&-'
    argv = [
        sys.executable,
        "-m",
        "cellseg_mmdet",
        "export",
        "masks",
        "--out-dir",
        "o",
        "--to",
        "coco",
    ]
    done = subprocess.run(
        ["sh", "-c", command, "sh", *argv],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o/predictions.json").is_file()


def test_ctrl_c_while_a_command_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str, parser: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_fill", interrupted)
    with pytest.raises(SystemExit) as caught:
        cli.main(["models"])
    assert caught.value.code == 130


def folder_of_others(path: Path) -> None:
    path.mkdir()
    (path / "precious.txt").touch()


def link(path: Path) -> None:
    (path.parent / "elsewhere").mkdir()
    path.symlink_to("elsewhere")


def test_ome_zarr_replaces_nothing_but_its_own(scene: Path) -> None:
    target = scene / "out/ome-zarr/a.zarr"
    target.parent.mkdir(parents=True)
    folder_of_others(target)
    with pytest.raises(CellsegError, match=r"a\.zarr is there, and no OME-Zarr.*precious"):
        run([*EXPORT, "ome-zarr"])
    (target / "precious.txt").unlink()
    run([*EXPORT, "ome-zarr"])
    run([*EXPORT, "ome-zarr"])  # its own
    assert not list(scene.rglob("*cellseg-tmp*"))


def test_ome_zarr_in_the_place_of_a_file_or_link(scene: Path) -> None:
    target = scene / "out/ome-zarr/a.zarr"
    target.parent.mkdir(parents=True)
    target.touch()
    with pytest.raises(NotADirectoryError) as caught:
        run([*EXPORT, "ome-zarr"])
    assert caught.value.filename == str(target.relative_to(scene))
    target.unlink()
    link(target)
    run([*EXPORT, "ome-zarr"])
    assert (target / "zarr.json").is_file() and not target.is_symlink()
    assert not list(scene.rglob("*cellseg-tmp*"))


def cells() -> Cells:
    masks = Runs.from_label_map(LABELS)
    return Cells(masks, np.array([0.9, 0.5]), np.array([0, 0]), ("cell",), "a")


@pytest.mark.parametrize(
    "use",
    [
        lambda: cells()[True],
        lambda: cells()[np.array([0.0])],
        lambda: cells()[np.array([[0, 1]])],
        lambda: cells().crop(0, margin_px=-3),
        lambda: cells().crop(0, margin_px=1.5),
        lambda: cells().crop(0.5),
        lambda: cells().measure(np.zeros((20, 30, 0))),
        lambda: cells().to_geojson(measurements={"a": [1.0]}),
        lambda: cells().to_geojson(measurements={"a": ["x", "y"]}),
        lambda: cells().to_geojson(measurements={"a": [None, 1]}),
        lambda: cells().to_geojson(measurements={"a": 5}),
        lambda: cells().to_geojson(simplify_px=-1),
        lambda: cells().to_geojson(simplify_px=float("nan")),
        lambda: cells().to_geojson(simplify_px="1"),
        lambda: MeasureOptions(pixel_size_um=0.5),
        lambda: MeasureOptions(pixel_size_um=(1, 1, 1)),
        lambda: MeasureOptions(pixel_size_um=(-1, 1)),
        lambda: MeasureOptions(pixel_size_um=(float("nan"), 1)),
        lambda: MeasureOptions(neighbour_px=float("nan")),
        lambda: MeasureOptions(ring=(1, 2)),
        lambda: Ring(-1, 2),
        lambda: Ring(1.5, 2),
        lambda: Cells(cells().masks, np.array([0.9]), np.array([0, 0]), ("cell",)),
        lambda: Cells(cells().masks, np.array([0.9, np.nan]), np.array([0, 0]), ("cell",)),
        lambda: Cells(cells().masks, np.array([0.9, 0.1]), np.array([0, 7]), ("cell",)),
        lambda: Cells(cells().masks, np.array([0.9, 0.1]), np.array([0, -1]), ("cell",)),
        lambda: Cells(cells().masks, np.array([0.9, 0.1]), np.array([0.5, 0]), ("cell",)),
        lambda: Cells(LABELS, np.array([0.9, 0.1]), np.array([0, 0]), ("cell",)),
        lambda: Runs.from_label_map(None),
        lambda: Runs.from_label_map("a.png"),
        lambda: Runs.from_label_map(LABELS[None]),
        lambda: Runs.from_label_map(LABELS + 0.5),
    ],
)
def test_odd_arguments_of_the_python_api(use: Callable[[], Any]) -> None:
    with pytest.raises((CellsegError, IndexError)):
        use()


@pytest.mark.parametrize(
    "labels",
    [
        LABELS.tolist(),
        np.asfortranarray(LABELS),
        LABELS.astype(">u2"),
        np.matrix(LABELS),
        LABELS[::-1][::-1],
    ],
    ids=["list", "fortran", "bigendian", "matrix", "strided"],
)
def test_label_maps_of_every_make(labels: Any) -> None:
    assert Runs.from_label_map(labels) == Runs.from_label_map(LABELS)


def test_cells_of_lists() -> None:
    made = Cells(cells().masks, [0.9, 0.1], [0, 0], "cell")
    assert repr(made) == "Cells(2 cells in 20 x 30 pixels: 2 cell)"
    assert made.label_map().max() == 2
    assert len(made[[]]) == 0
