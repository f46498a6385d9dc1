"""Every writer on real images of nuclei and of neurons, read back by software of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
import tifffile
import zarr
from ome_zarr_models.v05.image_label import ImageLabel
from pycocotools.coco import COCO
from roifile import roiread
from skimage.measure import regionprops

from cellseg_mmdet.converters.readers.dsb2018 import read_dsb2018
from cellseg_mmdet.converters.readers.sartorius import read_sartorius
from cellseg_mmdet.export import WRITERS, label_map, opened
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.structures import ImageKey, ImagePrediction, from_records
from tests.export.scenes import dense

pytestmark = pytest.mark.realdata

NAMES = ("coco", "geojson", "imagej", "label-tiff", "npz", "ome-zarr", "outlines", "overlay")


@pytest.fixture(scope="module")
def found(dsb2018: Path, sartorius: Path) -> list[tuple[ImagePrediction, Picture]]:
    """Twelve images of nuclei, small and large ones, and the three of neurons with most overlaps among the first."""
    nuclei = from_records(read_dsb2018(dsb2018 / "stage1_train").records)[::5]
    neurons = from_records(
        read_sartorius(sartorius / "train.csv", sartorius / "train").records[:30], None
    )
    neurons.sort(key=lambda one: len(np.unique(one.masks.pixels()[0])) - one.masks.areas.sum())
    random = np.random.default_rng(0)
    pairs = []
    for one in [*nuclei, *neurons[:3]]:
        folders = (dsb2018 / "stage1_train" / one.image_id / "images", sartorius / "train")
        path = next(
            f / f"{one.image_id}.png" for f in folders if (f / f"{one.image_id}.png").exists()
        )
        one = replace(one, scores=random.uniform(0.3, 1, len(one)), img_path=str(path))
        pairs.append((one, Picture(ImageKey(str(path), name=one.image_id))))
    return pairs


@pytest.fixture(scope="module")
def out(
    found: list[tuple[ImagePrediction, Picture]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("out")
    with opened([WRITERS.get(name)() for name in NAMES], folder, ("cell",)) as writers:
        for one, picture in found:
            for writer in writers:
                writer.add(one, picture)
        for writer in writers:
            writer.close()
    return folder


def predictions(found: list[tuple[ImagePrediction, Picture]]) -> Iterator[ImagePrediction]:
    return (one for one, _ in found)


def test_geojson_is_the_masks(found, out: Path) -> None:
    for one in predictions(found):
        content = json.loads((out / f"geojson/{one.image_id}.geojson").read_text())
        shapes = [shapely.from_geojson(json.dumps(f["geometry"])) for f in content["features"]]
        assert all(shape.is_valid for shape in shapes)
        assert [shape.area for shape in shapes] == one.masks.areas.tolist()
        for shape, mask, box in zip(shapes, dense(one.masks), one.masks.boxes, strict=True):
            x1, y1, x2, y2 = box
            x, y = np.meshgrid(np.arange(x1, x2) + 0.5, np.arange(y1, y2) + 0.5)
            np.testing.assert_array_equal(shapely.contains_xy(shape, x, y), mask[y1:y2, x1:x2])


def test_regions_of_imagej_are_the_masks(found, out: Path) -> None:
    for one in predictions(found):
        rois = roiread(out / f"rois/{one.image_id}.zip")
        assert [roi.properties["cell_id"] for roi in rois] == one.cell_ids.tolist()
        for roi, mask in zip(rois, dense(one.masks), strict=True):
            inside = np.zeros(mask.shape, np.uint8)
            for ring in roi.coordinates(multi=True):
                shape = shapely.Polygon(ring)
                x1, y1, x2, y2 = map(int, shape.bounds)
                x, y = np.meshgrid(np.arange(x1, x2) + 0.5, np.arange(y1, y2) + 0.5)
                inside[y1:y2, x1:x2] ^= shapely.contains_xy(shape, x, y)
            np.testing.assert_array_equal(inside, mask)


def test_label_images_are_the_masks_but_for_overlaps(found, out: Path) -> None:
    for one in predictions(found):
        expected = label_map(one)
        labels = tifffile.imread(out / f"labels/{one.image_id}.tif")
        np.testing.assert_array_equal(labels, expected)
        with np.load(out / f"npz/{one.image_id}.npz") as content:
            np.testing.assert_array_equal(content["labels"], expected)
        group = zarr.open_group(out / f"ome-zarr/{one.image_id}.zarr/labels/cells", mode="r")
        ImageLabel.from_zarr(group)
        np.testing.assert_array_equal(group["0"][:], expected)
        alone = np.bincount(one.masks.pixels()[0]).max(initial=0) <= 1
        areas = {cell.label: cell.area for cell in regionprops(labels.astype(np.int32))}
        if alone:
            assert areas == dict(zip(one.cell_ids.tolist(), one.masks.areas.tolist(), strict=True))
        else:
            assert all(area <= one.masks.areas[label - 1] for label, area in areas.items())


def test_results_of_coco_are_the_masks(found, out: Path) -> None:
    coco = COCO(out / "images.json").loadRes(str(out / "predictions.json"))
    for number, one in enumerate(predictions(found), start=1):
        rows = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
        assert [row["cell_id"] for row in rows] == one.cell_ids.tolist()
        for row, mask in zip(rows, dense(one.masks), strict=True):
            np.testing.assert_array_equal(coco.annToMask(row), mask)


def test_overlays_are_pictures_of_their_size(found, out: Path) -> None:
    for one in predictions(found):
        height, width, _ = cv2.imread(str(out / f"overlays/{one.image_id}.png")).shape
        assert width == 2 * one.width and height > 2 * one.height


def test_outlines_have_a_line_a_cell(found, out: Path) -> None:
    for one in predictions(found):
        lines = (out / f"outlines/{one.image_id}.txt").read_text().splitlines()
        assert len(lines) == len(one)
