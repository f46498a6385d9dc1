"""`ForegroundCode`: probabilities of foreground and, if wanted, of cells' rims, as U-Nets predict them."""

from __future__ import annotations

import cv2
import numpy as np

from cellseg_mmdet.pixel_codes.code import PIXEL_CODES, ChannelGroup, Decoded, PixelCode, Targets
from cellseg_mmdet.postprocess import Tunable
from cellseg_mmdet.postprocess.parameters import check_number

# Heights of the landscape that the flood stops at, on its way from the seeds' down to 0.
_NUM_LEVELS = 8


@PIXEL_CODES.register("ForegroundCode")
class ForegroundCode(PixelCode):
    """Probability of being of a cell and, with ``boundary_px``, of being of a cell's rim; see `split_cells`.

    Without rims, cells that touch are one. The score is the mean probability of foreground in the cell's pixels.

    Args:
        boundary_px: width of the rim, which begins with the pixels of a cell that have an edge or a corner in common
            with another cell or background; None for foreground alone.
        mask_thr: foreground is above this probability.
        seed_thr: seeds are above this.
        min_px: smaller seeds, and smaller parts that no seed reaches, are dropped.

    Raises:
        ConfigError: a number is out of its range.

    Example:
        >>> code = ForegroundCode(boundary_px=1)
        >>> code.encode_labels(np.array([[1, 1, 2], [1, 1, 2]])).maps[1]
        array([[0., 1., 1.],
               [0., 1., 1.]], dtype=float32)
    """

    tunable = (Tunable("mask_thr", 0.1, 0.9), Tunable("seed_thr", 0.1, 0.9))

    def __init__(
        self,
        boundary_px: int | None = None,
        mask_thr: float = 0.5,
        seed_thr: float = 0.5,
        min_px: int = 1,
    ) -> None:
        if boundary_px is not None:
            check_number("boundary_px", boundary_px, 1, integer=True)
        check_number("mask_thr", mask_thr, 0, 1)
        check_number("seed_thr", seed_thr, 0, 1)
        check_number("min_px", min_px, 1, integer=True)
        self.boundary_px = boundary_px
        self.mask_thr = mask_thr
        self.seed_thr = seed_thr
        self.min_px = min_px

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """Foreground and, if wanted, boundary."""
        names = ["foreground"] if self.boundary_px is None else ["foreground", "boundary"]
        return tuple(ChannelGroup(name, 1, "sigmoid", "bce") for name in names)

    def encode_labels(self, label_map: np.ndarray) -> Targets:
        """Return 1 in cells, and 1 in their rims."""
        maps = np.empty((self.channels, *label_map.shape), dtype=np.float32)
        maps[0] = label_map > 0
        if self.boundary_px is not None:
            maps[1] = rims(label_map, self.boundary_px)
        return Targets(maps, np.ones_like(maps))

    def foreground(self, maps: np.ndarray) -> np.ndarray:
        """Return where the probability is above ``mask_thr``."""
        return maps[0] > self.mask_thr

    def _decode(self, maps: np.ndarray) -> Decoded:
        boundary = None if self.boundary_px is None else maps[1]
        labels = split_cells(
            maps[0],
            boundary,
            mask_thr=self.mask_thr,
            seed_thr=self.seed_thr,
            min_px=self.min_px,
        )
        labels = _in_reading_order(labels)
        count = labels.max(initial=0) + 1
        areas = np.bincount(labels.ravel(), minlength=count)[1:]
        sums = np.bincount(labels.ravel(), maps[0].ravel(), count)[1:]
        return Decoded(labels, (sums / areas).clip(0, 1).astype(np.float32))


def split_cells(
    foreground: np.ndarray,
    boundary: np.ndarray | None = None,
    *,
    mask_thr: float = 0.5,
    seed_thr: float = 0.5,
    min_px: int = 1,
) -> np.ndarray:
    """Return a label map (H, W) int32: 0 for background, and the cells from 1 on, none left out.

    The landscape is the probability of being inside a cell: foreground and not boundary. Its connected parts above
    ``seed_thr`` are the seeds, which flood the foreground from the highest pixels of the landscape to the lowest
    (the watershed of Meyer, 1991), so that two cells meet where the boundary between them is clearest. Each connected
    part of the foreground that no seed reaches is a cell too. Without ``boundary``, and with ``seed_thr`` up to
    ``mask_thr``, cells are the connected parts of the foreground. Pixels that share an edge are connected.

    Args:
        foreground: (H, W) float, probability of being of a cell.
        boundary: (H, W) float, probability of being of a cell's rim.
        mask_thr: foreground is above this.
        seed_thr: seeds are above this.
        min_px: smaller seeds, and smaller parts that no seed reaches, are dropped.
    """
    mask = foreground > mask_thr
    landscape = foreground if boundary is None else foreground * (1 - boundary)
    labels = _parts(mask & (landscape > seed_thr), min_px)
    labels = _flood(labels, landscape, mask, seed_thr)
    rest = _parts(mask & (labels == 0), min_px)
    return np.where(rest > 0, rest + labels.max(initial=0), labels)


def _parts(mask: np.ndarray, min_px: int) -> np.ndarray:
    """Number the connected parts of a mask from 1 on, without those of fewer than ``min_px`` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    kept = stats[:, cv2.CC_STAT_AREA] >= min_px
    kept[0] = False  # the background
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]


def _flood(
    seeds: np.ndarray, landscape: np.ndarray, mask: np.ndarray, highest: float
) -> np.ndarray:
    """Let seeds grow into the mask, level by level of the landscape; cost goes with the pixels of the mask."""
    # In a border of background every pixel has four neighbours.
    labels = np.pad(seeds, 1)
    width = labels.shape[1]
    flat = labels.ravel()
    around = np.array([-width, -1, 1, width])
    y, x = np.nonzero(mask & (seeds == 0))
    pending, heights = (y + 1) * width + x + 1, landscape[y, x]
    for level in np.linspace(highest, 0, _NUM_LEVELS + 1)[1:]:
        is_above = heights >= level
        pixels = pending[is_above]
        while len(pixels):
            found = flat[pixels[:, None] + around].max(axis=1)
            is_reached = found > 0
            if not is_reached.any():
                break
            flat[pixels[is_reached]] = found[is_reached]
            pixels = pixels[~is_reached]
        is_left = flat[pending] == 0
        pending, heights = pending[is_left], heights[is_left]
    return labels[1:-1, 1:-1]


def rims(label_map: np.ndarray, width_px: int) -> np.ndarray:
    """Return 1 where a pixel of a cell has one of another label at most ``width_px`` away, along both axes; uint8."""
    labels = label_map.astype(np.float32)  # OpenCV compares no int32; exact up to 16 million
    square = np.ones((3, 3), np.uint8)
    is_rim = cv2.dilate(labels, square, iterations=width_px) != labels
    is_rim |= cv2.erode(labels, square, iterations=width_px) != labels
    return (is_rim & (label_map > 0)).astype(np.uint8)


def _in_reading_order(labels: np.ndarray) -> np.ndarray:
    """Number the labels by their first pixel, row by row."""
    found, first = np.unique(labels, return_index=True)
    found, first = found[found > 0], first[found > 0]
    table = np.zeros(labels.max(initial=0) + 1, dtype=np.int32)
    table[found[np.argsort(first)]] = np.arange(1, len(found) + 1)
    return table[labels]
