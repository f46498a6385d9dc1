"""Cropping before the annotations are decoded: what lies outside the crop costs nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from cellseg_mmdet.converters.annotations import segmentations_to_runs


@TRANSFORMS.register_module()
class RandomCropFirst(BaseTransform):
    """Cut a random window out of the image and its still encoded masks; stands before ``LoadAnnotations``.

    mmdet's ``RandomCrop`` needs the masks as N full bitmaps of the whole image, of which a crop then keeps a fraction:
    most of the time of loading a dense image. Here the masks are cut as runs, and ``LoadAnnotations`` decodes only what
    is left of them.

    Required keys: img, instances.
    Modified keys: img, img_shape, ori_shape, height, width, instances (mask, bbox; those without a part of at least
    ``min_area_px`` in the window are dropped).

    Args:
        crop_size_hw: (height, width) of the window in pixels; an image that is smaller is kept whole in that direction.
        min_area_px: smallest part of a cell that counts as one.
        num_tries: windows drawn in search of one with a cell; the last is taken as it is.
    """

    def __init__(
        self, crop_size_hw: tuple[int, int], min_area_px: int = 16, num_tries: int = 10
    ) -> None:
        if min(crop_size_hw) < 1 or min_area_px < 1 or num_tries < 1:
            raise ValueError(
                f"crop_size_hw={crop_size_hw}, min_area_px={min_area_px} and num_tries={num_tries} must be positive"
            )
        self.crop_size_hw = crop_size_hw
        self.min_area_px = min_area_px
        self.num_tries = num_tries

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop one image."""
        height, width = results["img"].shape[:2]
        boxes = np.array([instance["bbox"] for instance in results["instances"]]).reshape(-1, 4)
        for _ in range(self.num_tries):
            x1, x2 = _random_interval(width, self.crop_size_hw[1])
            y1, y2 = _random_interval(height, self.crop_size_hw[0])
            reached = (
                (boxes[:, 0] < x2) & (boxes[:, 2] > x1) & (boxes[:, 1] < y2) & (boxes[:, 3] > y1)
            )
            candidates = [results["instances"][index] for index in np.flatnonzero(reached)]
            masks = segmentations_to_runs(
                [instance["mask"] for instance in candidates],
                height,
                width,
                where=results["img_path"],
            ).cropped(x1, y1, x2, y2)
            kept = np.flatnonzero(masks.areas >= self.min_area_px)
            if len(kept):
                break

        masks = masks[kept]
        results["img"] = results["img"][y1:y2, x1:x2]
        results["img_shape"] = results["ori_shape"] = (y2 - y1, x2 - x1)
        results["height"], results["width"] = y2 - y1, x2 - x1
        rows = zip(kept, masks.to_coco(text=True), masks.boxes.tolist(), strict=True)
        results["instances"] = [
            dict(candidates[index], mask=rle, bbox=box) for index, rle, box in rows
        ]
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(crop_size_hw={self.crop_size_hw}, min_area_px={self.min_area_px}, "
            f"num_tries={self.num_tries})"
        )


def _random_interval(length: int, wanted: int) -> tuple[int, int]:
    size = min(length, wanted)
    # numpy's global generator: the one that mmengine seeds in every worker.
    begin = np.random.randint(0, length - size + 1)
    return begin, begin + size
