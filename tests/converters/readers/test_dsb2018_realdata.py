"""The real images of nuclei through the whole way of the data: nothing is lost, and nothing is added."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from cellseg_mmdet.annotations.files import read_annotations
from cellseg_mmdet.converters.readers.dsb2018 import read_dsb2018

TOOLS = Path(__file__).parents[3] / "tools"
# Seen with the eye; all others are fluorescence.
STAINED = (
    *("0c2550a2", "136000dc", "15039b3a", "4e23ecf6", "5d75a639", "6d327ab4"),
    *("718751b4", "8e507d58", "b214800d", "c0152b1a", "e414b54f", "ed5be4b6"),
)
BRIGHTFIELD = ("c395870a",)

pytestmark = pytest.mark.realdata
Pixels = dict[str, dict[str, np.ndarray]]


def run(*command: object) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def truth(dsb2018: Path) -> Pixels:
    """The pixels of every mask file, numbered down columns from 0, by image and file."""
    pixels: Pixels = defaultdict(dict)
    for path in sorted(dsb2018.glob("stage1_train/*/masks/*.png")):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        pixels[path.parts[-3]][path.name] = np.flatnonzero(mask.T)
    return pixels


@pytest.fixture(scope="module")
def annotations(dsb2018: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("annotations")
    tool = TOOLS / "dataset_converters/dsb2018.py"
    result = run(tool, "--root", dsb2018 / "stage1_train", "--out-dir", out)
    assert "60 images (1 brightfield, 47 fluorescence, 12 stained), 2839 cells" in result.stdout
    # The community has corrected this data: there is nothing left to find.
    assert "0 findings" in result.stdout
    return out


def encode_by_hand(pixels: np.ndarray) -> str:
    begins = np.flatnonzero(np.diff(pixels, prepend=-2) != 1)
    lengths = np.diff(begins, append=len(pixels))
    return " ".join(
        f"{pixels[at] + 1} {length}" for at, length in zip(begins, lengths, strict=True)
    )


def decode_by_hand(text: str) -> np.ndarray:
    numbers = np.array(text.split(), dtype=int).reshape(-1, 2)
    return np.concatenate([np.arange(start - 1, start - 1 + length) for start, length in numbers])


def as_set(masks) -> set[bytes]:
    return {mask.astype(np.int64).tobytes() for mask in masks}


def test_coco_masks_are_the_mask_files(annotations: Path, truth: Pixels) -> None:
    coco = COCO(annotations / "all.json")
    assert len(coco.imgs) == len(truth) == 60
    for image in coco.imgs.values():
        files = truth[Path(image["file_name"]).stem]
        found = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        for annotation, pixels in zip(found, files.values(), strict=True):
            assert np.array_equal(np.flatnonzero(coco.annToMask(annotation).T), pixels)
            x, y = np.divmod(pixels, image["height"])
            box = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
            assert (annotation["bbox"], annotation["area"]) == (box, len(pixels))


def test_a_submission_of_the_truth_gives_the_same_pixels_back(
    annotations: Path, truth: Pixels, dsb2018: Path, tmp_path: Path
) -> None:
    out = tmp_path / "submission.csv"
    written = [annotations / "all.json", "--ground-truth", "--format", "dsb2018", "--out", out]
    run(TOOLS / "make_submission.py", *written)
    images = dsb2018 / "stage1_train"
    run(TOOLS / "check_submission.py", out, "--images", images, "--format", "dsb2018")
    submitted: dict[str, list[np.ndarray]] = defaultdict(list)
    with out.open(newline="") as file:
        for row in csv.DictReader(file):
            submitted[row["ImageId"]].append(decode_by_hand(row["EncodedPixels"]))
    assert submitted.keys() == truth.keys()
    for image_id, masks in submitted.items():
        assert len(masks) == len(truth[image_id])
        assert as_set(masks) == as_set(truth[image_id].values())


def test_a_solution_decodes_to_the_mask_files(
    annotations: Path, truth: Pixels, dsb2018: Path, tmp_path: Path
) -> None:
    records = read_annotations(annotations / "all.json")
    with (tmp_path / "solution.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "EncodedPixels", "Height", "Width", "Usage"])
        for record in records:
            image_id = Path(record.file_name).stem
            for pixels in truth[image_id].values():
                text = encode_by_hand(pixels)
                writer.writerow([image_id, text, record.height, record.width, "Private"])
    solution = tmp_path / "solution.csv"
    decoded = read_dsb2018(dsb2018 / "stage1_train", solution=solution, workers=1).records
    for record, expected in zip(decoded, records, strict=True):
        assert (record.file_name, record.cell_type) == (expected.file_name, expected.cell_type)
        assert record.masks == expected.masks
    # What the folders gave is what was written by hand: the test above has compared it with the files.


def test_modalities_are_those_seen_and_stratify_the_folds(annotations: Path) -> None:
    for record in read_annotations(annotations / "all.json"):
        is_stained = record.file_name.startswith(STAINED)
        is_gray = record.file_name.startswith(BRIGHTFIELD)
        seen = "stained" if is_stained else "brightfield" if is_gray else "fluorescence"
        assert record.cell_type == seen
    folds = [read_annotations(annotations / f"val_fold{fold}.json") for fold in range(5)]
    for records in folds:
        assert Counter(record.cell_type for record in records)["stained"] in (2, 3)
        assert Counter(record.cell_type for record in records)["fluorescence"] in (9, 10)
    assert len({record.file_name for records in folds for record in records}) == 60
