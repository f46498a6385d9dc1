"""Predictions in the results format of COCO."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.structures import ImagePrediction


def to_coco_results(
    predictions: Iterable[ImagePrediction], category_ids: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Return a dict per instance: image_id, category_id, segmentation (RLE), score, bbox (xywh).

    Args:
        category_ids: category of each label; by default label + 1, which is what the converters
            write.

    Images without ``img_id`` are named by their ``image_id``.
    """
    results: list[dict[str, Any]] = []
    for prediction in predictions:
        boxes_xywh: np.ndarray = prediction.boxes.astype(np.float64)
        boxes_xywh[:, 2:] -= boxes_xywh[:, :2]
        rows = zip(
            prediction.labels.tolist(),
            prediction.masks.to_coco(text=True),
            prediction.scores.tolist(),
            boxes_xywh.tolist(),
            strict=True,
        )
        results.extend(
            {
                "image_id": prediction.image_id if prediction.img_id is None else prediction.img_id,
                "category_id": label + 1 if category_ids is None else category_ids[label],
                "segmentation": rle,
                "score": score,
                "bbox": box_xywh,
            }
            for label, rle, score, box_xywh in rows
        )
    return results


def write_coco_results(
    path: str | os.PathLike[str],
    predictions: Iterable[ImagePrediction],
    category_ids: Sequence[int] | None = None,
) -> int:
    """Write `to_coco_results` as JSON, whole or not at all, and return the number of instances."""
    results = to_coco_results(predictions, category_ids)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(results, separators=(",", ":")), encoding="utf-8")
    return len(results)
