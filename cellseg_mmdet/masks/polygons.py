"""Polygons: read into runs, alone or among COCO RLEs, and found around runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from cellseg_mmdet.errors import MaskError, shown
from cellseg_mmdet.masks.roi_masks import RoIMasks
from cellseg_mmdet.masks.runs import Runs

# The outline of a cell is shorter in any image that can be read. pycocotools takes 100 bytes for each of its pixels.
_MAX_OUTLINE_PX = 1_000_000


def segmentations_to_runs(segmentations: Sequence[Any], height: int, width: int) -> Runs:
    """Read segmentations of one image, each a COCO RLE or a list of polygons ``[x1, y1, x2, y2, ...]``.

    A polygon of fewer than three points covers nothing, nor does what lies outside the image. Pixels are those of
    pycocotools' ``frPyObjects``; what would crash it, or take it gigabytes, is refused before.

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

    Example:
        >>> masks = Runs.from_label_map(np.array([[0, 1, 1], [0, 1, 1]]))
        >>> contours(masks)[0][0].tolist()
        [[1, 0], [1, 1], [2, 1], [2, 0]]
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
    """Return whether this is a list of polygons, and not an RLE or something else.

    Example:
        >>> is_polygons([[0, 0, 4, 0, 4, 4]]), is_polygons({"size": [4, 4], "counts": "04"})
        (True, False)
    """
    return isinstance(segmentation, list | tuple) and all(
        isinstance(part, list | tuple | np.ndarray) for part in segmentation
    )


def _to_rle(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    if is_polygons(segmentation):
        return _rasterise(segmentation, height, width)
    if isinstance(segmentation, dict) and segmentation.keys() >= {"size", "counts"}:
        return segmentation
    hint = ""
    if isinstance(segmentation, list | tuple) and all(
        isinstance(part, int | float) for part in segmentation
    ):
        hint = "; a single polygon stands in a list of its own"
    elif isinstance(segmentation, list | tuple) and any(
        isinstance(part, dict) for part in segmentation
    ):
        hint = "; an RLE stands without a list around it"
    raise MaskError(
        "a mask is a list of polygons [x1, y1, x2, y2, ...] or a COCO RLE with 'size' and 'counts'; "
        f"got {shown(segmentation)}{hint}"
    )


def _rasterise(polygons: Sequence[Sequence[float]], height: int, width: int) -> dict[str, Any]:
    usable = [
        numbers.tolist()
        for numbers in map(_numbers_of, polygons)
        if len(numbers) >= 6 and _meets_image(numbers, height, width)
    ]
    if not usable:
        nothing = np.zeros(0, np.int64)
        return Runs.from_pixels(nothing, nothing, 1, height, width).to_coco()[0]
    return coco_mask.merge(coco_mask.frPyObjects(usable, height, width))


def _numbers_of(polygon: Any) -> np.ndarray:
    """Return the coordinates of a polygon as (2 P,) float64: finite, and two for each point."""
    try:
        numbers = np.asarray(polygon)
    except (ValueError, TypeError, OverflowError, RecursionError):
        numbers = np.zeros((0, 0))
    if not len(polygon):
        return np.zeros(0)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        raise MaskError(f"a polygon is a list of numbers x1, y1, x2, y2, ...; got {shown(polygon)}")
    if len(numbers) % 2:
        raise MaskError(f"a polygon of {len(numbers)} numbers; x and y come in pairs")
    if not np.isfinite(numbers).all():
        raise MaskError(f"a polygon with a coordinate that is not finite: {shown(polygon)}")
    return numbers.astype(np.float64)


def _meets_image(numbers: np.ndarray, height: int, width: int) -> bool:
    """Return whether a polygon's box and the image have something in common.

    Raises:
        MaskError: its outline is absurdly long.
    """
    points = numbers.reshape(-1, 2)
    (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
    if x2 < 0 or y2 < 0 or x1 > width or y1 > height:
        return False
    # A bound that costs nothing first; the sum only for what exceeds it.
    if len(points) * max(x2 - x1, y2 - y1) > _MAX_OUTLINE_PX:
        steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
        if steps.sum() > _MAX_OUTLINE_PX:
            raise MaskError(
                f"a polygon of {steps.sum():.3g} pixels around, in an image of {height} x {width}; "
                f"allowed are {_MAX_OUTLINE_PX:,}: are its coordinates in pixels?"
            )
    return True
