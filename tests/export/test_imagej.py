"""ROI sets, read back by roifile: what ImageJ's RoiDecoder reads."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import shapely
from roifile import ROI_TYPE, ImagejRoi, roiread

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction
from tests.export.scenes import HEIGHT, WIDTH, dense, prediction, write


def rois_of(path: Path) -> list[ImagejRoi]:
    found = roiread(path)
    assert isinstance(found, list)
    return found


def pixels_of(roi: ImagejRoi, height: int, width: int) -> np.ndarray:
    """Return what is inside: the outer rings without the holes, which is what an odd number of rings goes round."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    inside = np.zeros((height, width), bool)
    for ring in roi.coordinates(multi=True):
        inside ^= shapely.contains_xy(shapely.Polygon(ring), x, y)
    return inside


def test_regions_are_the_masks(tmp_path: Path) -> None:
    written = write("imagej", tmp_path, prediction())
    assert written.files == {tmp_path / "rois": "1 ROI set"}
    rois = rois_of(tmp_path / "rois/a.zip")
    assert [roi.name for roi in rois] == [
        "0001 nucleus",
        "0002 a <b> & c/d",
        "0003 nucleus",
        "0005 a <b> & c/d",
    ]
    for roi, expected in zip(rois, dense(prediction().masks)[[0, 1, 2, 4]], strict=True):
        np.testing.assert_array_equal(pixels_of(roi, HEIGHT, WIDTH), expected)
        y, x = np.nonzero(expected)
        box = [x.min(), y.min(), x.max() + 1, y.max() + 1]
        assert [roi.left, roi.top, roi.right, roi.bottom] == box


def test_one_ring_is_traced_and_more_are_composite(tmp_path: Path) -> None:
    write("imagej", tmp_path, prediction())
    square, ring, pieces, _ = rois_of(tmp_path / "rois/a.zip")
    assert square.roitype == ROI_TYPE.TRACED and not square.composite
    assert square.integer_coordinates is not None and square.subpixel_coordinates is None
    for roi in (ring, pieces):
        assert roi.roitype == ROI_TYPE.RECT and roi.composite
        assert roi.shape_roi_size == len(roi.multi_coordinates)
        assert set(roi.multi_coordinates.tolist()) >= {0, 1, 4}
    # A hole goes round the other way.
    areas = [shapely.LinearRing(part).is_ccw for part in ring.coordinates(multi=True)]
    assert sorted(areas) == [False, True]


def test_entries_have_names_that_files_may_have(tmp_path: Path) -> None:
    write("imagej", tmp_path, prediction())
    with zipfile.ZipFile(tmp_path / "rois/a.zip") as archive:
        assert archive.namelist() == [
            "0001 nucleus.roi",
            "0002 a _b_ _ c_d.roi",
            "0003 nucleus.roi",
            "0005 a _b_ _ c_d.roi",
        ]


def test_colours_and_scores_are_kept(tmp_path: Path) -> None:
    write("imagej", tmp_path, prediction())
    first, second, third, _ = rois_of(tmp_path / "rois/a.zip")
    assert first.stroke_color == third.stroke_color != second.stroke_color
    assert first.properties == {"cell_id": 1, "score": 0.75}


@pytest.mark.parametrize(
    ("plane", "expected"),
    [
        (None, (0, 0, 0, 0)),
        ("z3", (4, 0, 0, 0)),
        ("t0_z3", (0, 0, 4, 1)),
        ("c1_z3", (0, 2, 4, 0)),
        ("t5_c0_z3", (0, 1, 4, 6)),
    ],
)
def test_cells_of_a_plane_are_on_it(
    tmp_path: Path, plane: str | None, expected: tuple[int, ...]
) -> None:
    write("imagej", tmp_path, prediction(), plane=plane)
    for roi in rois_of(tmp_path / "rois/a.zip"):
        assert (roi.position, roi.c_position, roi.z_position, roi.t_position) == expected


@pytest.mark.parametrize("x", [40_000, 60_530, 70_000])
def test_coordinates_of_slides(tmp_path: Path, x: int) -> None:
    pixels = np.array([x * 10 + y for y in (1, 2, 3)] + [(x + 1) * 10 + 3])
    masks = Runs.from_pixels(pixels, np.zeros(4, int), 1, 10, x + 9)
    found = ImagePrediction("a", 1, 10, x + 9, masks.boxes, np.ones(1), np.zeros(1, int), masks)
    write("imagej", tmp_path, found)
    (roi,) = rois_of(tmp_path / "rois/a.zip")
    corners = [[x, 4], [x, 1], [x + 1, 1], [x + 1, 3], [x + 2, 3], [x + 2, 4]]
    assert np.asarray(roi.coordinates()).tolist() == corners


def test_a_second_run_writes_the_same_bytes_and_none_is_an_empty_archive(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write("imagej", tmp_path / folder, prediction())
    first, second = (tmp_path / folder / "rois/a.zip" for folder in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    write("imagej", tmp_path, prediction().select(np.zeros(0, int)))
    assert roiread(tmp_path / "rois/a.zip") == []
