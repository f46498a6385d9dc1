"""What the benchmarks work on: the real images where they are, else synthetic ones of the same density."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cellseg_mmdet.annotations.files import read_annotations, write_annotations
from cellseg_mmdet.converters.readers.sartorius import read_sartorius
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.evaluation.image_metric import ImagePair
from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.structures import ImageRecord, from_records
from cellseg_mmdet.synthetic import write_dataset

NUM_DENSEST = 20
ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "work_dirs" / "bench"  # whatever the current folder is


@dataclass(frozen=True)
class Scenes:
    """Annotation files of one class, for all images, the densest, and the one with the fewest cells to warm up."""

    name: str
    images: Path
    num_images: int
    all: Path
    densest: Path
    sparsest: Path


def find(data: Path | None) -> Path | None:
    """Return the folder with train.csv and train/: ``data`` or, without it, where they usually are; None if nowhere.

    Raises:
        UsageError: ``data`` is given and is not such a folder.
    """
    if data is not None:
        if not (data / "train.csv").is_file():
            raise UsageError(f"--data {data}: no train.csv there; train.csv and train/ are needed")
        return data
    places = [ROOT / "data" / "sartorius"]
    if real := os.environ.get("CELLSEG_REAL_DATA"):
        places.append(Path(real) / "sartorius")
    return next((folder for folder in places if (folder / "train.csv").is_file()), None)


def prepare(data: Path | None, folder: Path) -> Scenes:
    """Write the annotation files to ``folder``; without ``data``, draw 120 images there first."""
    name = "real images"
    if data is None:
        name, data = "synthetic images", folder / "synthetic"
        write_dataset(data, 120, 0, overwrite=True)
    records = read_sartorius(data / "train.csv", data / "train").records
    one_class = [replace(record, categories=("cell",) * len(record.masks)) for record in records]
    by_cells = sorted(one_class, key=lambda record: -len(record.masks))
    parts = {"all": one_class, "densest": by_cells[:NUM_DENSEST], "sparsest": by_cells[-1:]}
    for part, chosen in parts.items():
        write_annotations(folder / f"{part}.json", chosen, categories=("cell",))
    files = {part: folder / f"{part}.json" for part in parts}
    return Scenes(
        name=f"{name}, {describe(one_class)}",
        images=data / "train",
        num_images=len(records),
        **files,
    )


def describe(records: list[ImageRecord]) -> str:
    counts = [len(record.masks) for record in records]
    return f"{len(counts)} images, {sum(counts)} cells, {max(counts)} in the densest"


def cells(annotations: Path, num_cells: int) -> Runs:
    """Return the masks of the densest image, topped up from the others to ``num_cells``."""
    records = sorted(read_annotations(annotations), key=lambda record: -len(record.masks))
    size = records[0].height, records[0].width
    masks = [record.masks for record in records if (record.height, record.width) == size]
    return repeated(Runs.concatenate(masks), num_cells)


def repeated(masks: Runs, num_cells: int) -> Runs:
    return masks[np.arange(num_cells) % len(masks)]


def discs(num_cells: int, size: int, diameter: int = 20) -> Runs:
    """Return discs at random places of an image of ``size`` x ``size`` pixels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:diameter, :diameter] - (diameter - 1) / 2
    disc_x, disc_y = np.nonzero((x**2 + y**2 <= (diameter / 2) ** 2).T)
    corners = rng.integers(0, size - diameter + 1, (num_cells, 2))
    pixels = (corners[:, :1] + disc_x) * size + corners[:, 1:] + disc_y
    owner = np.repeat(np.arange(num_cells), len(disc_x))
    return Runs.from_pixels(pixels.ravel(), owner, num_cells, size, size)


def jittered_pairs(annotations: Path, num_images: int, num_cells: int) -> list[ImagePair]:
    """Return images in turn with ``num_cells`` in all, found one or two pixels away, scored at random."""
    rng = np.random.default_rng(0)
    records = read_annotations(annotations)
    pairs, left = [], num_cells
    for number in range(num_images):
        record = records[number % len(records)]
        share = min(len(record.masks), max(left - (num_images - number - 1), 1))
        record = replace(
            record,
            file_name=f"{number}.png",
            masks=record.masks[:share],
            categories=record.categories[:share],
        )
        left -= share
        found = replace(from_records([record], ("cell",))[0], scores=rng.random(share))
        moved = RoIMasks.from_runs(record.masks).translate(
            (record.height, record.width), int(rng.integers(1, 3)), interpolation="nearest"
        )
        pairs.append(ImagePair(replace(found, masks=moved.to_runs()), record))
    return pairs
