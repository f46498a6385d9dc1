"""Synthetic data sets in the layout of the Sartorius competition.

OUT/train.csv            one row per cell: id, row-major run-length string, size, cell type, sample
OUT/train/<id>.png       8-bit gray
OUT/masks_npz/<id>.npz   label map of a training image, uint16, key arr_0
OUT/test/<id>.png        images to predict on
OUT/test.csv             their truth, which a competition would keep: columns as in train.csv
"""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.fileio import staged_folder
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.progress import parallel_map
from cellseg_mmdet.synthetic.image import check_size, draw_num_cells, generate_image
from cellseg_mmdet.synthetic.styles import CELL_TYPES, style_of

SPLITS = ("train", "test")
MASKS_FOLDER = "masks_npz"
COLUMNS = (
    "id",
    "annotation",
    "width",
    "height",
    "cell_type",
    "plate_time",
    "sample_date",
    "sample_id",
    "elapsed_timedelta",
)
IMAGES_PER_SAMPLE = 2


@dataclass(frozen=True)
class WrittenDataset:
    """What `write_dataset` wrote, and where."""

    out_dir: Path
    num_train: int
    num_test: int
    num_cells: int

    def __str__(self) -> str:
        return (
            f"{self.num_train} training and {self.num_test} test images "
            f"with {self.num_cells} cells written to {self.out_dir}"
        )


@dataclass(frozen=True)
class _Plan:
    """One image to be made; `index` counts within its split."""

    split: str
    index: int
    cell_type: str
    # plate_time, sample_date, sample_id, elapsed_timedelta
    sample: tuple[str, str, str, str]


def write_dataset(
    out_dir: str | os.PathLike[str],
    num_train: int,
    num_test: int,
    *,
    seed: int = 0,
    height: int = 520,
    width: int = 704,
    density: float = 1.0,
    cell_types: Sequence[str] = CELL_TYPES,
    blank_metadata: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
) -> WrittenDataset:
    """Write a data set in the competition's layout, whole or not at all.

    The same arguments give the same bytes, whatever the number of `workers`; more images leave the
    first ones as they were. Cell types take turns. Two images of a type share a sample; no sample
    is in both splits.

    Args:
        density: cells per area, relative to the real images.
        blank_metadata: leave plate_time, sample_date, sample_id and elapsed_timedelta empty.
        overwrite: replace a data set that an earlier run left in `out_dir`.
        workers: processes; the available cores by default.

    Raises:
        UsageError: for an argument out of range.
        FileExistsError: if `out_dir` is not empty and `overwrite` is not given, or if it holds
            anything else than a data set of this layout.

    Example:
        >>> written = write_dataset("data", 2, 1, height=64, width=64, workers=1)
        >>> written.num_train, sorted(path.name for path in written.out_dir.iterdir())
        (2, ['masks_npz', 'test', 'test.csv', 'train', 'train.csv'])
    """
    _check_arguments(num_train, num_test, seed, density, cell_types)
    check_size(height, width)
    target = Path(os.path.realpath(out_dir))
    _check_target(target, overwrite)
    plans = [
        _plan(split, index, seed, cell_types, blank_metadata)
        for split, count in zip(SPLITS, (num_train, num_test), strict=True)
        for index in range(count)
    ]
    with _whole_folder(target) as folder:
        for name in (*SPLITS, MASKS_FOLDER):
            (folder / name).mkdir()
        make = partial(
            _make_image, folder=folder, seed=seed, height=height, width=width, density=density
        )
        tables = parallel_map(make, plans, description="synthetic images", workers=workers)
        for split in SPLITS:
            rows = [
                row
                for plan, table in zip(plans, tables, strict=True)
                if plan.split == split
                for row in table
            ]
            with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    return WrittenDataset(target, num_train, num_test, sum(map(len, tables)))


def _check_arguments(
    num_train: int, num_test: int, seed: int, density: float, cell_types: Sequence[str]
) -> None:
    if min(num_train, num_test) < 0 or num_train + num_test == 0:
        raise UsageError(
            f"num_train is {num_train} and num_test is {num_test}: "
            "neither may be negative, and one must be positive"
        )
    if seed < 0:
        raise UsageError(f"seed is {seed}: it must not be negative")
    if not 0 < density < float("inf"):
        raise UsageError(f"density is {density}: it must be positive and finite")
    if not cell_types or len(set(cell_types)) < len(cell_types):
        raise UsageError(f"cell_types is {list(cell_types)}: name at least one, each once")
    for cell_type in cell_types:
        style_of(cell_type)


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise FileExistsError(f"{target} is a file: a folder is needed")
    found = {entry.name for entry in target.iterdir()}
    if found and not overwrite:
        raise FileExistsError(f"{target} is not empty: choose another folder, or overwrite it")
    ours = {*SPLITS, *(f"{split}.csv" for split in SPLITS), MASKS_FOLDER}
    if strangers := sorted(found - ours):
        raise FileExistsError(
            f"{target} is not overwritten: it holds {strangers[0]!r}, "
            "which is no part of a synthetic data set"
        )


@contextlib.contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` when the block ends without an error."""
    with staged_folder(target) as scratch:
        # A subfolder, because the scratch folder itself is made so that only its owner may read it.
        fresh, former = Path(scratch, "fresh"), Path(scratch, "former")
        fresh.mkdir()
        yield fresh
        if target.exists():
            target.rename(former)
        try:
            fresh.rename(target)
        except OSError:
            if former.exists():
                former.rename(target)
            raise


def _plan(
    split: str, index: int, seed: int, cell_types: Sequence[str], blank_metadata: bool
) -> _Plan:
    turn, place = divmod(index, len(cell_types))
    cell_type = cell_types[place]
    if blank_metadata:
        return _Plan(split, index, cell_type, ("", "", "", ""))
    sample, visit = divmod(turn, IMAGES_PER_SAMPLE)
    key = (SPLITS.index(split), CELL_TYPES.index(cell_type), sample)
    return _Plan(split, index, cell_type, _describe_sample(cell_type, seed, key, visit))


def _describe_sample(
    cell_type: str, seed: int, key: tuple[int, int, int], visit: int
) -> tuple[str, str, str, str]:
    """The four columns of an image of a sample, at its `visit`-th time under the microscope."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    well = f"{rng.choice(list('ABCDEFGH'))}{rng.integers(1, 13)}-{rng.integers(1, 10)}"
    sample_id = (
        f"{style_of(cell_type).sample_name}_{well}"
        f"_Vessel-{rng.integers(100, 1000)}_Ph_{rng.integers(1, 5)}"
    )
    day = date(2019, 1, 1) + timedelta(days=int(rng.integers(0, 730)))
    elapsed = timedelta(minutes=30 * (int(rng.integers(0, 16)) + 12 * visit))
    hours, minutes = divmod(int(elapsed.total_seconds()) // 60, 60)
    plate_time = f"{hours % 24:02d}h{minutes:02d}m00s"
    elapsed_timedelta = f"{hours // 24} days {hours % 24:02d}:{minutes:02d}:00"
    return plate_time, day.isoformat(), sample_id, elapsed_timedelta


def _make_image(
    plan: _Plan, *, folder: Path, seed: int, height: int, width: int, density: float
) -> list[tuple[str | int, ...]]:
    """Write image and label map of `plan` into `folder`, and return its rows of the csv."""
    source = np.random.SeedSequence(seed, spawn_key=(SPLITS.index(plan.split), plan.index))
    image_id = f"{int(source.generate_state(1, np.uint64)[0]) >> 16:012x}"
    rng = np.random.default_rng(source)
    num_cells = draw_num_cells(plan.cell_type, height, width, density, rng)
    image, label_map = generate_image(plan.cell_type, height, width, num_cells, rng)
    _write_png(folder / plan.split / f"{image_id}.png", image)
    if plan.split == "train":
        np.savez_compressed(folder / MASKS_FOLDER / f"{image_id}.npz", label_map)
    return [
        (image_id, text, width, height, plan.cell_type, *plan.sample)
        for text in Runs.from_label_map(label_map).to_strings(order="row")
    ]


def _write_png(path: Path, image: np.ndarray) -> None:
    # Encoding first: cv2.imwrite returns False, or says nothing, where the disk is full.
    _, encoded = cv2.imencode(".png", image)
    path.write_bytes(encoded.tobytes())
