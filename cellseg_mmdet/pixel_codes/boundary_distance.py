"""`BoundaryDistanceCode`: how deep inside its cell a pixel lies."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.pixel_codes.code import (
    MIN_PX,
    PIXEL_CODES,
    ChannelGroup,
    Decoded,
    PixelCode,
    Targets,
    cell_means,
)
from cellseg_mmdet.pixel_codes.distance import edge_distances
from cellseg_mmdet.pixel_codes.watershed import seeded_watershed
from cellseg_mmdet.postprocess import Tunable
from cellseg_mmdet.postprocess.parameters import check_number


@PIXEL_CODES.register("BoundaryDistanceCode")
class BoundaryDistanceCode(PixelCode):
    """Probability of foreground, and the distance to the cell's edge as a share of the greatest in the cell.

    The distance is that of `edge_distances`, regressed. Decoding is a `seeded_watershed` in it; a cell with two thick
    ends is two seeds where what is between them is thinner than ``seed_thr`` of the thicker one.

    The score is the mean probability of foreground times 1 minus the mean difference between the predicted distance and
    that of the cell found.

    Args:
        mask_thr: foreground is above this probability.
        seed_thr: seeds are deeper than this share.
        min_px: smaller seeds, and smaller parts of the foreground without a seed, are dropped.
        distance_scale: what the network learns is this times the share.

    Raises:
        ConfigError: a number is out of its range.
    """

    tunable = (Tunable("mask_thr", 0.1, 0.9), Tunable("seed_thr", 0.1, 0.9), MIN_PX)

    def __init__(
        self,
        mask_thr: float = 0.5,
        seed_thr: float = 0.5,
        min_px: int = 1,
        distance_scale: float = 5.0,
    ) -> None:
        check_number("mask_thr", mask_thr, 0, 1)
        check_number("seed_thr", seed_thr, 0, 1)
        check_number("min_px", min_px, 1, integer=True)
        check_number("distance_scale", distance_scale, 1e-3)
        self.mask_thr = mask_thr
        self.seed_thr = seed_thr
        self.min_px = min_px
        self.distance_scale = distance_scale

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """Foreground and distance."""
        return (
            ChannelGroup("foreground", 1, "sigmoid", "bce"),
            ChannelGroup("distance", 1, "identity", "mse", scale=self.distance_scale),
        )

    def encode_labels(self, label_map: np.ndarray) -> Targets:
        """Return 1 in cells, and the distances."""
        maps = np.stack([(label_map > 0).astype(np.float32), edge_distances(label_map)])
        return Targets(maps, np.ones_like(maps))

    def foreground(self, maps: np.ndarray) -> np.ndarray:
        """Return where the probability is above ``mask_thr``."""
        return maps[0] > self.mask_thr

    def _decode(self, maps: np.ndarray) -> Decoded:
        depth = maps[1].clip(0, 1)  # a regression may leave its range
        labels, count = seeded_watershed(self.foreground(maps), depth, self.seed_thr, self.min_px)
        differences = cell_means(labels, count, np.abs(depth - edge_distances(labels)))
        scores = cell_means(labels, count, maps[0]) * (1 - differences)
        return Decoded(labels, scores.clip(0, 1).astype(np.float32))
