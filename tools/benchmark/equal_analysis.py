"""What bounds a row: what became of its cells by type and size, what each kind of error costs, and overlays."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.evaluation.kaggle_map import image_score
from cellseg_mmdet.evaluation.outcomes import find_outcomes
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord
from cellseg_mmdet.visualization.draw import write_picture
from cellseg_mmdet.visualization.pages.agreement import agreement_sheet

# Upper ends of the sizes that are told apart, in pixels.
SIZES_PX = (12, 20, 32, 50)


def found_cells(row: Path, records: Sequence[ImageRecord]) -> list[Runs]:
    """Return the cells that a row found, from the label maps that were kept."""
    return [
        Runs.from_label_map(np.load(row / "cells" / f"0-{number}.npy"))
        for number in range(len(records))
    ]


def outcomes_by_type_and_size(
    records: Sequence[ImageRecord], found: Sequence[Runs]
) -> dict[str, dict[str, dict[str, int]]]:
    """Return how many cells are what: cell type, then size, then outcome.

    True cells count by their diameter, that of a circle of their area, and extra ones by their own.
    """
    counts: dict[str, dict[str, dict[str, int]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(int))
    )
    for record, cells in zip(records, found, strict=True):
        outcomes = find_outcomes(Overlaps(cells, record.masks))
        of_type = counts[record.cell_type or ""]
        extra = outcomes.predicted == "extra"
        for areas, names in (
            (record.masks.areas, outcomes.true),
            (cells.areas[extra], outcomes.predicted[extra]),
        ):
            for area, name in zip(areas.tolist(), names.tolist(), strict=True):
                of_type[size_name(float(np.sqrt(area * 4 / np.pi)))][name] += 1
    order = [size_name(edge) for edge in (*SIZES_PX, SIZES_PX[-1] + 1.0)]
    return {
        kind: {size: dict(counts[kind][size]) for size in order if size in counts[kind]}
        for kind in sorted(counts)
    }


def size_name(diameter_px: float) -> str:
    """Return the name of the group of a size.

    Example:
        >>> size_name(12.0), size_name(12.5), size_name(99.0)
        ('up to 12 px', '12 to 20 px', 'over 50 px')
    """
    place = int(np.searchsorted(SIZES_PX, diameter_px))
    if place == len(SIZES_PX):
        return f"over {SIZES_PX[-1]} px"
    return (
        f"up to {SIZES_PX[0]} px"
        if place == 0
        else f"{SIZES_PX[place - 1]} to {SIZES_PX[place]} px"
    )


def bounds(overlaps: Overlaps) -> dict[str, float]:
    """Return the score of an image, and what it would be without one kind of error (`equal_rows.BOUNDS`).

    With exact outlines every hit counts at each IoU threshold; cells of another kind of error are left out on both
    sides. Hits are those at an IoU of 0.5, so that what is left out is no partner of a hit.

    Example:
        >>> true = Runs.from_label_map(np.array([[1, 1, 0, 2]]))
        >>> found = bounds(Overlaps(true[np.array([0])], true))
        >>> found["as it is"], found["none missed"], found["exact outlines"]
        (0.5, 1.0, 0.5)
    """
    true, predicted = overlaps.true, overlaps.predicted
    outcomes = find_outcomes(overlaps)
    hits = int((outcomes.true == "hit").sum())
    every = len(true) + len(predicted) - hits
    joined = ("merged", "split")

    def without(of_true: Sequence[str], of_predicted: Sequence[str]) -> float:
        return image_score(
            Overlaps(
                predicted[~np.isin(outcomes.predicted, of_predicted)],
                true[~np.isin(outcomes.true, of_true)],
            )
        )

    return {
        "as it is": image_score(overlaps),
        "exact outlines": hits / every if every else image_score(overlaps),
        "none missed": without(["missed"], []),
        "none extra": without([], ["extra"]),
        "none merged or split": without(joined, joined),
    }


def bounds_by_type(
    records: Sequence[ImageRecord], found: Sequence[Runs]
) -> dict[str, dict[str, float]]:
    """Return the mean `bounds` of the images of each cell type, and of all under ''."""
    by_type: dict[str, list[dict[str, float]]] = defaultdict(list)
    for record, cells in zip(records, found, strict=True):
        one = bounds(Overlaps(cells, record.masks))
        by_type[""].append(one)
        if record.cell_type:
            by_type[record.cell_type].append(one)
    return {
        kind: {name: statistics.mean(one[name] for one in ones) for name in ones[0]}
        for kind, ones in sorted(by_type.items())
    }


def write_overlays(
    folder: Path,
    records: Sequence[ImageRecord],
    found: Sequence[Runs],
    pictures: Sequence[str],
    count: int = 3,
) -> Iterator[Path]:
    """Write the images with the best and with the worst scores, and yield the files.

    Args:
        folder: of ``best_1_NAME.png``, ..., ``worst_1_NAME.png``, ...
        records: of the images.
        found: the cells that were found in them.
        pictures: ``.npz`` with ``picture``, as `inference.write_pictures` writes them.
        count: of each kind, at most.
    """
    scores = [
        image_score(Overlaps(cells, record.masks))
        for record, cells in zip(records, found, strict=True)
    ]
    order = np.argsort(-np.array(scores), kind="stable").tolist()
    best = order[: min(count, -(-len(order) // 2))]
    worst = [place for place in reversed(order) if place not in best][:count]
    for kind, places in (("best", best), ("worst", worst)):
        for number, place in enumerate(places, start=1):
            record = records[place]
            with np.load(pictures[place]) as data:
                picture: Any = data["picture"]
            title = f"{kind} {number}: {record.cell_type or ''} mAP {scores[place]:.2f}"
            drawing = agreement_sheet(picture, record.masks, found[place], title=title)
            path = folder / f"{kind}_{number}_{Path(record.file_name).stem[:16]}.png"
            write_picture(path, drawing)
            yield path
