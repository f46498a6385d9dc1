"""Rotation by quarter turns, and by any angle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmdet.registry import TRANSFORMS

from cellseg_mmdet.datasets.transforms.base import (
    CellTransform,
    checked_range,
    record_homography,
    set_instances,
)
from cellseg_mmdet.errors import ConfigError


@TRANSFORMS.register_module()
class RandomRotate90(CellTransform):
    """Rotate by quarter turns; no pixel and no box is approximated.

    Required keys: img, gt_bboxes (optional), gt_masks (`RoIMasks`, with gt_bboxes).
    Modified keys: those, img_shape.
    Added keys: homography_matrix.

    Args:
        turns: numbers of quarter turns, counter-clockwise, each as often as the others.

    Raises:
        ConfigError: ``turns`` is empty.
    """

    def __init__(self, turns: Sequence[int] = (0, 1, 2, 3)) -> None:
        if not turns:
            raise ConfigError("turns must name at least one number of quarter turns")
        self.turns = tuple(turns)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Rotate one image."""
        num_turns = self._random_turns() % 4
        matrix = np.eye(3)
        height, width = results["img"].shape[:2]
        for _ in range(num_turns):  # a point (x, y) goes to (y, width - x)
            matrix = np.array([[0, 1, 0], [-1, 0, width], [0, 0, 1]]) @ matrix
            height, width = width, height
        results["img"] = np.ascontiguousarray(np.rot90(results["img"], num_turns))
        results["img_shape"] = (height, width)
        if "gt_bboxes" in results:  # not in a test
            results["gt_masks"] = self._masks(results).rotate90(num_turns)
            results["gt_bboxes"].project_(matrix.astype(np.float32))
        record_homography(results, matrix)
        return results

    @cache_randomness
    def _random_turns(self) -> int:
        return int(np.random.choice(self.turns))


@TRANSFORMS.register_module()
class RandomRotateScale(CellTransform):
    """Rotate about the image's centre by a random angle and scale by a random factor; the image keeps its size.

    The image repeats its border pixels where there is nothing to show. Not its mirror: that would show cells without a
    mask. Boxes are tight, which those of mmdet's ``Rotate`` are not.

    Required keys: img, gt_bboxes, gt_bboxes_labels, gt_ignore_flags, gt_masks (`RoIMasks`).
    Modified keys: those.
    Added keys: homography_matrix.

    Args:
        angle_range_deg: (lowest, highest) angle in degrees, clockwise.
        scale_range: (lowest, highest) factor.
        min_area_px: cells of which fewer pixels are left are dropped.

    Raises:
        ConfigError: an argument is out of its range.
    """

    def __init__(
        self,
        angle_range_deg: tuple[float, float] = (-180.0, 180.0),
        scale_range: tuple[float, float] = (1.0, 1.0),
        min_area_px: int = 16,
    ) -> None:
        self.angle_range_deg = checked_range("angle_range_deg", angle_range_deg, -360, 360)
        self.scale_range = checked_range("scale_range", scale_range, least=np.nextafter(0, 1))
        if min_area_px < 1:
            raise ConfigError(f"min_area_px must be positive; got {min_area_px}")
        self.min_area_px = min_area_px

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Rotate and scale one image."""
        masks = self._masks(results)
        size_hw = masks.height, masks.width
        angle, scale = self._random_motion()
        centre = (masks.width - 1) / 2, (masks.height - 1) / 2
        matrix = cv2.getRotationMatrix2D(centre, -angle, scale)  # OpenCV turns the other way
        results["img"] = cv2.warpAffine(
            results["img"], matrix, size_hw[::-1], borderMode=cv2.BORDER_REPLICATE
        )
        masks = masks.rotate(size_hw, angle, scale=scale)
        record_homography(results, matrix)
        set_instances(results, masks, masks.areas >= self.min_area_px)
        return results

    @cache_randomness
    def _random_motion(self) -> tuple[float, float]:
        return np.random.uniform(*self.angle_range_deg), np.random.uniform(*self.scale_range)
