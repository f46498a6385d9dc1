from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks import simplify as module
from cellseg_mmdet.masks.outlines import Outlines
from cellseg_mmdet.masks.simplify import iou_with, simplified

label_maps = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.integers(0, 2)
)


def disk(radius: int) -> Runs:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return Runs.from_label_map((y**2 + x**2 <= radius**2).astype(int))


def shapes_of(outlines: Outlines) -> list[shapely.MultiPolygon]:
    return [
        shapely.MultiPolygon([shapely.Polygon(rings[0], rings[1:]) for rings in cell])
        for cell in outlines
    ]


def test_nothing_is_left_out_without_a_tolerance() -> None:
    outlines = Outlines.from_runs(disk(9))
    again = simplified(outlines, 0)
    assert again.points.tolist() == outlines.points.tolist()
    assert iou_with(again, disk(9)).tolist() == [1]


def test_a_disk_loses_its_steps_and_little_else() -> None:
    masks = disk(20)
    outlines = Outlines.from_runs(masks)
    reduced = simplified(outlines, 1)
    assert len(reduced.points) < len(outlines.points) / 3
    assert iou_with(reduced, masks)[0] > 0.95
    assert iou_with(simplified(outlines, 3), masks)[0] < iou_with(reduced, masks)[0]


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="got -1"):
        simplified(Outlines.from_runs(disk(2)), -1)


def test_what_would_be_left_without_an_area_stays() -> None:
    masks = Runs.from_label_map(np.array([[1, 0, 2, 2, 2, 2]]))
    outlines = Outlines.from_runs(masks)
    assert simplified(outlines, 5).points.tolist() == outlines.points.tolist()


@settings(max_examples=80)
@given(label_map=label_maps, tolerance=st.sampled_from([0.5, 0.8, 1.5, 3, 20]))
def test_polygons_stay_valid_and_near(label_map: np.ndarray, tolerance: float) -> None:
    masks = Runs.from_label_map(label_map)
    outlines = Outlines.from_runs(masks)
    reduced = simplified(outlines, tolerance)
    for before, after in zip(shapes_of(outlines), shapes_of(reduced), strict=True):
        assert shapely.is_valid(after), shapely.is_valid_reason(after)
        assert len(after.geoms) == len(before.geoms)
        assert shapely.hausdorff_distance(before.boundary, after.boundary) <= tolerance + 1e-9
    found = reduced.to_runs()
    for index, iou in enumerate(iou_with(reduced, masks)):
        one, other = (set(runs[[index]].pixels()[0].tolist()) for runs in (found, masks))
        assert iou == pytest.approx(len(one & other) / len(one | other))


def test_the_same_a_few_pairs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    outlines = Outlines.from_runs(
        Runs.from_label_map(np.random.default_rng(0).integers(0, 9, (40, 50)).repeat(3, axis=0))
    )
    at_once = simplified(outlines, 1.5)
    monkeypatch.setattr(module, "_MAX_PAIRS", 10)
    assert simplified(outlines, 1.5).points.tolist() == at_once.points.tolist()


def test_empty_instances() -> None:
    masks = Runs.from_pixels(np.array([5]), np.array([1]), 3, 3, 4)
    reduced = simplified(Outlines.from_runs(masks), 1)
    assert [len(cell) for cell in reduced] == [0, 1, 0]
    assert iou_with(reduced, masks).tolist() == [1, 1, 1]
    nothing = Runs.empty(3, 4)
    assert iou_with(simplified(Outlines.from_runs(nothing), 1), nothing).tolist() == []
