"""Several pictures in one: on a sheet of rows and columns, each under its title."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from cellseg_mmdet.visualization.draw.overlays import as_bgr

# A title is a text, or texts in colours of their own (BGR).
Title = str | Sequence[tuple[str, tuple[int, int, int]]]

_TITLE_HEIGHT_PX, _GAP_PX = 34, 6
_FRAME_BGR, _TITLE_BGR = (27, 24, 24), (235, 235, 235)
_FONT, _FONT_SIZE = cv2.FONT_HERSHEY_DUPLEX, 0.55


def sheet(
    pictures: Sequence[tuple[Title, np.ndarray]], *, columns: int, font_size: float = _FONT_SIZE
) -> np.ndarray:
    """Lay pictures out in rows, left to right, each under its title; columns are as wide as their widest picture.

    Args:
        pictures: title, and (H, W) gray or (H, W, 3) BGR, uint8, of any size.
        columns: pictures in a row.
        font_size: of the titles, as a factor of OpenCV's; a title that does not fit is set smaller.

    Returns:
        (height, width, 3) uint8, BGR.

    Raises:
        ValueError: if there is no picture, or one is not uint8, gray or BGR.

    Example:
        >>> picture = np.zeros((40, 60), np.uint8)
        >>> sheet([("a", picture), ("b", picture)], columns=2).shape[2]
        3
    """
    if not pictures:
        raise ValueError("a sheet needs one picture at least")
    rows = [pictures[begin : begin + columns] for begin in range(0, len(pictures), columns)]
    num_columns = min(columns, len(pictures))
    widths = [max(row[i][1].shape[1] for row in rows if i < len(row)) for i in range(num_columns)]
    bands = []
    for row in rows:
        height = max(picture.shape[0] for _, picture in row)
        framed = [
            _framed(title, as_bgr(picture), height, width, font_size)
            for (title, picture), width in zip(row, widths, strict=False)
        ]
        rest = sum(widths[len(row) :]) + 2 * _GAP_PX * (num_columns - len(row))
        filler = np.full((framed[0].shape[0], rest, 3), _FRAME_BGR, dtype=np.uint8)
        bands.append(np.hstack([*framed, filler]))
    return np.vstack(bands)


def _framed(
    title: Title, picture: np.ndarray, height: int, width: int, font_size: float
) -> np.ndarray:
    """Return the picture at the top left of a frame for ``height`` x ``width`` pixels, with its title above."""
    below, right = height - picture.shape[0], width - picture.shape[1]
    framed = cv2.copyMakeBorder(
        picture,
        *(_TITLE_HEIGHT_PX, _GAP_PX + below, _GAP_PX, _GAP_PX + right),
        cv2.BORDER_CONSTANT,
        value=_FRAME_BGR,
    )
    pieces = [(title, _TITLE_BGR)] if isinstance(title, str) else title
    needed = sum(_text_width(text, font_size) for text, _ in pieces)
    size = font_size * min(1.0, width / max(needed, 1))
    x = _GAP_PX + 2
    for text, color in pieces:
        baseline = (x, _TITLE_HEIGHT_PX - 11)
        cv2.putText(framed, text, baseline, _FONT, size, color, 1, cv2.LINE_AA)
        x += _text_width(text, size)
    return framed


def _text_width(text: str, size: float) -> int:
    return cv2.getTextSize(text, _FONT, size, 1)[0][0]
