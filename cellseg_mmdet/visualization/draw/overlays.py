"""Instances drawn over their image: a tint inside, a thin contour around, and never one colour for two neighbours.

All instances are drawn at once from one label map and look-up tables, so 790 cells cost as much as one.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.label_bands import LabelBands

# Okabe and Ito's colours for every kind of colour vision ("Color Universal Design", 2008) as BGR,
# without black and with the blues lightened: dark blue is lost on the gray of phase contrast.
PALETTE_BGR = np.array(
    [
        (0, 159, 230),  # orange
        (255, 190, 86),  # sky blue
        (130, 190, 0),  # bluish green
        (66, 228, 240),  # yellow
        (255, 115, 105),  # blue
        (40, 94, 240),  # vermilion
        (190, 121, 224),  # reddish purple
    ],
    dtype=np.uint8,
)
# Cells this many pixels apart, in any of eight directions, count as neighbours.
_NEIGHBOUR_REACH_PX = (1, 3, 6, 10)
# Pixels in which pairs of neighbours are looked for together; each takes some 10 bytes.
_MAX_PIXELS = 1 << 22
# More than there are instances: of two of them one number is made.
_KEY = 1 << 32
# Rows that a row of the enlarged picture is made of above and below its own.
_SEAM_PX = 2


def draw_instances(
    image: np.ndarray,
    masks: Runs,
    *,
    colors: np.ndarray | None = None,
    filled: np.ndarray | None = None,
    scale: int = 2,
    opacity: float = 0.3,
) -> np.ndarray:
    """Draw every instance as a tint with a crisp contour; where instances overlap the smaller one is on top.

    Args:
        image: (H, W) gray or (H, W, 3) BGR, uint8.
        masks: N instances, of the image's size.
        colors: (N, 3) uint8 BGR, one of each instance; by default such that neighbours differ.
        filled: (N,) bool, the instances that are tinted; by default all. Of others only the contour is drawn.
        scale: how many times the drawing is larger than the image; contours are one pixel of the drawing wide.
        opacity: of the tint, in [0, 1].

    Returns:
        (scale * H, scale * W, 3) uint8, BGR.

    Raises:
        ValueError: if the image is not uint8, gray or BGR, or the masks are of another size.

    Example:
        >>> masks = Runs.from_label_map(np.array([[0, 1], [0, 1]]))
        >>> draw_instances(np.zeros((2, 2), np.uint8), masks).shape
        (4, 4, 3)
    """
    bgr = check_size(as_bgr(image), masks)
    drawing = Drawing(masks, colors=colors, filled=filled, scale=scale, opacity=opacity)
    return drawing.rows(0, masks.height, lambda begin, end: bgr[begin:end])


class Drawing:
    """What `draw_instances` draws, some rows at a time; memory is that of the masks and of these rows.

    Args:
        masks: N instances.
        colors, filled, scale, opacity: see `draw_instances`.

    Example:
        >>> drawing = Drawing(Runs.from_label_map(np.array([[0, 1], [0, 1]])))
        >>> drawing.rows(0, 1, lambda begin, end: np.zeros((end - begin, 2, 3), np.uint8)).shape
        (2, 4, 3)
    """

    def __init__(
        self,
        masks: Runs,
        *,
        colors: np.ndarray | None = None,
        filled: np.ndarray | None = None,
        scale: int = 2,
        opacity: float = 0.3,
    ) -> None:
        self.scale, self.opacity, self._height = scale, opacity, masks.height
        # A label map shows the later of two overlapping instances.
        largest_first = np.argsort(-masks.areas, kind="stable")
        self._labels = LabelBands(masks[largest_first])
        self._of_label = np.zeros((len(masks) + 1, 3), dtype=np.uint8)
        self._is_tinted = np.ones(len(masks) + 1, dtype=bool)
        if not len(masks):
            pass
        elif colors is None:
            self._of_label[1:] = PALETTE_BGR[_color_indices(self._labels, len(masks))]
        else:
            self._of_label[1:] = colors[largest_first]
        if filled is not None:
            self._is_tinted[1:] = filled[largest_first]
        self._is_tinted[0] = False

    def rows(
        self, begin: int, end: int, image_rows: Callable[[int, int], np.ndarray]
    ) -> np.ndarray:
        """Draw rows ``begin`` to ``end`` of the image; all of them, part by part, are the whole drawing.

        Args:
            begin: first row of the image.
            end: row past the last.
            image_rows: returns rows of the image as (rows, W, 3) uint8 BGR; two more above and below are asked for, so
                that the enlarged picture has no seams.
        """
        top, bottom = max(begin - _SEAM_PX, 0), min(end + _SEAM_PX, self._height)
        rows = image_rows(top, bottom)
        canvas = rows.copy() if self.scale == 1 else enlarge(rows, self.scale)
        labels = self._labels.rows(top, bottom)
        labels = labels.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        tint = np.take(self._of_label, labels, axis=0)
        tinted = cv2.addWeighted(canvas, 1 - self.opacity, tint, self.opacity, 0)
        cv2.copyTo(tinted, self._is_tinted[labels].view(np.uint8), canvas)
        cv2.copyTo(tint, _contour(labels).view(np.uint8), canvas)
        return canvas[(begin - top) * self.scale : (end - top) * self.scale]


def neighbour_colors(masks: Runs) -> np.ndarray:
    """Return a colour (N, 3) uint8 BGR of `PALETTE_BGR` for each instance, such that neighbours differ."""
    return PALETTE_BGR[_color_indices(LabelBands(masks), len(masks))]


def check_size(image: np.ndarray, masks: Runs) -> np.ndarray:
    """Return the image, which the masks must be of the size of.

    Raises:
        ValueError: if they are not.
    """
    if image.shape[:2] != (masks.height, masks.width):
        raise ValueError(
            f"masks of {masks.height} x {masks.width} pixels for an image of {image.shape[0]} x {image.shape[1]}"
        )
    return image


def as_bgr(image: np.ndarray) -> np.ndarray:
    """Return a (H, W, 3) copy of a gray or BGR uint8 image."""
    is_gray, is_bgr = image.ndim == 2, image.ndim == 3 and image.shape[2] == 3
    if image.dtype != np.uint8 or not (is_gray or is_bgr):
        raise ValueError(
            f"expected a uint8 image, (H, W) gray or (H, W, 3) BGR; got {image.dtype} of shape {image.shape}"
        )
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if is_gray else image.copy()


def enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    """Return the image ``scale`` times as large, smoothly."""
    if scale == 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)


def _contour(labels: np.ndarray) -> np.ndarray:
    """Return (H, W) bool: pixels of an instance with another label above, below, left or right of them."""
    edge = np.zeros(labels.shape, dtype=bool)
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        differs = labels[first] != labels[second]
        edge[first] |= differs
        edge[second] |= differs
    return edge & (labels > 0)


def _color_indices(labels: LabelBands, num_instances: int) -> np.ndarray:
    """Colour the graph of neighbouring instances greedily.

    Returns:
        (num_instances,) rows of the palette. Neighbours share a colour only where all colours are taken around an
        instance; among the free ones the colour used least so far is chosen.
    """
    pairs = _neighbour_pairs(labels)
    both_ways = np.concatenate([pairs, pairs[:, ::-1]])
    both_ways = both_ways[np.argsort(both_ways[:, 0], kind="stable")]
    bounds = np.searchsorted(both_ways[:, 0], np.arange(num_instances + 1))

    num_colors = len(PALETTE_BGR)
    chosen = np.full(num_instances, -1)
    used = np.zeros(num_colors, dtype=np.int64)
    for instance in range(num_instances):
        around = chosen[both_ways[bounds[instance] : bounds[instance + 1], 1]]
        clashes = np.bincount(around[around >= 0], minlength=num_colors)
        color = np.lexsort((used, clashes))[0]
        chosen[instance] = color
        used[color] += 1
    return chosen


def _neighbour_pairs(labels: LabelBands) -> np.ndarray:
    """Return (P, 2) instance indices, each pair once, of instances within reach of each other."""
    height, width = labels.shape
    rows = max(1, _MAX_PIXELS // max(width, 1))
    found = [np.zeros(0, dtype=np.int64)]
    for begin in range(0, height, rows):
        # With the rows below that are in reach: what is in reach of each other is in one of the bands together.
        end = min(begin + rows + max(_NEIGHBOUR_REACH_PX), height)
        found.append(_pairs_within(labels.rows(begin, end)))
    keys = np.unique(np.concatenate(found))
    return np.stack(np.divmod(keys, _KEY), axis=1) - 1


def _pairs_within(labels: np.ndarray) -> np.ndarray:
    """Return the pairs (P,) of labels in reach of each other, the lower one times `_KEY` plus the other."""
    found = []
    for reach in _NEIGHBOUR_REACH_PX:
        right, down = (np.s_[:, :-reach], np.s_[:, reach:]), (np.s_[:-reach], np.s_[reach:])
        falling = (np.s_[:-reach, :-reach], np.s_[reach:, reach:])
        rising = (np.s_[:-reach, reach:], np.s_[reach:, :-reach])
        for first, second in (right, down, falling, rising):
            a, b = labels[first], labels[second]
            differ = (a != b) & (a > 0) & (b > 0)
            a, b = a[differ].astype(np.int64), b[differ].astype(np.int64)
            found.append(np.unique(np.minimum(a, b) * _KEY + np.maximum(a, b)))
    return np.unique(np.concatenate(found))
