"""`cellseg export`: predictions of every kind into every format."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from roifile import roiread

from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.errors import DataError, UsageError
from cellseg_mmdet.evaluation.sources import read_predictions
from cellseg_mmdet.export import WRITERS, opened
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.structures import ImageKey, write_predictions
from tests.export.scenes import CLASSES, HEIGHT, WIDTH, painted, prediction

CONFIG = f"""\
metainfo = dict(classes={CLASSES})
postprocess = [dict(type='ScoreThreshold', score_thr=0.6), dict(type='RemoveOverlaps')]
"""
AS_IT_IS = ["export", "raw.pkl", "--no-postprocess", "--out-dir", "out"]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_predictions("raw.pkl", [prediction("a"), prediction("b")])
    Path("config.py").write_text(CONFIG)
    Path("images").mkdir()
    for name in "ab":
        cv2.imwrite(f"images/{name}.png", np.full((HEIGHT, WIDTH), 40, np.uint8))


def features_of(path: str) -> list[dict]:
    return json.loads(Path(path).read_text("utf-8"))["features"]


def test_every_format_at_once_has_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    names = WRITERS.names()
    cellseg([*AS_IT_IS, "--config", "config.py", "--images", "images", "--to", *names])
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "10 cells in 2 images"
    assert any("out/labels: 2 label images; 8 pixels that cells share" in line for line in said)
    features = features_of("out/geojson/a.geojson")
    numbers = [feature["properties"]["measurements"]["Cell id"] for feature in features]
    assert numbers == [1, 2, 3, 5]
    assert [roi.properties["cell_id"] for roi in roiread("out/rois/a.zip")] == numbers
    labels = tifffile.imread("out/labels/a.tif")
    assert np.unique(labels[labels > 0]).tolist() == numbers
    np.testing.assert_array_equal(labels, painted())
    for kind in ("overlays/a.png", "npz/b.npz", "ome-zarr/b.zarr", "outlines/b.svg"):
        assert Path("out", kind).exists()
    rows = json.loads(Path("out/predictions.json").read_text())
    assert [row["cell_id"] for row in rows] == [1, 2, 3, 4, 5] * 2


def test_a_dump_goes_through_the_list_of_its_config(capsys: pytest.CaptureFixture[str]) -> None:
    cellseg(["export", "raw.pkl", "--config", "config.py", "--to", "geojson", "--out-dir", "out"])
    features = features_of("out/geojson/a.geojson")
    assert [feature["properties"]["classification"]["name"] for feature in features] == [
        CLASSES[0],
        CLASSES[0],
        CLASSES[1],
    ]
    assert capsys.readouterr().out.splitlines()[-1] == "6 cells in 2 images"


@pytest.mark.parametrize("source", ["out/predictions.json", "out/labels", "out/submission.csv"])
def test_final_cells_of_any_kind(source: str) -> None:
    for names in (["coco"], ["label-tiff"], ["submission"]):
        cellseg(["export", "raw.pkl", "--config", "config.py", "--out-dir", "out", "--to", *names])
    cellseg(["export", source, "--to", "label-tiff", "--out-dir", "again", "--images", "images"])
    before, after = (tifffile.imread(f"{out}/labels/b.tif") > 0 for out in ("out", "again"))
    np.testing.assert_array_equal(before, after)


def test_a_dump_of_final_cells_is_not_processed_again(tmp_path: Path) -> None:
    cellseg(
        ["export", "raw.pkl", "--config", "config.py", "--to", "dump", "coco", "--out-dir", "out"]
    )
    final = [*map(len, read_predictions("out/predictions.json"))]
    # Without a config: it says its classes itself, and the second time finds what the first did.
    cellseg(["export", "out/predictions.pkl", "--to", "geojson", "dump", "--out-dir", "again"])
    features = features_of("again/geojson/a.geojson")
    assert len(features) == final[0] == 3
    assert features[2]["properties"]["classification"]["name"] == CLASSES[1]
    assert Path("again/predictions.pkl").read_bytes() == Path("out/predictions.pkl").read_bytes()
    with pytest.raises(UsageError, match=r"holds final cells \(dump of final predictions\)"):
        cellseg(
            [
                "export",
                "out/predictions.pkl",
                "--config",
                "config.py",
                "--to",
                "coco",
                "--out-dir",
                "x",
            ]
        )
    # What was left as it was is not final.
    cellseg([*AS_IT_IS, "--to", "dump"])
    with pytest.raises(UsageError, match="holds raw predictions"):
        cellseg(["export", "out/predictions.pkl", "--to", "geojson", "--out-dir", "x"])


@pytest.mark.parametrize("source", ["predictions.pkl", "predictions.json"])
def test_planes_of_a_stack_come_back_on_their_planes(source: str) -> None:
    tifffile.imwrite(
        "s.ome.tif", np.zeros((2, 3, HEIGHT, WIDTH), np.uint8), metadata={"axes": "TZYX"}
    )
    planes = [
        replace(prediction(f"s.ome_t1_z{z}"), img_path="s.ome.tif", img_id=z + 1) for z in (0, 2)
    ]
    writers = [WRITERS.get(name)() for name in ("coco", "dump")]
    with opened(writers, "out", CLASSES):
        for writer in writers:
            for found in planes:
                writer.add(found, Picture(ImageKey("s.ome.tif")))
            writer.close()
    cellseg(["export", f"out/{source}", "--to", "imagej", "geojson", "csv", "--out-dir", "again"])
    for z in (0, 2):
        for roi in roiread(f"again/rois/s.ome_t1_z{z}.zip"):
            assert (roi.position, roi.z_position, roi.t_position) == (0, z + 1, 2)
        (feature, *_) = features_of(f"again/geojson/s.ome_t1_z{z}.geojson")
        assert feature["geometry"]["plane"] == {"c": -1, "z": z, "t": 1}


def test_coco_results_come_back(tmp_path: Path) -> None:
    cellseg(["export", "raw.pkl", "--no-postprocess", "--to", "coco", "--out-dir", "out"])
    for one, raw in zip(
        read_predictions("out/predictions.json"), read_predictions("raw.pkl"), strict=True
    ):
        assert one.masks == raw.masks and one.image_id == raw.image_id
        np.testing.assert_array_equal(one.scores, raw.scores)


def test_simplified_outlines_say_their_cost(capsys: pytest.CaptureFixture[str]) -> None:
    common = ["export", "raw.pkl", "--no-postprocess", "--out-dir", "out"]
    cellseg([*common, "--to", "imagej", "--simplify", "2"])
    assert "simplified by 2 px, which leaves an IoU" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--simplify is of the writers geojson, imagej, outlines"):
        cellseg([*common, "--to", "coco", "--simplify", "2"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["raw.pkl", "--to", "geojson"], "holds raw predictions: --config must name"),
        (["out/predictions.json", "--to", "coco", "--config", "config.py"], "holds final cells"),
        (["raw.pkl", "--no-postprocess", "--to", "overlay"], "need the image of 'a'"),
    ],
)
def test_what_does_not_go_together(arguments: list[str], message: str) -> None:
    cellseg(["export", "raw.pkl", "--no-postprocess", "--to", "coco", "--out-dir", "out"])
    with pytest.raises(UsageError, match=message):
        cellseg(["export", *arguments, "--out-dir", "new"])
    assert not Path("new/overlays").exists()


def test_an_image_of_another_size_is_refused() -> None:
    cv2.imwrite("images/a.png", np.zeros((3, 4), np.uint8))
    with pytest.raises(DataError, match=r"images/a\.png: 3 x 4 pixels, and the cells of 'a'"):
        cellseg([*AS_IT_IS, "--to", "overlay", "--images", "images"])
