"""Loading annotations with each mask in its own box."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BaseInstanceMasks

from cellseg_mmdet.converters.annotations import segmentations_to_runs
from cellseg_mmdet.masks.roi_masks import RoIMasks

# For mmdet's isinstance checks; `masks` itself knows nothing of mmdet.
BaseInstanceMasks.register(RoIMasks)


@TRANSFORMS.register_module()
class LoadRoIAnnotations(LoadAnnotations):
    """mmdet's ``LoadAnnotations`` with `RoIMasks` in place of N full bitmaps; the same pixels, boxes, labels and flags.

    Takes polygons and COCO RLE, compressed (str or bytes) or not. An instance without a usable polygon is ignored, as
    in mmdet; a damaged RLE is an error, where mmdet ignores the instance or reads something else.

    Required keys: instances (bbox, bbox_label, ignore_flag; mask for ``with_mask``), ori_shape (for ``with_mask``).
    Added keys: gt_bboxes, gt_bboxes_labels, gt_ignore_flags, gt_masks (`RoIMasks`).

    Args:
        **kwargs: those of ``LoadAnnotations``, with its defaults; ``poly2mask`` makes no difference.
    """

    def _load_masks(self, results: dict[str, Any]) -> None:
        height, width = results["ori_shape"]
        where = str(results.get("img_path", "image"))
        instances = results.get("instances", [])
        masks = [
            _readable(instance.get("mask"), f"{where}: instance {index}")
            for index, instance in enumerate(instances)
        ]
        results["gt_ignore_flags"] = np.array(
            [
                bool(instance["ignore_flag"]) or mask == []
                for instance, mask in zip(instances, masks, strict=True)
            ],
            dtype=bool,
        )
        results["gt_masks"] = RoIMasks.from_runs(
            segmentations_to_runs(masks, height, width, where=where)
        )


def _readable(mask: Any, where: str) -> Any:
    """Return an RLE as it is, and of polygons those with three points at least."""
    if isinstance(mask, dict) and mask.keys() >= {"size", "counts"}:
        return mask
    if isinstance(mask, list) and all(isinstance(part, list | tuple | np.ndarray) for part in mask):
        return [part for part in mask if len(part) % 2 == 0 and len(part) >= 6]
    raise ValueError(
        f"{where}: a mask is a list of polygons [x1, y1, x2, y2, ...] or a COCO RLE with 'size' and 'counts'; "
        f"got {type(mask).__name__} {str(mask)[:60]}"
    )
