"""The whole table of scores: of all images, of each cell type, and of every image."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cellseg_mmdet import __version__
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.evaluation import scoring
from cellseg_mmdet.evaluation.detection import IOU_PERCENT
from cellseg_mmdet.evaluation.image_metric import IMAGE_METRICS, MetricOptions, metric_names
from cellseg_mmdet.fileio import ESCAPED, atomic_write
from cellseg_mmdet.progress import progress_bar
from cellseg_mmdet.structures import ImagePrediction, ImageRecord

SUFFIXES = (".json", ".csv")
_PER_THRESHOLD = ("f1", "precision", "recall")

Scores = dict[str, float | None]


@dataclass(frozen=True)
class Report:
    """Scores by name; None where there is none.

    Attributes:
        about: what was scored: files, number of images and cells, whether it was post-processed.
        overall: of all images.
        per_type: of the images of each cell type.
        per_image: one dict per image: ``image``, ``cell_type``, of ``kaggle_map``, ``aji`` and ``dice`` those asked
            for, and the numbers of cells: ``true``, ``found``, ``hits`` (IoU above 0.5).
    """

    about: dict[str, Any]
    overall: Scores
    per_type: dict[str, Scores]
    per_image: list[dict[str, Any]]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write everything as ``.json``, or the table, without single images, as ``.csv``.

        Raises:
            UsageError: for another suffix.
        """
        check_suffix(path)
        with atomic_write(path) as temporary:
            if Path(path).suffix.lower() == ".json":
                temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
                return
            with temporary.open("w", encoding="utf-8", errors=ESCAPED, newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["cell_type", *self.overall])
                for name, scores in self._columns().items():
                    writer.writerow([name, *scores.values()])

    def as_table(self) -> str:
        """Return the table for a terminal: a line per score, a column per cell type."""
        columns = self._columns()
        width = max(10, *(len(name) + 2 for name in columns))
        lines = [self._heading(), "", _line("", columns, width)]
        for name in self.overall:
            if name.partition("_")[0] not in _PER_THRESHOLD:
                label = f"{name} *" if name in of_raw_predictions() else name
                numbers = [_number(scores[name]) for scores in columns.values()]
                lines.append(_line(label, numbers, width))
        lines.append(f"* {self._about_ap()}")
        if "f1_50" in self.overall:  # where f1 was asked for
            thresholds = [f"{percent / 100:.2f}" for percent in IOU_PERCENT]
            lines += ["", _line("IoU above", thresholds, 8)]
            for name in _PER_THRESHOLD:
                numbers = [_number(self.overall[f"{name}_{percent}"]) for percent in IOU_PERCENT]
                lines.append(_line(name, numbers, 8))
        return "\n".join(lines)

    def _columns(self) -> dict[str, Scores]:
        return {"overall": self.overall} | self.per_type

    def _heading(self) -> str:
        about = self.about
        final = "after post-processing" if about["postprocess"] else "as they are"
        return (
            f"{about['images']} images, {about['true']} cells, {about['found']} predicted ({final})"
        )

    def _about_ap(self) -> str:
        if self.overall["segm_AP"] is None:
            return "not measured: the predictions have no scores, or it was not asked for"
        return (
            "of the raw predictions, before post-processing, "
            f"the best {self.about['coco_max_dets']} of an image at most"
        )


def evaluate(
    predictions: Sequence[ImagePrediction],
    records: Sequence[ImageRecord],
    *,
    metrics: Sequence[str] | None = None,
    postprocess: scoring.Postprocess | None = None,
    options: MetricOptions | None = None,
    about: Mapping[str, Any] | None = None,
) -> Report:
    """Score raw predictions by all metrics; images are matched by name.

    Args:
        metrics: names of `IMAGE_METRICS`, all by default; ``metric_names(needing_scores=False)`` for predictions
            without scores.
        postprocess: from raw predictions to final instances; COCO AP is measured without it.
        about: where predictions and annotations are from.

    Raises:
        ValueError: if predictions and annotations are not of the same images, or not of the same
            size, or of other classes.

    Example:
        >>> from cellseg_mmdet import ImageRecord, Runs
        >>> from cellseg_mmdet.structures import from_records
        >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2]]))
        >>> record = ImageRecord("a.png", 1, 4, masks, ("cort", "cort"), cell_type="cort")
        >>> (perfect,) = from_records([record])
        >>> report = evaluate([perfect], [record], metrics=("kaggle_map", "dice"))
        >>> report.overall["kaggle_map"], report.per_type["cort"]["dice"]
        (1.0, 1.0)
    """
    options = options or MetricOptions()
    names = metric_names() if metrics is None else metrics
    built = scoring.build_metrics(names, options)
    # Cells are counted in any case, as f1 counts them.
    measured = scoring.build_metrics([*names, "f1"], options)
    measuring = scoring.measure_images(predictions, records, measured, postprocess)
    images = list(progress_bar(measuring, total=len(predictions), description="scoring"))
    per_image = [_of_image(image) for image in images]
    return Report(
        about={
            **(about or {}),
            "postprocess": postprocess is not None,
            "coco_max_dets": options.coco_max_dets,
            "images": len(images),
            "true": sum(image["true"] for image in per_image),
            "found": sum(image["found"] for image in per_image),
            "version": __version__,
        },
        overall=_with_ap(scoring.summarise(images, built)),
        per_type={
            cell_type: _with_ap(scores)
            for cell_type, scores in scoring.summarise_by_type(images, built).items()
        },
        per_image=per_image,
    )


def of_raw_predictions() -> list[str]:
    """Return the names of the scores that need raw predictions with scores; others have none of them."""
    kinds: list[Any] = [IMAGE_METRICS.get(name) for name in metric_names()]
    return [name for kind in kinds if kind.needs_scores for name in kind.texts]


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raise UsageError unless a report can be written under this name.

    Example:
        >>> check_suffix("report.txt")
        Traceback (most recent call last):
        ...
        cellseg_mmdet.errors.UsageError: report.txt: the name of a report ends with .json or .csv
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: the name of a report ends with {' or '.join(SUFFIXES)}")


def _of_image(image: Mapping[str, Any]) -> dict[str, Any]:
    measured = image["measured"]
    counts = measured["f1"]
    return {
        "image": image["image"],
        "cell_type": image["cell_type"],
        **{name: measured[name] for name in ("kaggle_map", "aji", "dice") if name in measured},
        "true": counts.true,
        "found": counts.found,
        "hits": counts.hits[0],
    }


def _with_ap(scores: Mapping[str, float]) -> Scores:
    return {**scores, **{name: scores.get(name) for name in of_raw_predictions()}}


def _number(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"


def _line(label: str, cells: Iterable[str], width: int) -> str:
    return f"{label:<12}" + "".join(f"{cell:>{width}}" for cell in cells)
