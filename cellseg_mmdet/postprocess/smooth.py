"""Smooth the outlines of masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.column_runs import ColumnRuns
from cellseg_mmdet.masks.ragged import offsets_from_lengths, ragged_arange, segment_ids
from cellseg_mmdet.postprocess.parameters import PerClass, Tunable, check_choice
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction

# Boxes to filter together. The cells of an image come to less; masks of half an image do not.
_MAX_CANVAS_PX = 10_000_000


@STEPS.register("Smooth")
class Smooth(Step):
    """Filter each mask on its own, as if the image went on without cells around it.

    No mask leaves its tight box. Instances left without a pixel are dropped.

    Args:
        radius_px: of the filter, up to 50, 0 for none; one for all, or a dict from class name to radius.
        method: ``'median'``, the value of most pixels in a square of 2 r + 1; or with the disc of
            all pixels up to r away, ``'opening'``, which takes away what is narrower than it, or
            ``'closing'``, which fills gaps that are.

    Example:
        >>> from cellseg_mmdet import ImagePrediction, Runs
        >>> label_map = np.zeros((5, 5), int)
        >>> label_map[1:4, 1:4] = label_map[2, 4] = 1
        >>> masks = Runs.from_label_map(label_map)
        >>> scores, labels = np.array([0.9]), np.array([0])
        >>> found = ImagePrediction("a", 1, 5, 5, masks.boxes, scores, labels, masks)
        >>> Smooth(1, "opening")(found).masks.to_label_map()
        array([[0, 0, 0, 0, 0],
               [0, 0, 1, 1, 0],
               [0, 1, 1, 1, 1],
               [0, 0, 1, 1, 0],
               [0, 0, 0, 0, 0]], dtype=int32)
    """

    tunable = (Tunable("radius_px", 0, 3, integer=True),)

    def __init__(
        self,
        radius_px: int | Mapping[str, int],
        method: str = "median",
        *,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.radius_px = PerClass("radius_px", radius_px, classes, low=0, high=50, integer=True)
        check_choice("method", method, tuple(_FILTERS))
        self.method = method
        self.grows_masks = method != "opening"

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        masks = prediction.masks
        parts, chosen = [], []
        for index, radius_px in _alike(self.radius_px.of(prediction.labels), masks.boxes):
            parts.append(_filter(masks[index], self.method, radius_px))
            chosen.append(index)
        if not parts:
            return prediction
        smooth = Runs.concatenate(parts)[np.argsort(np.concatenate(chosen))]
        return replace(prediction, masks=smooth).select(smooth.areas > 0)


def _alike(radius_px: np.ndarray, boxes: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the instances of each radius and of about the same height, and the radius."""
    width, height = np.maximum(boxes[:, 2:] - boxes[:, :2], 1).T
    # Side by side on one canvas, none takes more than 1.4 times the place that it needs.
    size = np.ceil(2 * np.log2(height)).astype(np.int64)
    batch = np.cumsum(width * height) // _MAX_CANVAS_PX
    kinds, kind = np.unique([radius_px, size, batch], axis=1, return_inverse=True)
    for number, radius in enumerate(kinds[0].tolist()):
        yield np.flatnonzero(kind.ravel() == number), radius


def _filter(masks: Runs, method: str, radius_px: int) -> Runs:
    """Filter all masks at once, drawn one below the other with their columns as rows."""
    if radius_px == 0:
        return masks
    boxes, runs = masks.boxes, ColumnRuns.from_runs(masks)
    # Two filters of this radius in sequence reach from one mask to the next one no further than the gap of 4 r.
    margin = 2 * radius_px
    num_rows = boxes[:, 2] - boxes[:, 0] + 2 * margin
    row_offsets = offsets_from_lengths(num_rows)
    width = int((boxes[:, 3] - boxes[:, 1]).max(initial=0)) + 2 * margin
    shift_x = row_offsets[:-1] + margin - boxes[:, 0]
    shift_y = margin - boxes[:, 1]

    canvas = np.zeros(row_offsets[-1] * width, dtype=np.uint8)
    begins = (runs.column + shift_x[runs.owner]) * width + runs.top + shift_y[runs.owner]
    canvas[ragged_arange(begins, runs.bottom - runs.top)] = 1
    filtered = _FILTERS[method](canvas.reshape(-1, width), radius_px).ravel()

    # Rows begin and end with 0, so that edges are begin, end, begin, end, ...
    edges = np.flatnonzero(np.diff(filtered.view(np.bool_))) + 1
    row, top = np.divmod(edges[::2], width)
    owner = segment_ids(row_offsets)[row]
    column, top = row - shift_x[owner], top - shift_y[owner]
    result = ColumnRuns(owner, column, top, top + edges[1::2] - edges[::2])
    return result.to_runs(len(masks), masks.height, masks.width)


def _median(canvas: np.ndarray, radius_px: int) -> np.ndarray:
    import cv2  # where it smooths: all other steps do without OpenCV

    side = 2 * radius_px + 1
    count = cv2.boxFilter(canvas, cv2.CV_16U, (side, side), normalize=False)
    return count > side * side // 2


def _morphology(canvas: np.ndarray, radius_px: int, operation: str) -> np.ndarray:
    import cv2

    return cv2.morphologyEx(canvas, getattr(cv2, operation), _disc(radius_px))


def _disc(radius_px: int) -> np.ndarray:
    square = np.arange(-radius_px, radius_px + 1) ** 2
    return (square[:, None] + square <= radius_px**2).astype(np.uint8)


_FILTERS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "median": _median,
    "opening": partial(_morphology, operation="MORPH_OPEN"),
    "closing": partial(_morphology, operation="MORPH_CLOSE"),
}
