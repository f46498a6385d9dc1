"""The report on a run: one page with its scores, its best and worst images, and what they have in common."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from cellseg_mmdet import __version__
from cellseg_mmdet.doctor import DISTRIBUTIONS, OPENCV_DISTRIBUTIONS, installed
from cellseg_mmdet.evaluation.image_metric import score_texts
from cellseg_mmdet.evaluation.report import Report, of_raw_predictions
from cellseg_mmdet.structures import safe_name
from cellseg_mmdet.visualization.draw.pictures import read_picture, write_picture
from cellseg_mmdet.visualization.pages import run_charts
from cellseg_mmdet.visualization.pages.comparison import Cells, draw_comparison
from cellseg_mmdet.visualization.pages.html import (
    Section,
    bar,
    figures,
    note,
    table,
    tiles,
    write_page,
)
from cellseg_mmdet.visualization.pages.image_cards import CSS_CLASS, card, cards, switches
from cellseg_mmdet.visualization.pages.measurements import measurement_sections
from cellseg_mmdet.visualization.pages.run_data import ImageStudy, RunData

PAGE_NAME, PICTURES_NAME = "index.html", "pictures"
# Images are drawn twice as large, so that lines are thin; but not those with a longer side than this.
_LARGE_PX = 1000

_IN_TILES = ("kaggle_map", "f1_50", "pq", "dice")
# In the order of a bar: what became of the true cells.
_OF_TRUE = ("hit", "split", "merged", "missed")


def write_report(run: RunData, out_dir: str | os.PathLike[str], *, num_images: int = 6) -> Path:
    """Write the page, with all that it shows in it, and return its path.

    Args:
        num_images: how many of the worst images, and as many of the best, are shown.

    Raises:
        FileNotFoundError: if an image that is shown is missing.
        ValueError: if it cannot be read, or is of another size than annotated.
    """
    path = Path(out_dir) / PAGE_NAME
    about, studies = run.report.about, run.studies
    sections = [
        Section("scores", "Scores", _score_table(run.report)),
        Section("errors", "Errors", _outcome_table(studies)),
        Section("images", "Images", _images(run, num_images), CSS_CLASS),
        Section("charts", "Charts", _charts(run)),
        Section(
            "sizes",
            "Sizes",
            note("Areas of cells, by cell type.") + figures(run_charts.sizes(studies)),
        ),
        Section("measurements", "Measurements", _measurements(run)),
        Section("all-images", "All images", _image_table(studies)),
    ]
    if run.config_text:
        sections.append(Section("config", "Config", _config(run)))
    sections.append(Section("versions", "Versions", _versions()))
    processed = " after post-processing" if about["postprocess"] else ""
    write_page(
        path,
        title=Path(about.get("config", about["predictions"])).stem,
        subtitle=f"{about['images']} images, {about['true']:,} true cells, {about['found']:,} predicted cells"
        f"{processed}. Predictions: {about['predictions']}; annotations: {about['annotations']}",
        lead=tiles(
            {score_texts()[name].title: _number(run.report.overall[name]) for name in _IN_TILES}
            | {"predicted / true cells": f"{about['found'] / max(about['true'], 1):.0%}"}
        ),
        sections=sections,
        footer=f"Made by cellseg_mmdet {__version__}. The page holds all it needs.",
    )
    return path


def write_pictures(
    run: RunData,
    out_dir: str | os.PathLike[str],
    *,
    num_images: int = 6,
    view: str = "image",
    cells: Cells = "filled",
) -> Path:
    """Write image, truth, prediction and errors of the images that the page shows, and return their folder."""
    folder = Path(out_dir) / PICTURES_NAME
    for study in [s for part in worst_and_best(run.studies, num_images) for s in part]:
        image = read_picture(run.image_dir, study.true)
        drawn = draw_comparison(
            image,
            study.true.masks,
            study.final.masks,
            title=f"score {study.score:.2f}",
            view=view,
            cells=cells,
            scale=1 if max(image.shape) > _LARGE_PX else 2,
        )
        write_picture(folder / f"{safe_name(study.final.image_id)}.png", drawn)
    return folder


def worst_and_best(
    studies: Sequence[ImageStudy], num_images: int
) -> tuple[list[ImageStudy], list[ImageStudy]]:
    """Return the images with the lowest scores, the lowest first, and those with the highest, the highest first.

    No image is in both; of few images each part has half.
    """
    ordered = sorted(studies, key=lambda study: (study.score, study.final.image_id))
    num_worst = min(num_images, (len(ordered) + 1) // 2)
    num_best = min(num_images, len(ordered) - num_worst)
    return ordered[:num_worst], ordered[::-1][:num_best]


def _score_table(report: Report) -> str:
    columns = {"overall": report.overall} | report.per_type
    rows = [
        [f'{escape(name)} <span class="muted">{escape(meaning)}</span>']
        + [_number(scores[key], 1 if key.startswith("count") else 3) for scores in columns.values()]
        for key, (name, meaning) in score_texts().items()
        if report.overall[key] is not None or key not in of_raw_predictions()
    ]
    return table(["", *columns], rows)


def _outcome_table(studies: Sequence[ImageStudy]) -> str:
    groups = {"overall": list(studies)} | run_charts.by_type(studies)
    rows = []
    for name, members in groups.items():
        true = np.concatenate([study.outcomes.true for study in members])
        predicted = np.concatenate([study.outcomes.predicted for study in members])
        shares = [(kind, float((true == kind).mean()) if len(true) else 0.0) for kind in _OF_TRUE]
        numbers = [f"{int((true == kind).sum()):,}" for kind in _OF_TRUE]
        rows.append([escape(name), bar(shares), *numbers, f"{int((predicted == 'extra').sum()):,}"])
    explained = note(
        "What became of the true cells: hits have an IoU above 0.5; split cells were found as several, merged ones "
        "as one together with others; the rest was missed. Extra is what was predicted where there is no such cell. "
        "A cell found with a poor outline counts as missed and extra."
    )
    keys = "".join(f'<li><span class="key {kind}"></span>{kind}</li>' for kind in _OF_TRUE)
    return (
        explained
        + table(["", "true cells", *_OF_TRUE, "extra"], rows, text_columns=(1,))
        + f'<ul class="legend">{keys}</ul>'
    )


def _images(run: RunData, num_images: int) -> str:
    parts = [switches()]
    for title, studies in zip(
        ("Lowest scores", "Highest scores"), worst_and_best(run.studies, num_images), strict=True
    ):
        if studies:
            parts.append(f"<h3>{title}</h3>")
            parts.append(cards([_card(run, study) for study in studies]))
    return "".join(parts)


def _card(run: RunData, study: ImageStudy) -> str:
    numbers = ", ".join(
        f"{count} {name}" for name, count in study.outcomes.counts().items() if count
    )
    of_type = f"{study.true.cell_type}, " if study.true.cell_type else ""
    return card(
        study.final.image_id,
        f"{of_type}score {study.score:.3f}, {len(study.true.masks)} true cells, {len(study.final)} predicted: "
        f"{numbers or 'none'}",
        read_picture(run.image_dir, study.true),
        study.true.masks,
        study.final.masks,
        study.outcomes,
        None if study.sweep is None else study.final.scores,
    )


def _charts(run: RunData) -> str:
    parts = [run_charts.quality_by_iou(run.report), run_charts.counts(run.studies)]
    sweeps = run_charts.sweeps_by_type(run.studies)
    if sweeps:
        parts.append(run_charts.score_by_threshold(sweeps, run.score_thresholds))
        parts.append(run_charts.calibration(sweeps))
    return figures(parts)


def _measurements(run: RunData) -> str:
    parts = [
        f"<h3>{escape(section.title)}</h3>{section.body}"
        for section in measurement_sections(run.summary)
    ]
    return note(
        "Of the predicted cells. `cellseg measure` writes the numbers of each cell, and these summaries, as tables."
    ) + "".join(parts)


def _image_table(studies: Sequence[ImageStudy]) -> str:
    rows = []
    for study in sorted(studies, key=lambda study: (study.score, study.final.image_id)):
        counted = study.outcomes.counts()
        rows.append(
            [
                escape(study.final.image_id),
                escape(study.true.cell_type or "-"),
                f"{study.score:.3f}",
                str(len(study.true.masks)),
                str(len(study.final)),
                *map(str, counted.values()),
            ]
        )
    header = ["image", "cell type", "score", "true", "predicted", *studies[0].outcomes.counts()]
    return (
        f"<details><summary>{len(rows)} images, the lowest score first</summary>"
        + table(header, rows, text_columns=(1,))
        + "</details>"
    )


def _config(run: RunData) -> str:
    return (
        f"<details><summary>{escape(str(run.report.about['config']))}, with all that it inherits</summary>"
        f'<pre tabindex="0">{escape(run.config_text)}</pre></details>'
    )


def _versions() -> str:
    names = [name for group in DISTRIBUTIONS.values() for name in group]
    versions = {"python": platform.python_version(), "cellseg_mmdet": __version__}
    versions |= installed([*names, *OPENCV_DISTRIBUTIONS])
    rows = [[escape(name), escape(version)] for name, version in versions.items()]
    return note("Of the machine that made this page.") + table(["package", "version"], rows)


def _number(score: float | None, digits: int = 3) -> str:
    return "-" if score is None or np.isnan(score) else f"{score:.{digits}f}"
