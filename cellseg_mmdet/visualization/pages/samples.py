"""Training images, as the model is given them, with their boxes, masks and classes drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.visualization.draw.overlays import (
    PALETTE_BGR,
    as_bgr,
    draw_instances,
    enlarge,
    neighbour_colors,
)
from cellseg_mmdet.visualization.pages.html import strip

_TILE_PX = 480
_TINT_OPACITY, _FRAME_OPACITY = 0.45, 0.5


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
    """Draw masks as tints with contours, and boxes as thin frames, in the colours (C, 3) BGR of their classes.

    Of one class alone, whose colour would say nothing, neighbours are told apart instead.

    Returns:
        uint8 BGR, whose longer side has 480 pixels, or less if that is no multiple of a smaller image's.
    """
    of_instance = colors[sample.labels]
    longest = max(sample.image.shape[:2])
    scale = max(1, _TILE_PX // longest)
    if sample.masks is None:
        canvas = enlarge(as_bgr(sample.image), scale)
    else:
        if len(colors) == 1:
            of_instance = neighbour_colors(sample.masks)
        canvas = draw_instances(
            sample.image, sample.masks, colors=of_instance, scale=scale, opacity=_TINT_OPACITY
        )
    shrink = min(1.0, _TILE_PX / longest)
    if shrink < 1:
        canvas = cv2.resize(canvas, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    # Drawn last: scaled down, lines of one pixel would fade; and lightly: many of them would hide the cells.
    framed = canvas.copy()
    corners = np.rint(sample.boxes * (scale * shrink)).astype(int)
    for (x1, y1, x2, y2), color in zip(corners.tolist(), of_instance.tolist(), strict=True):
        # x2 and y2 are one past the last pixel.
        cv2.rectangle(framed, (x1, y1), (x2 - 1, y2 - 1), color, 1)
    return cv2.addWeighted(canvas, 1 - _FRAME_OPACITY, framed, _FRAME_OPACITY, 0)


def sample_gallery(
    draws: Sequence[Sequence[Sample]],
    classes: Sequence[str],
    palette_rgb: Sequence[Sequence[int]] | None = None,
) -> str:
    """Return, as HTML, a row for each image with all that was drawn of it.

    Args:
        draws: for each image the samples that its pipeline gave.
        classes: class names by label.
        palette_rgb: colours of the classes.
    """
    colors = class_colors(len(classes), palette_rgb)
    keys = "".join(
        f'<li><span class="key" style="--series: rgb{tuple(color[::-1])}"></span>{escape(name)}</li>'
        for name, color in zip(classes, colors.tolist(), strict=True)
    )
    legend = f'<ul class="legend">{keys}</ul>' if len(classes) > 1 else ""
    return legend + "".join(
        strip(
            samples[0].name,
            [(_caption(sample), draw_sample(sample, colors)) for sample in samples],
        )
        for samples in draws
        if samples
    )


def _caption(sample: Sample) -> str:
    height, width = sample.image.shape[:2]
    return f"{len(sample.labels)} cells, {height} x {width}"
