#!/usr/bin/env python
"""Choose when the size of cells is looked for: what each rule scores, and what its looks cost, on training images.

Images are predicted at many scales once, which is kept in a file (--looks); rules are then compared without the
network, at the scale of these that is next to the one they ask for. The held-out images have no part in it.

    tools/models/sizes.py nuclei --ann data/dsb2018/annotations/nuclei_train.json --images data/dsb2018/stage1_train
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.annotations import read_annotations
from cellseg_mmdet.evaluation import Overlaps, kaggle_map
from cellseg_mmdet.fileio import atomic_write, load_json
from cellseg_mmdet.images import read_image
from cellseg_mmdet.images.scale import resized_image, resized_masks
from cellseg_mmdet.inference import ModelSpec, Predictor
from cellseg_mmdet.inference.size_estimate import RULES, Look, SizeRules, estimate_size, found_cells
from cellseg_mmdet.progress import progress_bar
from cellseg_mmdet.structures import ImageRecord
from cellseg_mmdet.terminal import run_tool

# Images are also compared as if they were smaller or larger: a look at one of half the size is one at half the
# scale.
ZOOMS = (1.0, 1 / 3, 0.5, 2.0, 3.0)
FACTORS = tuple(2.0 ** (step / 2) for step in range(-6, 5))
_MAX_PIXELS = 1_500_000  # of a look


@dataclass(frozen=True)
class Looked:
    """An image at many scales.

    Attributes:
        name: of the image.
        size_hw: of it.
        true_px: median diameter of its annotated cells.
        looks: factor -> diameters in its pixels, scores, and the competition's score of what was found.
    """

    name: str
    size_hw: tuple[int, int]
    true_px: float
    looks: Mapping[float, tuple[list[float], list[float], float]]

    def nearest(self, factor: float) -> float:
        """Return the factor next to one, of those that were looked at."""
        return min(self.looks, key=lambda one: abs(np.log2(one / factor)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--ann", required=True, metavar="FILE", help="images of the training")
    parser.add_argument("--images", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--number", type=int, default=40, help="images, from the smallest cells to the largest"
    )
    parser.add_argument("--looks", type=Path, default=Path("work_dirs/looks.json"), metavar="FILE")
    parser.add_argument("--device")
    run_tool(lambda: _run(parser.parse_args()))


def _run(args: argparse.Namespace) -> None:
    predictor = ModelSpec(args.name, device=args.device).load()
    trained_px = float((predictor.cell_scale or {})["diameter_px"])
    if not args.looks.is_file():
        chosen = spread(read_annotations(args.ann), args.number)
        looked = progress_bar(
            looked_at(predictor, chosen, args.images), total=len(chosen), description="looking"
        )
        with atomic_write(args.looks) as temporary:
            temporary.write_text(json.dumps([_kept(one) for one in looked]), encoding="utf-8")
    images = [_restored(entry) for entry in load_json(args.looks)]
    print(
        f"{len(images)} images, {args.name}: competition mAP (pixels seen over those of the image)"
    )
    print(" " * 36 + "".join(f"{f'size x {zoom:.2f}':>16}" for zoom in ZOOMS))
    for name, results in table(images, trained_px).items():
        cells = (f"{score:.3f} ({cost:.2f})" for score, cost in results)
        print(f"{name:<36}" + "".join(f"{cell:>16}" for cell in cells))


def spread(records: Sequence[ImageRecord], number: int) -> list[ImageRecord]:
    """Return images evenly from those with the smallest cells to those with the largest; without cells none."""
    sized = sorted(
        (_median_px(record), record.file_name, record) for record in records if len(record.masks)
    )
    places = np.linspace(0, len(sized) - 1, min(number, len(sized))).round().astype(int)
    return [sized[place][2] for place in places]


def looked_at(
    predictor: Predictor, records: Sequence[ImageRecord], folder: Path
) -> Iterator[Looked]:
    """Yield each image at `FACTORS`, but for those that make it too large."""
    for record in records:
        image = read_image(folder / record.file_name)
        looks = {}
        for factor in FACTORS:
            if factor > 1 and record.height * record.width * factor**2 > _MAX_PIXELS:
                continue
            (raw,) = predictor.predict({"a.image": resized_image(image, (factor, factor))})
            final = found_cells(predictor, raw).final
            masks = resized_masks(final.masks, (record.height, record.width))
            areas = final.masks.areas * (record.height * record.width / (raw.height * raw.width))
            score = kaggle_map.image_score(Overlaps(masks, record.masks))
            looks[factor] = np.sqrt(areas * 4 / np.pi).tolist(), final.scores.tolist(), score
        yield Looked(record.file_name, (record.height, record.width), _median_px(record), looks)


def table(images: Sequence[Looked], trained_px: float) -> dict[str, list[tuple[float, float]]]:
    """Return rules by name: score and cost at each of `ZOOMS`, both nan where no image was looked at so closely."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for zoom in ZOOMS:
        fit = [one for one in images if max(one.looks) >= 0.8 * zoom]
        ways = {
            "as they are": [(one.looks[one.nearest(zoom)][2], 1.0) for one in fit],
            "the true diameter": [_at(one, trained_px / one.true_px, zoom) for one in fit],
            "the best scale, which nobody knows": [
                (max(look[2] for look in one.looks.values()), 1.0) for one in fit
            ],
        }
        for name, rules in variants():
            ways[name] = [ruled(one, trained_px, rules, zoom) for one in fit]
        for name, results in ways.items():
            means = np.mean(results or [(np.nan, np.nan)], axis=0)
            rows.setdefault(name, []).append((float(means[0]), float(means[1])))
    return rows


def variants() -> Iterator[tuple[str, SizeRules]]:
    """Yield rules by name; those that are in use come first."""
    yield "in use", RULES
    for coarse in ((), (0.5, 0.25), (0.5, 0.25, 2.0)):
        yield f"coarse {coarse}", replace(RULES, coarse=coarse)
    for near in itertools.product((0.5, 0.6, 0.75), (1.6, 2.0, 2.5)):
        yield f"near {near}", replace(RULES, near=near)
    for min_cells in (2, 8, 15):
        yield f"from {min_cells} cells on", replace(RULES, min_cells=min_cells)
    for refinements in (1, 3):
        yield f"{refinements} refinements", replace(RULES, refinements=refinements)


def _at(image: Looked, factor: float, zoom: float) -> tuple[float, float]:
    nearest = image.nearest(factor)
    return image.looks[nearest][2], (nearest / zoom) ** 2


def ruled(
    image: Looked, trained_px: float, rules: SizeRules, zoom: float = 1.0
) -> tuple[float, float]:
    """Return the score of an image by a rule, and the pixels seen over those of the image.

    Args:
        zoom: as if the image were larger by this factor.
    """
    cost = 0.0

    def look(factor: float) -> Look[float]:
        nonlocal cost
        nearest = image.nearest(factor * zoom)
        diameters, _, score = image.looks[nearest]
        cost += (nearest / zoom) ** 2
        return Look(nearest / zoom, np.array(diameters) * zoom, score)

    height, width = (round(side * zoom) for side in image.size_hw)
    estimate = estimate_size(look, trained_px, (height, width), rules)
    return estimate.look.found, cost


def _median_px(record: ImageRecord) -> float:
    return float(np.median(np.sqrt(record.masks.areas * 4 / np.pi)))


def _kept(image: Looked) -> dict[str, Any]:
    return {**vars(image), "looks": list(image.looks.items())}


def _restored(entry: Mapping[str, Any]) -> Looked:
    looks = {float(factor): (list(a), list(b), float(c)) for factor, (a, b, c) in entry["looks"]}
    height, width = entry["size_hw"]
    return Looked(entry["name"], (height, width), entry["true_px"], looks)


if __name__ == "__main__":
    sys.exit(main())
