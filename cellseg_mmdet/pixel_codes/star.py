"""`StarCode`: cells as star-convex polygons around each of their pixels (Schmidt et al., StarDist, MICCAI 2018)."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.errors import ConfigError
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
from cellseg_mmdet.pixel_codes.rays import ray_directions, ray_lengths, suppress
from cellseg_mmdet.pixel_codes.regions import connected_parts, renumbered
from cellseg_mmdet.postprocess import Tunable
from cellseg_mmdet.postprocess.parameters import check_number


@PIXEL_CODES.register("StarCode")
class StarCode(PixelCode):
    """Probability of foreground, object probability, and radial distances.

    The object probability is the distance to the cell's edge as a share of the greatest in the cell (`edge_distances`),
    as in StarDist; the distances are those of `ray_lengths`, and weigh as much in the loss as the pixel's object
    probability. Foreground is not in the paper: it cuts polygons to what is of a cell, so that regions do not touch.

    Decoding: pixels of the foreground with an object probability above ``object_thr`` propose the polygon of their
    rays, the most probable first, of equal ones the first in reading order; `suppress` says which ones stay, by the
    pixels that they share. A shared pixel belongs to the more probable one. Of a cell that is in several pieces then,
    the one with the proposing pixel stays.

    The score is the mean probability of foreground in the cell times the object probability of the proposing pixel.

    Args:
        num_rays: a multiple of 4.
        mask_thr: foreground is above this probability.
        object_thr: see above.
        overlap_thr: polygons that share more than this part of the smaller one are of one cell, 0.4 in StarDist.
        min_px: smaller cells are dropped.

    Raises:
        ConfigError: a number is out of its range.
    """

    tunable = (
        Tunable("mask_thr", 0.1, 0.9),
        Tunable("object_thr", 0.1, 0.9),
        Tunable("overlap_thr", 0.1, 0.9),
        MIN_PX,
    )

    def __init__(
        self,
        num_rays: int = 32,
        mask_thr: float = 0.5,
        object_thr: float = 0.5,
        overlap_thr: float = 0.4,
        min_px: int = 1,
    ) -> None:
        check_number("num_rays", num_rays, 4, integer=True)
        if num_rays % 4:
            raise ConfigError(f"num_rays={num_rays}: must be a multiple of 4")
        check_number("mask_thr", mask_thr, 0, 1)
        check_number("object_thr", object_thr, 0, 1)
        check_number("overlap_thr", overlap_thr, 0, 1)
        check_number("min_px", min_px, 1, integer=True)
        self.num_rays = num_rays
        self.mask_thr = mask_thr
        self.object_thr = object_thr
        self.overlap_thr = overlap_thr
        self.min_px = min_px

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """Foreground, object probability and rays."""
        return (
            ChannelGroup("foreground", 1, "sigmoid", "bce"),
            ChannelGroup("object", 1, "sigmoid", "bce"),
            ChannelGroup("rays", self.num_rays, "identity", "mae", loss_weight=0.2, turning="rays"),
        )

    def encode_labels(self, label_map: np.ndarray) -> Targets:
        """Return 1 in cells, object probabilities, and distances in pixels."""
        maps = np.zeros((2 + self.num_rays, *label_map.shape), dtype=np.float32)
        weights = np.ones((3, *label_map.shape), dtype=np.float32)
        maps[0] = label_map > 0
        maps[1] = weights[2] = edge_distances(label_map)
        ray_lengths(label_map, self.num_rays, out=maps[2:])
        return Targets(maps, weights)

    def foreground(self, maps: np.ndarray) -> np.ndarray:
        """Return where the probability is above ``mask_thr``."""
        return maps[0] > self.mask_thr

    def _decode(self, maps: np.ndarray) -> Decoded:
        mask = self.foreground(maps)
        regions, _ = connected_parts(mask)
        proposing = np.flatnonzero(mask & (maps[1] > self.object_thr))
        order = proposing[np.argsort(-maps[1].ravel()[proposing], kind="stable")]
        labels = np.zeros(mask.shape, dtype=np.int32)
        count = suppress(
            order, maps[2:], ray_directions(self.num_rays), regions, self.overlap_thr, labels
        )
        # The first in the order of those that are painted with a label is the one that painted it.
        of_label, first = np.unique(labels.ravel()[order], return_index=True)
        proposed = order[first[of_label > 0]]
        assert len(proposed) == count
        parts, num_parts = connected_parts(labels)
        proposers = np.zeros(num_parts, dtype=np.int64) - 1
        proposers[parts.ravel()[proposed] - 1] = proposed
        areas = np.bincount(parts.ravel(), minlength=num_parts + 1)[1:]
        kept = (proposers >= 0) & (areas >= self.min_px)
        cells = renumbered(parts, kept)
        objects = maps[1].ravel()[proposers[kept]].clip(0, 1)
        scores = cell_means(cells, len(objects), maps[0]) * objects
        return Decoded(cells, scores.clip(0, 1).astype(np.float32))
