#!/usr/bin/env python
"""Choose the thresholds of a model that ships, on images of its training: what each choice scores, best first.

Each image is predicted as for users, at the size of its cells that is estimated. The network does not run again where a
choice changes what is made of its maps alone. The held-out images have no part in it.

    tools/models/thresholds.py nuclei --ann data/dsb2018/annotations/nuclei_train.json \\
        --images data/dsb2018/stage1_train --diameter-px 30 36 --flow-thr 0.4 0.8 --score-thr 0.5 0.6
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellseg_mmdet import load_model
from cellseg_mmdet.annotations import read_annotations
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.evaluation import Overlaps, kaggle_map
from cellseg_mmdet.images import read_image
from cellseg_mmdet.inference.model import Model
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.progress import progress_bar
from cellseg_mmdet.structures import ImageRecord
from cellseg_mmdet.terminal import run_tool

# Run as a file, it is not in a package.
sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.benchmark.network_memory import NetworkMemory

# Of the code, and of the steps of the post-processing.
OF_CODE = ("mask_thr", "flow_thr")
NAMES = ("diameter_px", *OF_CODE, "score_thr", "min_area_px")
Choice = Mapping[str, float]


@dataclass(frozen=True)
class Scored:
    """An image's modality, and its score with each choice."""

    modality: str
    scores: Sequence[float]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--ann", required=True, metavar="FILE", help="images of the training")
    parser.add_argument("--images", required=True, type=Path, metavar="DIR")
    parser.add_argument("--number", type=int, default=60, help="images, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device")
    for name in NAMES:
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=float, nargs="+", help="(default: the model's)"
        )
    run_tool(lambda: _run(parser.parse_args()))


def _run(args: argparse.Namespace) -> None:
    choices = choices_of({name: getattr(args, name) for name in NAMES})
    records = [record for record in read_annotations(args.ann) if len(record.masks)]
    random.Random(args.seed).shuffle(records)
    records = records[: args.number]
    model = load_model(args.name, device=args.device)
    scored = list(
        progress_bar(
            scored_with(model, records, args.images, choices),
            total=len(records),
            description=args.name,
        )
    )
    print("\n".join(table(choices, scored)))


def choices_of(values: Mapping[str, Sequence[float] | None]) -> list[dict[str, float]]:
    """Return all combinations of the values that were given.

    Example:
        >>> choices_of({"mask_thr": [0.4, 0.5], "score_thr": None})
        [{'mask_thr': 0.4}, {'mask_thr': 0.5}]
    """
    given = {name: one for name, one in values.items() if one}
    return [
        dict(zip(given, combination, strict=True))
        for combination in itertools.product(*given.values())
    ]


def scored_with(
    model: Model, records: Sequence[ImageRecord], folder: Path, choices: Sequence[Choice]
) -> Iterator[Scored]:
    """Yield the competition's scores of images, one for each choice.

    Raises:
        UsageError: the model has no such threshold.
    """
    detector = model.predictor.model
    run, memory = detector.predict_maps, NetworkMemory(is_on=True)
    detector.predict_maps = lambda batch_inputs: memory.maps_of(
        batch_inputs.numpy(force=True), lambda: run(batch_inputs)
    )
    for record in records:
        image = read_image(folder / record.file_name)
        memory.look_at(image.pixels)
        scores = []
        for choice in choices:
            set_thresholds(model, choice)
            found = Runs.from_label_map(model(image, diameter_px="auto").label_map())
            scores.append(kaggle_map.image_score(Overlaps(found, record.masks)))
        yield Scored(record.cell_type or "", scores)


def set_thresholds(model: Model, choice: Choice) -> None:
    """Set what a choice names, and leave the rest.

    Raises:
        UsageError: the model has no such threshold.
    """
    predictor = model.predictor
    steps = [dict(step) for step in predictor.cfg.get("postprocess") or []]
    for name, value in choice.items():
        if name == "diameter_px":
            predictor.cell_scale = {**(predictor.cell_scale or {}), name: value}
            continue
        places = [step for step in steps if name in step]
        if name in OF_CODE and hasattr(predictor.model.code, name):
            setattr(predictor.model.code, name, value)
        elif name not in OF_CODE and places:
            places[0][name] = value
        else:
            raise UsageError(
                f"--{name.replace('_', '-')}: the model's code and post-processing have no {name}"
            )
    predictor.postprocess = build_pipeline(steps, predictor.classes)


def table(choices: Sequence[Choice], scored: Sequence[Scored]) -> list[str]:
    """Return a line of Markdown for each choice: the mean score of all images and of each modality, best first."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, image in enumerate(scored):
        places[image.modality].append(place)
    scores = np.array([image.scores for image in scored])  # (images, choices)
    modalities = sorted(places)
    names = list(choices[0])
    heads = [*names, f"all {len(scored)} images"]
    heads += [f"{len(places[name])} {name or 'of no modality'}" for name in modalities]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for number in np.argsort(-scores.mean(axis=0), kind="stable"):
        means = [scores[:, number].mean()]
        means += [scores[places[name], number].mean() for name in modalities]
        cells = [f"{choices[number][name]:g}" for name in names]
        lines.append("| " + " | ".join([*cells, *(f"{mean:.3f}" for mean in means)]) + " |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
