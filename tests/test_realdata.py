"""The real Sartorius images through the whole way of the data: nothing is lost, and nothing is added."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from cellseg_mmdet.annotations.files import read_annotations
from cellseg_mmdet.converters.readers.npz_masks import read_labels, read_npz_masks
from cellseg_mmdet.masks import Runs

TOOLS = Path(__file__).parents[1] / "tools"

pytestmark = pytest.mark.realdata


def run(*command: object) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def annotations(sartorius: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("annotations")
    tool = TOOLS / "dataset_converters/sartorius.py"
    run(tool, "--csv", sartorius / "train.csv", "--images", sartorius / "train", "--out-dir", out)
    return out


@pytest.fixture(scope="module")
def strings(sartorius: Path) -> dict[str, list[str]]:
    """The csv's own strings, image by image."""
    of_image: dict[str, list[str]] = defaultdict(list)
    with (sartorius / "train.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            of_image[row["id"]].append(row["annotation"])
    return of_image


def decode_by_hand(text: str, height: int, width: int) -> np.ndarray:
    flat = np.zeros(height * width, np.uint8)
    numbers = np.array(text.split(), dtype=int).reshape(-1, 2)
    for start, length in numbers:
        flat[start - 1 : start - 1 + length] = 1
    return flat.reshape(height, width)


@pytest.mark.long
def test_decoding_every_coco_mask_gives_the_pixels_of_the_csv(
    annotations: Path, strings: dict[str, list[str]]
) -> None:
    coco = COCO(annotations / "all.json")
    assert len(coco.imgs) == len(strings) == 120
    num_masks = 0
    for image in coco.imgs.values():
        texts = strings[Path(image["file_name"]).stem]
        found = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        assert len(found) == len(texts)
        for annotation, text in zip(found, texts, strict=True):
            mask = decode_by_hand(text, image["height"], image["width"])
            assert np.array_equal(coco.annToMask(annotation), mask)
            y, x = np.nonzero(mask)
            box = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
            assert (annotation["bbox"], annotation["area"]) == (box, mask.sum())
            num_masks += 1
    assert num_masks == 15_862


def test_folds_hold_every_image_once_and_as_many_of_each_type(annotations: Path) -> None:
    held_out = [read_annotations(annotations / f"val_fold{fold}.json") for fold in range(5)]
    names = [record.file_name for records in held_out for record in records]
    assert len(names) == len(set(names)) == 120
    for records in held_out:
        assert (
            sorted(record.cell_type for record in records)
            == ["astro"] * 8 + ["cort"] * 8 + ["shsy5y"] * 8
        )


def test_submission_of_the_truth_is_the_csv_where_cells_do_not_overlap(
    annotations: Path, strings: dict[str, list[str]], sartorius: Path, tmp_path: Path
) -> None:
    out = tmp_path / "submission.csv"
    run(TOOLS / "make_submission.py", annotations / "all.json", "--ground-truth", "--out", out)
    run(TOOLS / "check_submission.py", out, "--images", sartorius / "train")
    submitted: dict[str, set[str]] = defaultdict(set)
    with out.open(newline="") as file:
        for row in csv.DictReader(file):
            submitted[row["id"]].add(row["predicted"])
    num_alone = 0
    for record in read_annotations(annotations / "all.json"):
        image_id = Path(record.file_name).stem
        pixels, owner = record.masks.pixels()
        shared = np.bincount(pixels)[pixels] > 1
        overlapping = set(owner[shared])
        alone = [text for index, text in enumerate(strings[image_id]) if index not in overlapping]
        assert submitted[image_id].issuperset(alone)
        num_alone += len(alone)
    assert num_alone > 5_000  # of 15,862; a shared pixel is enough to be left out


def test_label_maps_hold_the_masks_of_the_csv_but_for_overlaps(
    sartorius: Path, strings: dict[str, list[str]]
) -> None:
    labels = read_labels(sartorius / "train.csv")
    records = read_npz_masks(sartorius / "masks_npz", sartorius / "train", labels=labels).records
    assert len(records) == 30
    for record in records:
        image_id = Path(record.file_name).stem
        assert set(record.categories) == {labels[image_id]}
        truth = Runs.from_strings(strings[image_id], record.height, record.width, order="row")
        # The later cell won where they overlap, and a cell that lost all its pixels has no id.
        painted = Runs.from_label_map(truth.to_label_map())
        assert painted == record.masks
