"""The metric that MMDetection's loops call."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from cellseg_mmdet.annotations.faults import OnError
from cellseg_mmdet.annotations.files import AnnotationFiles, files_of, read_annotations
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.evaluation import scoring
from cellseg_mmdet.evaluation.image_metric import ImageMetric, MetricOptions
from cellseg_mmdet.postprocess import Pipeline, Tally, build_pipeline
from cellseg_mmdet.structures import from_dump_entry


@METRICS.register_module()
class CellMetric(BaseMetric):
    """Scores of the final instances, those that a submission would hold, in all and per cell type.

    Images are measured one by one as they come; of an image only its measurements are kept.

    Args:
        ann_file: COCO json or MMDetection pickle; images are matched by file name. A list of files is read as one, for
            a `ConcatDataset` of them.
        metric: one or several of ``cellseg_mmdet.evaluation.IMAGE_METRICS``: 'kaggle_map', 'pq',
            'aji', 'aji_plus', 'dice', 'iou', 'f1', 'count_error', 'coco_ap'. (Named as in mmdet's
            `CocoMetric`: a config with the key ``metrics`` is an `Evaluator` to mmengine.)
        postprocess: the config's list of steps; None to score the masks as they are, overlapping as
            they may.
        single_class: count all classes as this one. (None but 'coco_ap' looks at classes in any
            case.)
        coco_max_dets: detections per image that 'coco_ap' looks at. It is measured without
            ``postprocess``.
        collect_device: 'cpu' or 'gpu', where the results of several processes come together.
        prefix: what the names of the scores begin with, instead of 'cell'.
        on_error: what `annotations.validate` finds wrong with an entry is an error ('stop'), or left out and counted in
            the log ('skip').

    Raises:
        ValueError: for an unknown metric or step or a wrong parameter, as soon as the class names
            are known, which is before the first image.
    """

    default_prefix = "cell"

    def __init__(
        self,
        ann_file: AnnotationFiles,
        metric: str | Sequence[str] = ("kaggle_map",),
        postprocess: Sequence[Mapping[str, Any]] | None = None,
        single_class: str | None = None,
        coco_max_dets: int = 2000,
        collect_device: str = "cpu",
        prefix: str | None = None,
        on_error: OnError = "stop",
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ann_file = ", ".join(files_of(ann_file))
        self.metric_names = (metric,) if isinstance(metric, str) else tuple(metric)
        self.steps = postprocess
        self.single_class = single_class
        self.coco_max_dets = coco_max_dets
        records = read_annotations(ann_file, on_error=on_error, tell=_warn)
        self.records = scoring.records_by_image_id(records, self.ann_file)
        self._metrics: dict[str, ImageMetric] = {}
        self._pipeline: Pipeline | None = None
        self._tally = Tally()  # of this process

    @property
    def dataset_meta(self) -> dict[str, Any] | None:
        """Meta information of the data set; mmengine's loops set it before they start."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict[str, Any] | None) -> None:
        self._dataset_meta = dataset_meta
        self._build()

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Measure the images of a batch.

        Raises:
            ValueError: if an image is not annotated, or annotated with another size.
        """
        if not self._metrics:
            self._build()
        pipeline = None if self._pipeline is None else partial(self._tally.through, self._pipeline)
        for sample in data_samples:
            prediction = from_dump_entry(sample)
            self._check_annotated(prediction.image_id)
            self.results.append(
                scoring.measure_image(
                    prediction, self.records, self._metrics, pipeline, self.ann_file
                )
            )

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Return the scores of the images of all processes."""
        if len(results) != len(self.records):
            print_log(
                f"CellMetric: {len(results)} of {len(self.records)} images of {self.ann_file}",
                "current",
            )
        if sentence := self._tally.sentence():
            print_log(f"CellMetric: {sentence}", "current")
        self._tally = Tally()
        return scoring.summarise_all(results, self._metrics)

    def _check_annotated(self, image_id: str) -> None:
        if image_id not in self.records:
            known = ", ".join(sorted(self.records)[:3])
            raise DataError(
                f"image {image_id!r} is not in {self.ann_file}; its {len(self.records)} are {known}, ... Where the "
                "data set joins several annotation files (ConcatDataset, or a list), give CellMetric all of them: "
                "ann_file=['a.json', 'b.json']"
            )

    def _build(self) -> None:
        classes = (self._dataset_meta or {}).get("classes")
        options = MetricOptions(
            classes=None if classes is None else tuple(classes),
            single_class=self.single_class,
            coco_max_dets=self.coco_max_dets,
        )
        self._metrics = scoring.build_metrics(self.metric_names, options)
        self._pipeline = None if self.steps is None else build_pipeline(self.steps, options.classes)
        if "coco_ap" in self._metrics:
            print_log(
                f"CellMetric: coco_ap looks at {self.coco_max_dets} detections an image at most",
                "current",
            )
        if self._pipeline is not None and self._pipeline.adds_overlap_removal:
            print_log(
                "CellMetric: postprocess may end with masks that overlap; RemoveOverlaps is applied last",
                "current",
            )


def _warn(sentence: str) -> None:
    print_log(sentence, "current", logging.WARNING)
