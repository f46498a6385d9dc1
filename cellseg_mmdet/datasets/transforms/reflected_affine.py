"""Rotation, shear, zoom and shift, with the image and its cells mirrored at the border."""

from __future__ import annotations

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
from cellseg_mmdet.masks.roi_masks import RoIMasks
from cellseg_mmdet.masks.runs import Runs

Range = tuple[float, float]


@TRANSFORMS.register_module()
class RandomReflectedAffine(CellTransform):
    """Rotate, shear, zoom and shift about the image's centre; what comes into view is the mirror image.

    Mirrored cells have masks too, as the pixels of a U-Net need; a cell and its mirror images stay one instance. The
    masks go through one label map: where cells overlap the later one wins. Each argument is drawn uniformly from its
    range, (low, high); by default none changes anything. What Keras' ``ImageDataGenerator`` does with
    ``fill_mode='reflect'``.

    Required keys: img, gt_bboxes, gt_bboxes_labels, gt_ignore_flags, gt_masks (`RoIMasks`).
    Modified keys: those.
    Added keys: homography_matrix, of all but the mirror images.

    Args:
        angle_range_deg: clockwise.
        shear_range_deg: angle by which vertical lines lean.
        scale_range: factors, drawn for each axis.
        shift_range: shares of the image's side, drawn for each axis.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        angle_range_deg: Range = (0.0, 0.0),
        shear_range_deg: Range = (0.0, 0.0),
        scale_range: Range = (1.0, 1.0),
        shift_range: Range = (0.0, 0.0),
    ) -> None:
        self.angle_range_deg = checked_range("angle_range_deg", angle_range_deg, -360, 360)
        self.shear_range_deg = checked_range("shear_range_deg", shear_range_deg, -60, 60)
        self.scale_range = checked_range("scale_range", scale_range, least=np.nextafter(0, 1))
        self.shift_range = checked_range("shift_range", shift_range, -1, 1)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change one image."""
        masks = self._masks(results)
        matrix = self._random_matrix(masks.height, masks.width)
        size_wh = masks.width, masks.height
        results["img"] = cv2.warpAffine(
            results["img"], matrix, size_wh, borderMode=cv2.BORDER_REFLECT
        )
        # OpenCV warps no int32; float32 is exact up to 16 million cells.
        label_map = masks.to_runs().to_label_map().astype(np.float32)
        label_map = cv2.warpAffine(
            label_map, matrix, size_wh, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT
        ).astype(np.int32)

        seen = np.unique(label_map[label_map > 0]) - 1
        for key in ("gt_bboxes_labels", "gt_ignore_flags"):
            results[key] = results[key][seen]
        masks = RoIMasks.from_runs(Runs.from_label_map(label_map))
        set_instances(results, masks, np.ones(len(masks), dtype=bool))
        record_homography(results, matrix)
        return results

    @cache_randomness
    def _random_matrix(self, height: int, width: int) -> np.ndarray:
        """Return (2, 3) float64, from old to new pixels (x, y)."""
        uniform = np.random.uniform
        angle = np.deg2rad(uniform(*self.angle_range_deg))
        shear = np.tan(np.deg2rad(uniform(*self.shear_range_deg)))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = turn @ [[1, shear], [0, 1]] @ np.diag(uniform(*self.scale_range, size=2))
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        shift = uniform(*self.shift_range, size=2) * [width, height]
        return np.column_stack([linear, centre + shift - linear @ centre])
