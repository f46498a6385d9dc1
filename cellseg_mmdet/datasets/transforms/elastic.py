"""Elastic deformation."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmdet.registry import TRANSFORMS

from cellseg_mmdet.datasets.transforms.base import CellTransform, set_instances
from cellseg_mmdet.errors import ConfigError


@TRANSFORMS.register_module()
class ElasticDeformation(CellTransform):
    """Move every pixel by a smooth random field (Simard, Steinkraus and Platt, ICDAR 2003).

    Image and masks are looked up through the same field, the image by bilinear interpolation with its border pixels
    repeated, the masks by nearest neighbours. Boxes are tight. No homography describes this: ``homography_matrix``
    stays that of the other transforms.

    Required keys: img, gt_bboxes, gt_bboxes_labels, gt_ignore_flags, gt_masks (`RoIMasks`).
    Modified keys: those.

    Args:
        alpha_px: root mean square displacement along each axis in pixels. Above a third of ``sigma_px`` the field
            begins to fold: neighbouring pixels change places.
        sigma_px: of the Gaussian that smooths the field, in pixels; about the size of a cell bends the cells, more
            moves them as they are.
        min_area_px: cells of which fewer pixels are left are dropped.

    Raises:
        ConfigError: an argument is not positive.
    """

    def __init__(
        self, alpha_px: float = 4.0, sigma_px: float = 16.0, min_area_px: int = 16
    ) -> None:
        if min(alpha_px, sigma_px, min_area_px) <= 0:
            raise ConfigError(
                f"alpha_px={alpha_px}, sigma_px={sigma_px} and min_area_px={min_area_px} must be positive"
            )
        self.alpha_px = alpha_px
        self.sigma_px = sigma_px
        self.min_area_px = min_area_px

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Deform one image."""
        masks = self._masks(results)
        move_x, move_y = self._random_field(masks.height, masks.width)
        source_x = np.arange(masks.width, dtype=np.float32) + move_x
        source_y = np.arange(masks.height, dtype=np.float32)[:, None] + move_y
        results["img"] = cv2.remap(
            results["img"], source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        masks = masks.remap(np.rint(source_x).astype(np.int64), np.rint(source_y).astype(np.int64))
        set_instances(results, masks, masks.areas >= self.min_area_px)
        return results

    @cache_randomness
    def _random_field(self, height: int, width: int) -> np.ndarray:
        """Return the displacement (2, height, width) float32 along x and y."""
        # Drawn on a grid of a quarter of sigma, between whose points nothing happens, at a fraction of the time.
        step = max(self.sigma_px / 4, 1.0)
        size = math.ceil(height / step), math.ceil(width / step), 2
        noise = np.random.uniform(-1, 1, size).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), self.sigma_px / step)
        field: np.ndarray = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_CUBIC)
        strength = np.sqrt(np.mean(field**2, axis=(0, 1)))
        return (field * (self.alpha_px / strength)).transpose(2, 0, 1)
