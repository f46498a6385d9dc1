"""The metrics by their definitions: on bitmaps, slow, sharing no code with the package; and AP by pycocotools."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.optimize import linear_sum_assignment

from cellseg_mmdet.structures import ImagePrediction, ImageRecord


def dense_scores(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Score bitmaps (N, H, W) and (M, H, W) of one image, at least one of which is not empty."""
    num_pixels = true[0:1].size or predicted[0:1].size
    found, cells = (
        masks.reshape(len(masks), num_pixels).astype(np.float64) for masks in (predicted, true)
    )
    shared = found @ cells.T
    union = found.sum(1)[:, None] + cells.sum(1) - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)

    def matched(weights: np.ndarray) -> np.ndarray:
        pairs = np.transpose(linear_sum_assignment(weights, maximize=True))
        return pairs[[weights[i, j] > 0 for i, j in pairs]] if len(pairs) else pairs.reshape(0, 2)

    def aggregate(pairs: np.ndarray) -> float:
        pixels = sum(shared[i, j] for i, j in pairs), sum(union[i, j] for i, j in pairs)
        alone = sum(mask.sum() for i, mask in enumerate(found) if i not in pairs[:, 0])
        alone += sum(mask.sum() for j, mask in enumerate(cells) if j not in pairs[:, 1])
        return pixels[0] / (pixels[1] + alone)

    thresholds = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    hits = np.array([len(matched((iou > thr) * 1.0)) for thr in thresholds])
    good = [iou[i, j] for i, j in matched(np.where(iou > 0.5, iou, 0))]
    best = [(int(iou[:, j].argmax()), j) for j in range(len(cells)) if iou[:, j].max(initial=0) > 0]
    all_found, all_cells = found.any(0), cells.any(0)
    both, either = (all_found & all_cells).sum(), (all_found | all_cells).sum()
    return {
        "kaggle_map": float(np.mean(hits / (len(found) + len(cells) - hits))),
        "pq": sum(good) / ((len(found) + len(cells)) / 2),
        "aji": aggregate(np.array(best, dtype=int).reshape(-1, 2)),
        "aji_plus": aggregate(matched(iou)),
        "dice": 2 * both / (all_found.sum() + all_cells.sum()),
        "iou": both / either,
    }


def pycocotools_ap(
    predictions: Sequence[ImagePrediction],
    records: Sequence[ImageRecord],
    classes: Sequence[str],
    kind: str,
    max_dets: int,
) -> tuple[float, float]:
    """Return AP and AP50 as pycocotools has them, at a cap of its ``maxDets``."""
    true, found = [], []
    for image_id, (prediction, rec) in enumerate(zip(predictions, records, strict=True), start=1):
        rows = zip(
            rec.masks.to_coco(), rec.masks.boxes, rec.masks.areas, rec.categories, strict=True
        )
        for rle, (x1, y1, x2, y2), area, name in rows:
            true.append(
                dict(id=len(true) + 1, image_id=image_id, category_id=classes.index(name) + 1,
                     segmentation=rle, bbox=[x1, y1, x2 - x1, y2 - y1], area=area, iscrowd=0)
            )  # fmt: skip
        rows = zip(
            prediction.masks.to_coco(), prediction.boxes, prediction.scores, prediction.labels,
            strict=True,
        )  # fmt: skip
        for rle, (x1, y1, x2, y2), score, label in rows:
            shape = (
                dict(segmentation=rle) if kind == "segm" else dict(bbox=[x1, y1, x2 - x1, y2 - y1])
            )
            found.append(dict(image_id=image_id, category_id=label + 1, score=score, **shape))
    coco = COCO()
    coco.dataset = dict(
        images=[dict(id=i + 1, height=r.height, width=r.width) for i, r in enumerate(records)],
        categories=[dict(id=i + 1, name=name) for i, name in enumerate(classes)],
        annotations=true,
    )
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(found), kind)
    evaluation.params.maxDets = [max_dets]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]
    return precision[precision > -1].mean(), precision[0][precision[0] > -1].mean()
