"""What stands below a drawing: what its colours mean, and how long a micrometre is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

BACKGROUND_BGR, INK_BGR = (27, 24, 24), (235, 235, 235)
_FONT, _SIZE = cv2.FONT_HERSHEY_DUPLEX, 0.5
_LINE_PX, _MARGIN_PX, _SWATCH_PX, _GAP_PX = 24, 8, 12, 18
# Of the width of the drawing.
_LONGEST_BAR = 1 / 4


class Entry(NamedTuple):
    """A line of a legend: a text, and the colour (BGR) that it explains, or None."""

    text: str
    bgr: tuple[int, int, int] | None = None


class ScaleBar(NamedTuple):
    """A bar of so many pixels of the drawing, and how long that is."""

    length_px: int
    text: str


def scale_bar(width_px: int, um_per_px: float) -> ScaleBar | None:
    """Return the longest bar of 1, 2 or 5 times a power of ten micrometres in a quarter of the drawing.

    Returns:
        None where even a bar of a pixel is longer.

    Example:
        >>> scale_bar(1000, 0.25)
        ScaleBar(length_px=200, text='50 um')
    """
    longest_um = width_px * _LONGEST_BAR * um_per_px
    if not 0 < longest_um < math.inf:
        return None
    power = 10.0 ** math.floor(math.log10(longest_um))
    length_um = max(step * power for step in (1, 2, 5) if step * power <= longest_um * (1 + 1e-9))
    length_px = round(length_um / um_per_px)
    if length_px < 1:
        return None
    # The fonts of OpenCV have no micro sign.
    text = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} um"
    return ScaleBar(length_px, text)


def legend(width_px: int, entries: Sequence[Entry], bar: ScaleBar | None = None) -> np.ndarray:
    """Draw a legend of that width, with as many lines as it needs: (height, width_px, 3) uint8 BGR.

    Example:
        >>> legend(300, [Entry("nucleus: 12", (0, 159, 230))]).shape
        (32, 300, 3)
    """
    widths = [_width(entry) for entry in entries]
    places: list[tuple[int, int]] = []
    line, x = 0, _MARGIN_PX
    for width in widths:
        if x > _MARGIN_PX and x + width > width_px - _MARGIN_PX:
            line, x = line + 1, _MARGIN_PX
        places.append((line, x))
        x += width + _GAP_PX
    bar_width = 0 if bar is None else max(bar.length_px, _text_width(bar.text)) + _MARGIN_PX
    lines = line + 1 if entries else 0
    # The bar stands on the right of the last line, or below it.
    if bar is not None and (not entries or x + bar_width > width_px):
        lines += 1
    if bar is not None:
        lines = max(lines, 1)
    canvas = np.full((lines * _LINE_PX + _MARGIN_PX, width_px, 3), BACKGROUND_BGR, np.uint8)
    for entry, (line, x) in zip(entries, places, strict=True):
        _draw_entry(canvas, entry, line, x)
    if bar is not None:
        _draw_bar(canvas, bar, lines - 1)
    return canvas


def _draw_entry(canvas: np.ndarray, entry: Entry, line: int, x: int) -> None:
    middle = _MARGIN_PX // 2 + line * _LINE_PX + _LINE_PX // 2
    if entry.bgr is not None:
        half = _SWATCH_PX // 2
        canvas[middle - half : middle + half, x : x + _SWATCH_PX] = entry.bgr
        x += _SWATCH_PX + _MARGIN_PX
    cv2.putText(canvas, entry.text, (x, middle + 5), _FONT, _SIZE, INK_BGR, 1, cv2.LINE_AA)


def _draw_bar(canvas: np.ndarray, bar: ScaleBar, line: int) -> None:
    bottom = _MARGIN_PX // 2 + (line + 1) * _LINE_PX
    right = canvas.shape[1] - _MARGIN_PX
    canvas[bottom - 3 : bottom, max(right - bar.length_px, 0) : right] = INK_BGR
    x = max(right - _text_width(bar.text), 0)
    cv2.putText(canvas, bar.text, (x, bottom - 7), _FONT, _SIZE, INK_BGR, 1, cv2.LINE_AA)


def _width(entry: Entry) -> int:
    return _text_width(entry.text) + (0 if entry.bgr is None else _SWATCH_PX + _MARGIN_PX)


def _text_width(text: str) -> int:
    return cv2.getTextSize(text, _FONT, _SIZE, 1)[0][0]
