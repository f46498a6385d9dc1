"""Outlines of the cells of a prediction, and the part that all writers of outlines share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.export.writer import ImageWriter
from cellseg_mmdet.fields import is_number
from cellseg_mmdet.masks.outlines import Outlines, Polygon, outlines_of
from cellseg_mmdet.masks.simplify import iou_with, simplified
from cellseg_mmdet.structures import ImagePrediction

# Cells that are simplified together.
_CELLS_AT_ONCE = 1000


@dataclass(frozen=True, eq=False)
class OutlinedCell:
    """A cell with at least one pixel.

    Attributes:
        index: in the prediction.
        cell_id: its number in everything that is written.
        polygons: see `Outlines.polygons`; rings are not closed.
        iou: of the polygons and the mask; 1 where nothing was simplified.
    """

    index: int
    cell_id: int
    polygons: list[Polygon]
    iou: float


def check_tolerance(simplify_px: float) -> None:
    """Raise ConfigError unless this is how far outlines may move.

    Example:
        >>> check_tolerance(float("nan"))
        Traceback (most recent call last):
        ...
        cellseg_mmdet.errors.ConfigError: simplify_px=nan: must be a number of pixels from 0 on
    """
    if not is_number(simplify_px) or not 0 <= simplify_px < np.inf:
        raise ConfigError(f"simplify_px={simplify_px!r}: must be a number of pixels from 0 on")


def outlined(prediction: ImagePrediction, simplify_px: float = 0) -> Iterator[OutlinedCell]:
    """Yield the cells of a prediction that have a pixel, with their outlines.

    Args:
        prediction: of one image.
        simplify_px: how far outlines may move, see `masks.simplify`; 0 for outlines that are the mask.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> masks = Runs.from_label_map(np.array([[1, 0, 2]]))
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, np.ones(2), np.zeros(2, int), masks)
        >>> [(cell.cell_id, len(cell.polygons), cell.iou) for cell in outlined(found)]
        [(1, 1, 1.0), (2, 1, 1.0)]
    """
    check_tolerance(simplify_px)
    cells = zip(prediction.cell_ids.tolist(), _polygons(prediction, simplify_px), strict=True)
    for index, (number, (polygons, iou)) in enumerate(cells):
        if polygons:
            yield OutlinedCell(index, number, polygons, iou)


def _polygons(
    prediction: ImagePrediction, simplify_px: float
) -> Iterator[tuple[list[Polygon], float]]:
    if not simplify_px:
        for polygons in outlines_of(prediction.masks):
            yield polygons, 1.0
        return
    for begin in range(0, len(prediction), _CELLS_AT_ONCE):
        masks = prediction.masks[begin : begin + _CELLS_AT_ONCE]
        outlines = simplified(Outlines.from_runs(masks), simplify_px)
        yield from zip(outlines, iou_with(outlines, masks).tolist(), strict=True)


class OutlineWriter(ImageWriter):
    """A writer of outlines.

    Args:
        simplify_px: how far outlines may move from the edges of pixels, in pixels, so that they have fewer points; 0
            writes outlines of which every pixel of the mask comes back.

    Raises:
        ConfigError: it is negative, or no number.
    """

    def __init__(self, simplify_px: float = 0) -> None:
        super().__init__()
        check_tolerance(simplify_px)
        self.simplify_px = float(simplify_px)

    def cells_of(self, prediction: ImagePrediction) -> Iterator[OutlinedCell]:
        """Yield the cells of an image, and count what simplifying costs."""
        if not self.simplify_px:
            yield from outlined(prediction)
            return
        ious = []
        for cell in outlined(prediction, self.simplify_px):
            ious.append(cell.iou)
            yield cell
        if ious:
            self.tally = {"cells": len(ious), "iou": sum(ious), "least_iou": min(ious)}

    def told(self, tally: Mapping[str, float]) -> str:
        if not tally:
            return ""
        mean = tally["iou"] / tally["cells"]
        return (
            f"simplified by {self.simplify_px:g} px, which leaves an IoU with the masks of {mean:.4f} on average "
            f"and {tally['least_iou']:.3f} at least"
        )
