"""COCO average precision of masks and boxes, with a cap on detections high enough for cells.

Definition: https://cocodataset.org/#detection-eval, AP over IoU 0.50:0.05:0.95, all areas, mean
    over the classes. The classes that no cell is of are left out: of a cell type, whose images hold
    no other cells, it is the AP of that class.
pycocotools looks at 100 detections per image at most for the number it prints first; an image of
this field may hold 800 cells. Computed by faster-coco-eval, whose results are those of pycocotools.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from cellseg_mmdet.errors import DataError, needs
from cellseg_mmdet.evaluation.image_metric import IMAGE_METRICS, ImagePair, MetricOptions, ScoreText
from cellseg_mmdet.masks.boxes import to_xywh
from cellseg_mmdet.structures import ImagePrediction, ImageRecord


@IMAGE_METRICS.register("coco_ap")
class CocoAP:
    """``segm_AP``, ``segm_AP50`` and ``bbox_AP`` in [0, 1]; -1, as in pycocotools, without cells.

    Raises:
        DataError: if neither the class names nor a single class are known, or an annotation or a
            prediction is of another class.
    """

    on_raw, needs_scores = True, True
    rank = 90
    texts = MappingProxyType(
        {
            "segm_AP": ScoreText("COCO AP, masks", "of raw predictions"),
            "segm_AP50": ScoreText("COCO AP50, masks", "of raw predictions"),
            "bbox_AP": ScoreText("COCO AP, boxes", "of raw predictions"),
        }
    )

    def __init__(self, options: MetricOptions) -> None:
        if options.single_class is None and options.classes is None:
            raise DataError(
                "coco_ap needs the class names, or a single class that all cells are counted as"
            )
        self.single_class = options.single_class
        self.classes = (
            (options.single_class,) if options.single_class is not None else options.classes or ()
        )
        self.max_dets = options.coco_max_dets

    def measure(self, pair: ImagePair) -> dict[str, Any]:
        prediction, record = pair.prediction, pair.record
        best = prediction.select(prediction.by_descending_score()[: self.max_dets])
        true = _as_annotations(
            record.masks.boxes, self._true_labels(record), record.masks.to_coco()
        )
        for annotation, area in zip(true, record.masks.areas.tolist(), strict=True):
            annotation.update(area=area, iscrowd=0)
        found = _as_annotations(best.boxes, self._found_labels(best), best.masks.to_coco())
        for annotation, score in zip(found, best.scores.tolist(), strict=True):
            annotation["score"] = score
        return {"height": record.height, "width": record.width, "true": true, "found": found}

    def _found_labels(self, prediction: ImagePrediction) -> np.ndarray:
        if self.single_class is not None:
            return np.zeros(len(prediction), dtype=np.int64)
        unknown = prediction.labels[
            (prediction.labels < 0) | (prediction.labels >= len(self.classes))
        ]
        if len(unknown):
            raise DataError(
                f"{prediction.image_id}: label {unknown[0]} is predicted, but there are "
                f"{len(self.classes)} classes {self.classes}: are the predictions of another model?"
            )
        return prediction.labels

    def _true_labels(self, record: ImageRecord) -> np.ndarray:
        if self.single_class is not None:
            return np.zeros(len(record.masks), dtype=np.int64)
        unknown = sorted(set(record.categories) - set(self.classes))
        if unknown:
            raise DataError(
                f"{record.file_name} has cells of {unknown}; the classes are {list(self.classes)}"
            )
        return np.array([self.classes.index(name) for name in record.categories], dtype=np.int64)

    def summarise(self, measured: Sequence[dict[str, Any]]) -> dict[str, float]:
        of_masks = self.precision(measured, "segm")
        return {
            "segm_AP": _mean(of_masks),
            "segm_AP50": _mean(of_masks[0]),
            "bbox_AP": _mean(self.precision(measured, "bbox")),
        }

    def precision(self, measured: Sequence[dict[str, Any]], kind: str) -> np.ndarray:
        """Return the precision (IoU thresholds, recalls, classes) of 'segm' or 'bbox'; -1 for a class without cells."""
        with needs("train"):
            from faster_coco_eval import COCO, COCOeval_faster

        images = [
            {"id": index, "height": image["height"], "width": image["width"]}
            for index, image in enumerate(measured, start=1)
        ]
        categories = [
            {"id": index, "name": name} for index, name in enumerate(self.classes, start=1)
        ]
        true = COCO(
            {"images": images, "categories": categories, "annotations": _with_ids(measured, "true")}
        )
        # Without the other kind: COCO takes the area of a result from its box if it has one.
        other = "bbox" if kind == "segm" else "segmentation"
        found = true.loadRes([_without(result, other) for result in _with_ids(measured, "found")])
        evaluation = COCOeval_faster(true, found, kind, print_function=_silent)
        evaluation.params.maxDets = [self.max_dets]
        all_areas = evaluation.params.areaRngLbl.index("all")
        evaluation.params.areaRng = [evaluation.params.areaRng[all_areas]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation.eval["precision"][:, :, :, 0, 0]


def _as_annotations(
    boxes: np.ndarray, labels: np.ndarray, rles: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    boxes_xywh = to_xywh(boxes.astype(np.float64))
    return [
        {"category_id": label + 1, "bbox": box, "segmentation": rle}
        for label, box, rle in zip(labels.tolist(), boxes_xywh.tolist(), rles, strict=True)
    ]


def _with_ids(measured: Sequence[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    annotations = [
        dict(ann, image_id=index)
        for index, image in enumerate(measured, start=1)
        for ann in image[key]
    ]
    return [dict(annotation, id=index) for index, annotation in enumerate(annotations, start=1)]


def _without(annotation: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in annotation.items() if name != key}


def _mean(precision: np.ndarray) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else -1.0


def _silent(*_: object) -> None:
    pass
