"""The charts of a report on a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from cellseg_mmdet.evaluation.detection import IOU_PERCENT
from cellseg_mmdet.evaluation.report import Report
from cellseg_mmdet.visualization.charts.svg import (
    Chart,
    area_axis,
    area_bins,
    count_axis,
    linear_axis,
    series_of,
    whole_axis,
)
from cellseg_mmdet.visualization.pages.html import figure
from cellseg_mmdet.visualization.pages.run_data import SCORE_THRESHOLDS, ImageStudy, Sweep

_SCORE_BINS = np.linspace(0, 1, 11)
_MIN_CELLS_PER_BIN = 5

Studies = Sequence[ImageStudy]
SweepsByType = Mapping[str, Sequence[Sweep]]


def by_type(studies: Studies) -> dict[str, list[ImageStudy]]:
    """Return the images of each cell type, sorted by name; of no known type under 'unknown'."""
    names = sorted({study.true.cell_type or "unknown" for study in studies})
    return {
        name: [study for study in studies if (study.true.cell_type or "unknown") == name]
        for name in names
    }


def sweeps_by_type(studies: Studies) -> dict[str, list[Sweep]]:
    """Return what scores are worth in the images of each cell type; empty for predictions without scores."""
    sweeps = {
        name: [study.sweep for study in members if study.sweep is not None]
        for name, members in by_type(studies).items()
    }
    return {name: members for name, members in sweeps.items() if members}


def score_by_threshold(types: SweepsByType, thresholds: Mapping[str, float]) -> str:
    """Return the score as a function of the score threshold, overall and per cell type."""
    means = {"overall": np.mean([s.score_at for s in chain(*types.values())], axis=0)}
    if len(types) > 1:
        means |= {
            name: np.mean([s.score_at for s in members], axis=0) for name, members in types.items()
        }
    best = float(means["overall"].max())
    at = SCORE_THRESHOLDS[int(means["overall"].argmax())]
    highest = max(float(values.max()) for values in means.values())
    chart = Chart(
        f"Competition mAP against the score threshold; overall the best is {best:.3f} at {at}",
        linear_axis("score threshold", 0, 1),
        linear_axis("competition mAP", 0, max(highest * 1.08, 0.02)),
    )
    series = series_of(types)
    for class_name, value in thresholds.items():
        label = f"threshold of the config{f' for {class_name}' if class_name else ''}: {value:g}"
        chart.mark_x(value, series.get(class_name, 0), label)
    for name, values in means.items():
        chart.line(SCORE_THRESHOLDS, values, series.get(name, 0), name)
    return figure(
        "Score against score threshold",
        chart.render(),
        "The whole post-processing was run again at each threshold. A threshold chosen where the score is best on "
        "these images flatters it a little.",
    )


def quality_by_iou(report: Report) -> str:
    """Return precision, recall and F1 as functions of the IoU that makes a hit."""
    chart = Chart(
        f"F1, precision and recall against the IoU; F1 at 0.5 is {report.overall['f1_50']:.3f}",
        linear_axis("IoU above which a pair is a hit", 0.5, 0.95),
        linear_axis("share of cells", 0, 1),
    )
    iou = np.array(IOU_PERCENT) / 100
    for name, series, kind in (("f1", 0, "line"), ("precision", 1, "line"), ("recall", 2, "line")):
        values = [report.overall[f"{name}_{percent}"] or 0.0 for percent in IOU_PERCENT]
        chart.line(iou, values, series, "F1" if name == "f1" else name, kind=kind)
    return figure(
        "Cells found, by how exactly",
        chart.render(),
        "Precision: of what is predicted, how much is there. Recall: of what is there, how much is predicted. "
        "Over all cells of all images.",
    )


def calibration(types: SweepsByType) -> str:
    """Return how good predicted cells are, by their score."""
    confidence = np.concatenate([sweep.confidence for sweep in chain(*types.values())])
    iou = np.concatenate([sweep.iou for sweep in chain(*types.values())])
    of_bin = np.clip(np.digitize(confidence, _SCORE_BINS) - 1, 0, len(_SCORE_BINS) - 2)
    used = [
        number
        for number in range(len(_SCORE_BINS) - 1)
        if (of_bin == number).sum() >= _MIN_CELLS_PER_BIN
    ]
    chart = Chart(
        "Mean IoU and share of hits of predicted cells against their score",
        linear_axis("score", 0, 1),
        linear_axis("IoU, share of hits", 0, 1),
    )
    chart.line([0, 1], [0, 1], 0, "perfect calibration", kind="thin")
    groups = [(confidence[of_bin == number], iou[of_bin == number]) for number in used]
    if groups:
        x = [scores.mean() for scores, _ in groups]
        low, high = ([np.percentile(ious, q) for _, ious in groups] for q in (25, 75))
        chart.band(x, low, high, 1, "middle half of the IoUs")
        chart.line(x, [ious.mean() for _, ious in groups], 1, "mean IoU")
        chart.line(
            x, [(ious > 0.5).mean() for _, ious in groups], 2, "share of hits", kind="dashed"
        )
    return figure(
        "Calibration: score against IoU",
        chart.render(),
        f"{len(iou):,} predicted cells, post-processed with a score threshold of {SCORE_THRESHOLDS[0]}, in tenths of "
        "the score. A score is a probability if the share of hits lies on the diagonal.",
    )


def counts(studies: Studies) -> str:
    """Return the number of predicted against that of true cells, a dot for each image."""
    types = by_type(studies)
    most = max(max(len(s.true.masks), len(s.final)) for s in studies)
    chart = Chart(
        "Predicted against true number of cells of each image",
        count_axis("true cells", most),
        count_axis("predicted cells", most),
    )
    chart.line(
        [0, *chart.x.ticks, most], [0, *chart.x.ticks, most], 0, "as many as there are", kind="thin"
    )
    for name, members in types.items():
        true, found = [len(s.true.masks) for s in members], [len(s.final) for s in members]
        titles = [
            f"{s.final.image_id}: {n} true, {m} predicted, score {s.score:.2f}"
            for s, n, m in zip(members, true, found, strict=True)
        ]
        chart.points(true, found, series_of(types)[name], name, titles)
    return figure(
        "Cells per image", chart.render(), "One dot is one image. Both axes are logarithmic."
    )


def sizes(studies: Studies) -> list[str]:
    """Return the areas of true and predicted cells, a chart for each cell type."""
    parts = []
    for name, members in by_type(studies).items():
        true = np.concatenate([s.true.masks.areas for s in members])
        found = np.concatenate([s.final.masks.areas for s in members])
        edges = area_bins(np.concatenate([true, found]))
        true_counts, found_counts = (np.histogram(areas, edges)[0] for areas in (true, found))
        chart = Chart(
            f"Areas of {name} cells, true and predicted",
            area_axis("area in pixels", edges),
            whole_axis("cells", max(int(true_counts.max()), int(found_counts.max()))),
        )
        chart.histogram(edges, true_counts, 1, f"true ({len(true):,})", kind="band")
        chart.histogram(edges, found_counts, 2, f"predicted ({len(found):,})", kind="line")
        medians = " and ".join(
            f"{np.median(areas):,.0f} ({which})"
            for which, areas in (("true", true), ("predicted", found))
            if len(areas)
        )
        parts.append(
            figure(name, chart.render(), f"Median area in pixels: {medians}." if medians else "")
        )
    return parts
