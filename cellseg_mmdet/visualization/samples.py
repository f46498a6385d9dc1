"""Training images, as the model is given them, with their boxes, masks and classes drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.visualization.overlays import (
    PALETTE_BGR,
    as_bgr,
    draw_instances,
    neighbour_colors,
)
from cellseg_mmdet.visualization.sheets import sheet

_TILE_PX = 480
_SHEET_ROWS = 3


@dataclass(frozen=True, eq=False)
class Sample:
    """One image that a data set gives to the model.

    Attributes:
        name: of the image.
        image: (H, W, 3) uint8, BGR.
        boxes: (N, 4) float xyxy in pixels.
        labels: (N,) int, index into the classes.
        masks: N instances; None where the pipeline loads no masks.
    """

    name: str
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    masks: Runs | None


def class_colors(
    num_classes: int, palette_rgb: Sequence[Sequence[int]] | None = None
) -> np.ndarray:
    """Return a colour (C, 3) uint8 BGR for each class: those of a data set's palette, else those of overlays."""
    if palette_rgb is not None and len(palette_rgb) >= num_classes:
        return np.array(palette_rgb, dtype=np.uint8)[:num_classes, ::-1]
    return PALETTE_BGR[np.arange(num_classes) % len(PALETTE_BGR)]


def draw_sample(sample: Sample, colors: np.ndarray) -> np.ndarray:
    """Draw masks as tints with contours, and boxes as frames, in the colours (C, 3) BGR of their classes.

    Of one class alone, whose colour would say nothing, neighbours are told apart instead.
    """
    of_instance = colors[sample.labels]
    canvas = as_bgr(sample.image)
    thickness = max(1, round(max(canvas.shape) / _TILE_PX))  # to be seen when it is scaled down
    if sample.masks is not None:
        if len(colors) == 1:
            of_instance = neighbour_colors(sample.masks)
        canvas = draw_instances(canvas, sample.masks, colors=of_instance, scale=1)
    for (x1, y1, x2, y2), color in zip(
        np.rint(sample.boxes).astype(int).tolist(), of_instance.tolist(), strict=True
    ):
        # x2 and y2 are one past the last pixel.
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), color, thickness)
    return canvas


def sample_sheets(
    draws: Sequence[Sequence[Sample]],
    classes: Sequence[str],
    palette_rgb: Sequence[Sequence[int]] | None = None,
) -> list[np.ndarray]:
    """Lay samples out on sheets: a row for each image, with all that was drawn of it.

    Args:
        draws: for each image the samples that its pipeline gave, as many of each.
        classes: class names by label.
        palette_rgb: colours of the classes.
    """
    colors = class_colors(len(classes), palette_rgb)
    legend = [
        (f"{name}  ", tuple(color)) for name, color in zip(classes, colors.tolist(), strict=True)
    ]
    if len(classes) == 1:
        legend = []
    sheets = []
    for begin in range(0, len(draws), _SHEET_ROWS):
        rows = draws[begin : begin + _SHEET_ROWS]
        tiles = [
            ([*legend, (_title(sample), (235, 235, 235))], _tile(draw_sample(sample, colors)))
            for samples in rows
            for sample in samples
        ]
        sheets.append(sheet(tiles, columns=len(rows[0])))
    return sheets


def _title(sample: Sample) -> str:
    height, width = sample.image.shape[:2]
    return f"{sample.name}, {len(sample.labels)} cells, {height} x {width}"


def _tile(drawing: np.ndarray) -> np.ndarray:
    scale = _TILE_PX / max(drawing.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return cv2.resize(drawing, None, fx=scale, fy=scale, interpolation=interpolation)
