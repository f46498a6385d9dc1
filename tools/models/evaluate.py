#!/usr/bin/env python
"""Score a model that ships on annotated images that it did not learn from: scores, pictures, card and docs/models.md.

Scores are given of all images, by modality (the ``cell_type`` of the annotations) and by the median diameter of the
cells of an image. The images with the best and the worst scores are drawn (--pictures 0: none) into the folder of the
model; whoever ships them sees to it that the licence of the images allows it. `--scale 1` takes pictures as they are;
by default the size of the cells is estimated, as for users.

    tools/models/evaluate.py nuclei --ann data/dsb2018/annotations/nuclei_held_out.json \\
        --images data/dsb2018/stage1_train --about "the held-out groups of DSB2018"
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.annotations import read_annotations
from cellseg_mmdet.config_files import MODEL_CARD
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.evaluation import MetricOptions, scoring
from cellseg_mmdet.images import ImageKey
from cellseg_mmdet.images.scale import ScaleChoice
from cellseg_mmdet.inference import Job, ModelSpec, Task, Worker
from cellseg_mmdet.inference.spec import ModelSource
from cellseg_mmdet.progress import progress_bar
from cellseg_mmdet.shipped import find_model
from cellseg_mmdet.shipped.card import Score, Scores
from cellseg_mmdet.structures import ImagePrediction, ImageRecord
from cellseg_mmdet.terminal import run_tool

# Run as a file, it is not in a package.
sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.models.pictures import Shown, write_pictures
from tools.models.render import PAGE, write_page

METRICS = ("kaggle_map", "f1")
# Upper ends of the sizes that are told apart, in pixels.
SIZES_PX = (12, 20, 32, 50)
AUTO = ScaleChoice(diameter_px="auto")
Measured = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--ann", required=True, metavar="FILE", help="COCO json")
    parser.add_argument("--images", required=True, type=Path, metavar="DIR")
    parser.add_argument("--about", help="what the images are, for the card (default: the file)")
    parser.add_argument("--scale", type=float, help="factor by which pictures are resized")
    parser.add_argument("--device")
    parser.add_argument(
        "--pictures", type=int, default=3, metavar="N", help="best and worst images (default: 3)"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help="(default: docs/models.md)")
    parser.add_argument("--dry-run", action="store_true", help="print, and write nothing")
    args = parser.parse_args()
    run_tool(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    model = find_model(args.name)
    scale = AUTO if args.scale is None else ScaleChoice(scale=args.scale)
    records = read_annotations(args.ann)
    found = measured(ModelSpec(args.name, device=args.device), records, args.images, scale)
    images = list(progress_bar(found, total=len(records), description=args.name))
    scores = scores_of(
        images,
        data=args.about or args.ann,
        command=shlex.join(["tools/models/evaluate.py", *_without(sys.argv[1:], "--dry-run")]),
    )
    card = replace(model.card, scores=scores)
    print("\n".join(card.score_lines()))
    if args.dry_run:
        return
    pictures = write_pictures(
        [image["shown"] for image in images], args.images, model.folder, args.pictures
    )
    card = replace(card, scores=replace(scores, pictures=tuple(pictures)))
    card.write(model.folder / MODEL_CARD)
    print(f"{model.folder}: scores and {len(pictures)} pictures in {MODEL_CARD}")
    write_page(args.page)


def measured(
    model: ModelSource, records: Sequence[ImageRecord], images: Path, scale: ScaleChoice = AUTO
) -> Iterable[Measured]:
    """Yield what the metrics measure of each image, with ``modality``, ``diameter_px`` (None without cells), ``shown``.

    Raises:
        DataError: an image cannot be predicted, or two have the same name.
    """
    by_id = scoring.records_by_image_id(records)
    metrics = scoring.build_metrics(METRICS, MetricOptions())
    worker = Worker(Job(model, ".", scale=scale))
    for number, (name, record) in enumerate(by_id.items(), start=1):
        task = Task(number, ImageKey(str(images / record.file_name), name=name))
        (outcome,) = worker([task])
        if outcome.prediction is None:
            raise DataError(outcome.error)
        found: ImagePrediction = outcome.prediction
        areas = record.masks.areas
        measured = scoring.measure_image(found, by_id, metrics)
        modality = record.cell_type or "all alike"
        score = scoring.summarise([measured], metrics)["kaggle_map"]
        yield {
            **measured,
            "shown": Shown(record, found.masks, score, modality),
            "modality": modality,
            "diameter_px": float(np.median(np.sqrt(areas * 4 / np.pi))) if len(areas) else None,
            "size": outcome.size,
        }


def scores_of(images: Sequence[Measured], *, data: str, command: str) -> Scores:
    """Return the scores of measured images, in all and by group."""
    return Scores(
        data=data,
        command=command,
        overall=_score(images),
        by_modality=_by(images, lambda image: image["modality"], sorted),
        by_size=_by(images, lambda image: size_name(image["diameter_px"]), _in_order),
    )


def size_name(diameter_px: float | None) -> str:
    """Return the name of the group of a size.

    Example:
        >>> size_name(5.0), size_name(12.0), size_name(99.0), size_name(None)
        ('up to 12 px', 'up to 12 px', 'over 50 px', 'none')
    """
    if diameter_px is None:
        return "none"
    upper = next((one for one in SIZES_PX if diameter_px <= one), None)
    if upper is None:
        return f"over {SIZES_PX[-1]} px"
    lower = SIZES_PX[SIZES_PX.index(upper) - 1] if upper != SIZES_PX[0] else None
    return f"up to {upper} px" if lower is None else f"{lower} to {upper} px"


def _in_order(found: Iterable[str]) -> list[str]:
    known = [size_name(None), *(size_name(one) for one in SIZES_PX), size_name(SIZES_PX[-1] + 1.0)]
    return sorted(found, key=known.index)


def _by(
    images: Sequence[Measured],
    group: Callable[[Measured], str],
    order: Callable[[Iterable[str]], list[str]],
) -> dict[str, Score]:
    groups: dict[str, list[Measured]] = {}
    for image in images:
        groups.setdefault(group(image), []).append(image)
    return {name: _score(groups[name]) for name in order(groups)}


def _score(images: Sequence[Measured]) -> Score:
    numbers = scoring.summarise(images, scoring.build_metrics(METRICS, MetricOptions()))
    return Score(
        images=len(images),
        cells=sum(image["measured"]["f1"].true for image in images),
        kaggle_map=round(numbers["kaggle_map"], 4),
        f1_50=round(numbers["f1_50"], 4),
    )


def _without(words: Sequence[str], left_out: str) -> list[str]:
    return [word for word in words if word != left_out]


if __name__ == "__main__":
    sys.exit(main())
