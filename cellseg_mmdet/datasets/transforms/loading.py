"""Loading annotations with each mask in its own box."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BaseInstanceMasks

from cellseg_mmdet.errors import DataError, MaskError
from cellseg_mmdet.masks.polygons import is_polygons, segmentations_to_runs
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
        masks = [_usable(instance.get("mask")) for instance in instances]
        results["gt_ignore_flags"] = np.array(
            [
                bool(instance["ignore_flag"]) or mask == []
                for instance, mask in zip(instances, masks, strict=True)
            ],
            dtype=bool,
        )
        try:
            runs = segmentations_to_runs(masks, height, width)
        except MaskError as error:
            raise DataError(f"{where}: {error}") from error
        results["gt_masks"] = RoIMasks.from_runs(runs)


def _usable(mask: Any) -> Any:
    """Return of polygons those with three points at least, and anything else as it is."""
    if not is_polygons(mask):
        return mask
    return [part for part in mask if len(part) % 2 == 0 and len(part) >= 6]
