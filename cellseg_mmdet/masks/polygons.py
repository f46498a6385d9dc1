"""Polygons: read into runs, alone or among COCO RLEs, and found around runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from cellseg_mmdet.errors import MaskError
from cellseg_mmdet.masks.roi_masks import RoIMasks
from cellseg_mmdet.masks.runs import Runs


def segmentations_to_runs(segmentations: Sequence[Any], height: int, width: int) -> Runs:
    """Read segmentations of one image, each a COCO RLE or a list of polygons ``[x1, y1, x2, y2, ...]``.

    A polygon of fewer than three points covers nothing. Pixels are those of pycocotools' ``frPyObjects``.

    Raises:
        MaskError: for a malformed segmentation; it names the instance where one is to blame.

    Example:
        >>> segmentations_to_runs([[[1, 1, 3, 1, 3, 3, 1, 3]]], 4, 4).areas.tolist()
        [4]
    """
    rles = []
    for index, segmentation in enumerate(segmentations):
        try:
            rles.append(_to_rle(segmentation, height, width))
        except MaskError as error:
            raise MaskError(error.cause, index) from error
        except (ValueError, TypeError) as error:  # of numpy and pycocotools
            raise MaskError(str(error), index) from error
    try:
        return Runs.from_coco(rles, height, width)
    except (ValueError, TypeError) as error:
        raise MaskError(str(error)) from error


def contours(masks: Runs) -> list[list[np.ndarray]]:
    """Return the contours of each instance, those of its pieces and of its holes.

    Returns:
        For each of the N instances a list of (P, 2) int32 arrays, (x, y) of the outermost pixels of a piece, or of
        the pixels around a hole; corners only. Empty for an instance without pixels.
    """
    import cv2  # here: what reads masks does without OpenCV

    bitmaps = RoIMasks.from_runs(masks)
    found: list[list[np.ndarray]] = []
    for index, (x1, y1) in enumerate(bitmaps.boxes[:, :2].tolist()):
        bitmap = np.ascontiguousarray(bitmaps.bitmap(index), dtype=np.uint8)
        if not bitmap.size:
            found.append([])
            continue
        polygons, _ = cv2.findContours(
            bitmap, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x1, y1)
        )
        found.append([np.asarray(polygon)[:, 0, :] for polygon in polygons])
    return found


def is_polygons(segmentation: Any) -> bool:
    """Return whether this is a list of polygons, and not an RLE or something else."""
    return isinstance(segmentation, list | tuple) and all(
        isinstance(part, list | tuple | np.ndarray) for part in segmentation
    )


def _to_rle(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    if is_polygons(segmentation):
        return _rasterise(segmentation, height, width)
    if isinstance(segmentation, dict) and segmentation.keys() >= {"size", "counts"}:
        return segmentation
    raise MaskError(
        "a mask is a list of polygons [x1, y1, x2, y2, ...] or a COCO RLE with 'size' and 'counts'; "
        f"got {type(segmentation).__name__} {str(segmentation)[:60]}"
    )


def _rasterise(polygons: Sequence[Sequence[float]], height: int, width: int) -> dict[str, Any]:
    odd = [len(polygon) for polygon in polygons if len(polygon) % 2]
    if odd:
        raise MaskError(f"a polygon of {odd[0]} numbers; x and y come in pairs")
    usable = [
        np.asarray(polygon, dtype=np.float64).tolist() for polygon in polygons if len(polygon) >= 6
    ]
    if not usable:
        return Runs.from_pixels(
            np.zeros(0, np.int64), np.zeros(0, np.int64), 1, height, width
        ).to_coco()[0]
    return coco_mask.merge(coco_mask.frPyObjects(usable, height, width))
