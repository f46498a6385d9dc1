"""Nuclei from folders of masks to COCO, to a submission, and back from that as a solution: the same pixels."""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cellseg_mmdet.annotations.files import read_annotations, write_annotations
from cellseg_mmdet.converters.readers.dsb2018 import read_dsb2018
from cellseg_mmdet.export import check_submission, write_submission
from cellseg_mmdet.structures import from_records

# Any pixels: nuclei in pieces, with holes, over the border; no side is as long as the other in most.
label_maps = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3)
)


def pixels_of(text: str) -> frozenset[int]:
    """Return the pixels of a string of 1-based starts and lengths, from 0 on."""
    numbers = list(map(int, text.split()))
    runs = zip(numbers[::2], numbers[1::2], strict=True)
    return frozenset(pixel - 1 for start, length in runs for pixel in range(start, start + length))


@settings(max_examples=40)
@given(drawn=st.lists(label_maps.filter(np.any), min_size=1, max_size=3))
def test_the_same_pixels_come_back(drawn: list[np.ndarray]) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder) / "stage1_train"
        expected: dict[str, set[frozenset[int]]] = {}
        for number, label_map in enumerate(drawn):
            image = root / f"image{number}"
            for part in ("images", "masks"):
                (image / part).mkdir(parents=True)
            assert cv2.imwrite(str(image / f"images/{image.name}.png"), 0 * label_map)
            masks = {name: label_map == name for name in np.unique(label_map[label_map > 0])}
            for name, mask in masks.items():
                assert cv2.imwrite(str(image / f"masks/{name}.png"), 255 * mask.astype(np.uint8))
            # DSB2018 numbers pixels down columns.
            expected[image.name] = {
                frozenset(np.flatnonzero(mask.T).tolist()) for mask in masks.values()
            }

        converted = read_dsb2018(root)
        annotations, submission = Path(folder) / "all.json", Path(folder) / "submission.csv"
        write_annotations(annotations, converted.records)
        predictions = from_records(read_annotations(annotations))
        write_submission(submission, predictions, "dsb2018")

        assert check_submission(submission, root, "dsb2018") == []
        with submission.open(newline="") as file:
            rows = [
                (row["ImageId"], pixels_of(row["EncodedPixels"])) for row in csv.DictReader(file)
            ]
        for name, masks in expected.items():
            found = [pixels for image_id, pixels in rows if image_id == name]
            assert len(found) == len(masks)
            assert set(found) == masks
        again = read_dsb2018(root, solution=submission).records
        for record, first in zip(again, converted.records, strict=True):
            assert set(record.masks.to_strings(order="column")) == set(
                first.masks.to_strings(order="column")
            )
