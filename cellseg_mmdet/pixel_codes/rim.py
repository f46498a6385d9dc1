"""`RimCode`: whether a pixel is of a cell, and of a cell's rim (after Ronneberger et al., U-Net, 2015)."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.pixel_codes.code import (
    MIN_PX,
    PIXEL_CODES,
    ChannelGroup,
    Decoded,
    PixelCode,
    Targets,
    cell_means,
)
from cellseg_mmdet.pixel_codes.watershed import seeded_watershed
from cellseg_mmdet.postprocess import Tunable
from cellseg_mmdet.postprocess.parameters import check_number


@PIXEL_CODES.register("RimCode")
class RimCode(PixelCode):
    """Probability of foreground, and of the rim of cells.

    The rim are the pixels of a cell that have one of another label, background included, at most ``rim_px`` away along
    both axes; what is beyond the image is not looked at.

    Decoding is a `seeded_watershed` in the probability of being inside a cell, foreground and not rim. Without
    ``rim_px`` and with ``seed_thr`` up to ``mask_thr``, cells are the connected parts of the foreground.

    The score is the mean probability of foreground; with ``rim_agreement`` times 1 minus the mean difference between
    the rim that was predicted in the cell and its own.

    Args:
        rim_px: width of the rim; 0 for a code without, of one channel.
        mask_thr: foreground is above this probability.
        seed_thr: seeds are above this probability of being inside.
        min_px: smaller seeds, and smaller parts of the foreground without a seed, are dropped.
        rim_agreement: see above.

    Raises:
        ConfigError: a number is out of its range.

    Example:
        >>> code = RimCode(rim_px=1)
        >>> cells = np.array([[1, 1, 1, 2, 2, 2]], dtype=np.int32)
        >>> code.encode_labels(cells).maps[1]
        array([[0., 0., 1., 1., 0., 0.]], dtype=float32)
    """

    tunable = (Tunable("mask_thr", 0.1, 0.9), Tunable("seed_thr", 0.1, 0.9), MIN_PX)

    def __init__(
        self,
        rim_px: int = 1,
        mask_thr: float = 0.5,
        seed_thr: float = 0.5,
        min_px: int = 1,
        rim_agreement: bool = False,
    ) -> None:
        check_number("rim_px", rim_px, 0, integer=True)
        check_number("mask_thr", mask_thr, 0, 1)
        check_number("seed_thr", seed_thr, 0, 1)
        check_number("min_px", min_px, 1, integer=True)
        self.rim_px = rim_px
        self.mask_thr = mask_thr
        self.seed_thr = seed_thr
        self.min_px = min_px
        self.rim_agreement = rim_agreement

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """Foreground, and rim unless ``rim_px`` is 0."""
        foreground = ChannelGroup("foreground", 1, "sigmoid", "bce")
        rim = ChannelGroup("rim", 1, "sigmoid", "bce")
        return (foreground, rim) if self.rim_px else (foreground,)

    def encode_labels(self, label_map: np.ndarray) -> Targets:
        """Return 1 in cells, and 1 in their rims."""
        maps = np.empty((self.channels, *label_map.shape), dtype=np.float32)
        maps[0] = label_map > 0
        if self.rim_px:
            _rims(label_map, self.rim_px, maps[1])
        return Targets(maps, np.ones_like(maps))

    def foreground(self, maps: np.ndarray) -> np.ndarray:
        """Return where the probability is above ``mask_thr``."""
        return maps[0] > self.mask_thr

    def _decode(self, maps: np.ndarray) -> Decoded:
        landscape = maps[0] * (1 - maps[1]) if self.rim_px else maps[0]
        labels, count = seeded_watershed(
            self.foreground(maps), landscape, self.seed_thr, self.min_px
        )
        scores = cell_means(labels, count, maps[0])
        if self.rim_agreement and self.rim_px:
            own = np.empty_like(maps[1])
            _rims(labels, self.rim_px, own)
            scores = scores * (1 - cell_means(labels, count, np.abs(own - maps[1])))
        return Decoded(labels, scores.clip(0, 1).astype(np.float32))


@kernel
def _rims(labels: np.ndarray, rim_px: int, rims: np.ndarray) -> None:
    height, width = labels.shape
    for y in range(height):
        top, bottom = max(y - rim_px, 0), min(y + rim_px + 1, height)
        for x in range(width):
            label = labels[y, x]
            is_rim = False
            if label != 0:
                left, right = max(x - rim_px, 0), min(x + rim_px + 1, width)
                for at_y in range(top, bottom):
                    for at_x in range(left, right):
                        is_rim |= labels[at_y, at_x] != label
            rims[y, x] = 1.0 if is_rim else 0.0
