"""What the transforms of images with `RoIMasks` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.mask import BitmapMasks

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.masks.roi_masks import RoIMasks


class CellTransform(BaseTransform):
    """Base of our transforms. The public attributes are the arguments, and what ``repr`` shows.

    Random numbers come from numpy's global generator: the one that mmengine seeds in every worker. For a transform that
    is applied to some images only, wrap it in mmcv's ``RandomApply``.
    """

    def __repr__(self) -> str:
        arguments = (
            f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_")
        )
        return f"{type(self).__name__}({', '.join(arguments)})"

    def _masks(self, results: dict[str, Any]) -> RoIMasks:
        """Return ``gt_masks``; mmdet's ``BitmapMasks``, which its ``CopyPaste`` leaves behind, as what they are here.

        Raises:
            TypeError: they are missing or of another kind.
        """
        masks = results.get("gt_masks")
        # In this order: `RoIMasks` pass for BitmapMasks.
        if not isinstance(masks, RoIMasks) and isinstance(masks, BitmapMasks):
            return RoIMasks(masks.masks, masks.height, masks.width)
        if not isinstance(masks, RoIMasks):
            raise TypeError(
                f"{type(self).__name__} stands behind LoadRoIAnnotations(with_mask=True); "
                f"gt_masks is {type(masks).__name__}, not RoIMasks"
            )
        return masks


def set_instances(results: dict[str, Any], masks: RoIMasks, kept: np.ndarray) -> None:
    """Put ``masks[kept]`` in place of ``gt_masks``, with their labels and ignore flags, and tight boxes.

    What has no pixels is dropped in any case: a box without area is nothing to train on.

    Args:
        results: of the pipeline; its labels and flags are those of ``masks``, before the selection.
        masks: N masks.
        kept: (N,) bool.
    """
    kept = kept & (masks.areas > 0)
    masks = masks if kept.all() else masks[kept]
    results["gt_masks"] = masks
    results["gt_bboxes"] = masks.get_bboxes()
    for key in ("gt_bboxes_labels", "gt_ignore_flags"):
        results[key] = results[key][kept]


def record_homography(results: dict[str, Any], matrix: np.ndarray) -> None:
    """Note the geometry (2 or 3 rows, 3 columns; from old to new pixels) as mmdet's transforms do."""
    full = np.eye(3, dtype=np.float32)
    full[: len(matrix)] = matrix
    results["homography_matrix"] = full @ results.get(
        "homography_matrix", np.eye(3, dtype=np.float32)
    )


def checked_range(
    name: str, bounds: Sequence[float], least: float = -np.inf, most: float = np.inf
) -> tuple[float, float]:
    """Return ``bounds`` as (low, high).

    Raises:
        ConfigError: they are not two numbers in order, from ``least`` to ``most``.
    """
    if len(bounds) != 2 or not least <= bounds[0] <= bounds[1] <= most:
        raise ConfigError(
            f"{name} must be (low, high) within {least} to {most}; got {tuple(bounds)}"
        )
    return bounds[0], bounds[1]
