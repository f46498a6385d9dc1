"""What was annotated and what was found as two kinds of outlines over one picture, with the cells that differ marked.

Other than `draw_outcomes`, which draws each cell once, both outlines are there: how well they agree is seen as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cellseg_mmdet.evaluation.outcomes import Outcomes, find_outcomes
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.visualization.draw.legend import Entry, legend
from cellseg_mmdet.visualization.draw.overlays import as_bgr, check_size, enlarge
from cellseg_mmdet.visualization.draw.sheets import sheet

# Apart for every kind of colour vision, on gray, black, and the pink and violet of stains.
TRUE_BGR, FOUND_BGR, JOINED_BGR = (255, 150, 0), (0, 200, 255), (60, 20, 230)
_OPACITY = 0.45
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True)
class Window:
    """A part of a picture: its first row and column, and its sides, in pixels."""

    y: int
    x: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an image with."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


def draw_agreement(
    image: np.ndarray,
    overlaps: Overlaps,
    *,
    outcomes: Outcomes | None = None,
    window: Window | None = None,
    scale: int = 2,
) -> np.ndarray:
    """Draw true outlines thick and blue, found ones thin and yellow over them, and tint what differs.

    Missed cells are tinted in the colour of true ones, extra cells in that of found ones, and in red cells that
    were merged and the pieces of one that was split. What each means is told in `cellseg_mmdet.evaluation.outcomes`.

    Args:
        image: (H, W) gray or (H, W, 3) BGR, uint8.
        overlaps: of the found with the true cells, of the image's size.
        outcomes: what `find_outcomes` found, if it is known already.
        window: part of the image that is drawn; by default all of it. Outcomes are those of whole cells.
        scale: how many times the drawing is larger than the image.

    Returns:
        (scale * height, scale * width, 3) uint8, BGR.

    Raises:
        ValueError: the image is not uint8, gray or BGR, or the cells are of another size.

    Example:
        >>> cells = Runs.from_label_map(np.array([[0, 1], [0, 1]]))
        >>> draw_agreement(np.zeros((2, 2), np.uint8), Overlaps(cells, cells), scale=3).shape
        (6, 6, 3)
    """
    bgr = check_size(as_bgr(image), overlaps.true)
    outcomes = find_outcomes(overlaps) if outcomes is None else outcomes
    window = window or Window(0, 0, *bgr.shape[:2])
    # A pixel more on each side that has one: whether a cell ends at the border of the window.
    top, left = min(window.y, 1), min(window.x, 1)
    wider = slice(window.y - top, window.y + window.height + 1)
    wider_x = slice(window.x - left, window.x + window.width + 1)
    inner = (
        slice(top * scale, (top + window.height) * scale),
        slice(left * scale, (left + window.width) * scale),
    )
    canvas = enlarge(bgr[wider, wider_x], scale)

    def labels_of(cells: Runs) -> np.ndarray:
        largest_first = cells[np.argsort(-cells.areas, kind="stable")]
        small = largest_first.to_label_map()[wider, wider_x]
        return small.repeat(scale, axis=0).repeat(scale, axis=1).astype(np.float32)

    for cells, color in (
        (overlaps.true[outcomes.true == "merged"], JOINED_BGR),
        (overlaps.predicted[outcomes.predicted == "split"], JOINED_BGR),
        (overlaps.true[outcomes.true == "missed"], TRUE_BGR),
        (overlaps.predicted[outcomes.predicted == "extra"], FOUND_BGR),
    ):
        inside = labels_of(cells) > 0
        tint = np.full_like(canvas, color)
        mixed = cv2.addWeighted(canvas, 1 - _OPACITY, tint, _OPACITY, 0)
        canvas[inside] = mixed[inside]
    for cells, color, thickness in (
        (overlaps.true, TRUE_BGR, scale),
        (overlaps.predicted, FOUND_BGR, max(1, scale // 2)),
    ):
        canvas[_edge(labels_of(cells), thickness)] = color
    return canvas[inner]


def agreement_sheet(
    image: np.ndarray,
    true: Runs,
    found: Runs,
    *,
    title: str,
    window: Window | None = None,
    scale: int = 2,
) -> np.ndarray:
    """Lay a picture and `draw_agreement` of it side by side, with counts of the whole image and a legend below.

    Args:
        image: (H, W) gray or (H, W, 3) BGR, uint8.
        true: annotated cells, of the image's size.
        found: predicted cells.
        title: of the picture.
        window: part of the image that is drawn.
        scale: how many times the drawings are larger than the image.

    Returns:
        (height, width, 3) uint8, BGR.
    """
    overlaps = Overlaps(found, true)
    outcomes = find_outcomes(overlaps)
    part = (window or Window(0, 0, *image.shape[:2])).slices
    drawn = draw_agreement(image, overlaps, outcomes=outcomes, window=window, scale=scale)
    panels = sheet(
        [
            (title, enlarge(as_bgr(image)[part], scale)),
            (f"in all {len(true)} annotated, {len(found)} found", drawn),
        ],
        columns=2,
    )
    counts = outcomes.counts()
    joined = counts["merged"] + counts["split"]
    entries = [
        Entry("annotated; tinted where missed", TRUE_BGR),
        Entry("found; tinted where extra", FOUND_BGR),
        Entry("merged or split", JOINED_BGR),
        Entry(f"missed {counts['missed']}, extra {counts['extra']}, merged or split {joined}"),
    ]
    return np.vstack([panels, legend(panels.shape[1], entries)])


def telling_window(
    size_hw: tuple[int, int], overlaps: Overlaps, side: int, *, of_errors: bool
) -> Window:
    """Return the window that shows most: the one with most errors in it, or with most cells.

    Cells count that lie in it whole. Windows overlap by three quarters; among equals it is that with more cells, then
    the one nearest to the middle.

    Args:
        size_hw: of the image.
        overlaps: of the found with the true cells.
        side: of the window, in pixels; an image that is smaller is shown whole.
        of_errors: count cells that are no hits first.

    Example:
        >>> cells = Runs.from_label_map(np.array([[0, 0, 0, 0, 0, 0, 1, 1]]))
        >>> telling_window((1, 8), Overlaps(cells[:0], cells), 4, of_errors=True)
        Window(y=0, x=4, height=1, width=4)
    """
    outcomes = find_outcomes(overlaps)
    x1, y1, x2, y2 = np.concatenate([overlaps.true.boxes, overlaps.predicted.boxes]).T
    is_error = np.concatenate([outcomes.true != "hit", outcomes.predicted != "hit"])
    height, width = (min(side, length) for length in size_hw)
    step = max(1, side // 4)
    ys, xs = (
        sorted({*range(0, length - one + 1, step), length - one})
        for length, one in zip(size_hw, (height, width), strict=True)
    )

    def worth(window: Window) -> tuple[float, float, float]:
        inside = (
            (y1 >= window.y)
            & (y2 <= window.y + window.height)
            & (x1 >= window.x)
            & (x2 <= window.x + window.width)
        )
        off = abs(window.y + height / 2 - size_hw[0] / 2) + abs(
            window.x + width / 2 - size_hw[1] / 2
        )
        errors = int(is_error[inside].sum()) if of_errors else 0
        return errors, int(inside.sum()), -off

    return max((Window(y, x, height, width) for y in ys for x in xs), key=worth)


def _edge(labels: np.ndarray, thickness: int) -> np.ndarray:
    """Return (H, W) bool: pixels of a cell with another label within so many pixels above, below, left or right."""
    # The frame of the picture is no edge: what is beyond it is not known.
    least = cv2.erode(labels, _CROSS, iterations=thickness, borderType=cv2.BORDER_REPLICATE)
    most = cv2.dilate(labels, _CROSS, iterations=thickness, borderType=cv2.BORDER_REPLICATE)
    return (labels > 0) & ((least != labels) | (most != labels))
