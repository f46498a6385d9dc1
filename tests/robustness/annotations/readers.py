"""What reads the inputs of `inputs`: all who take such a file, one after the other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.annotations.files import read_annotations
from cellseg_mmdet.annotations.image_files import check_annotations
from cellseg_mmdet.converters.readers.livecell import find_livecell_images, read_livecell
from cellseg_mmdet.converters.readers.mmdet_pickle import read_mmdet_v2
from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.evaluation.sources import read_predictions, read_source
from cellseg_mmdet.structures import ImagePrediction, ImageRecord

PIPELINE = [
    {"type": "LoadCellImage"},
    {"type": "LoadRoIAnnotations", "with_bbox": True, "with_mask": True},
    {"type": "PackDetInputs", "meta_keys": ("img_id", "cell_type")},
]


def read(kind: str, path: Path) -> None:
    """Read an input as all who take such files do; what is accepted must be usable.

    Raises:
        CellsegError: it is not accepted.
    """
    if kind in ("coco", "mmdet"):
        _read_annotation_file(path)
    elif kind == "mmdet_v2":
        _check_records(read_mmdet_v2(path, workers=1).records)
    elif kind == "livecell":
        images = find_livecell_images(path.parent)
        _check_records(read_livecell([path], path.parent, images, workers=1).records)
    else:
        _check_predictions(read_predictions(path))


def _read_annotation_file(path: Path) -> None:
    with_masks = _outcome(lambda: read_annotations(path, tell=lambda _: None))
    in_training = _outcome(lambda: _train(path))
    skipped = read_annotations_skipping(path)
    # One judge: what is a fault for the metric is one for the data set.
    if isinstance(with_masks, CellsegError):
        assert isinstance(in_training, CellsegError), (
            f"training takes what scoring refuses: {with_masks}"
        )
        check_agrees(path, skipped)
        raise with_masks
    if isinstance(in_training, CellsegError):
        raise in_training
    _check_records(with_masks)
    read_source(path)


def read_annotations_skipping(path: Path) -> list[ImageRecord] | None:
    """Read with the other policy: a file that is whole must be read, without what cannot be used."""
    try:
        records = read_annotations(path, on_error="skip", tell=lambda _: None)
    except CellsegError:
        return None
    _check_records(records)
    return records


def check_agrees(path: Path, skipped: list[ImageRecord] | None) -> None:
    """Make sure that the check lists a fault where reading stops, or cannot read the file either."""
    try:
        faults, _ = check_annotations(path, path.parent)
    except CellsegError:
        assert skipped is None
    else:
        assert faults


def _outcome(call: Any) -> Any:
    try:
        return call()
    except CellsegError as error:
        return error


def _train(path: Path) -> None:
    from mmdet.registry import DATASETS

    dataset = DATASETS.build(
        {
            "type": "mmdet.CellDataset",
            "ann_file": str(path),
            "data_prefix": {"img": str(path.parent)},
            "pipeline": PIPELINE,
            "serialize_data": False,  # it collects garbage for half a second
        }
    )
    for item in dataset:
        sample = item["data_samples"]
        boxes = sample.gt_instances.bboxes.tensor
        assert np.isfinite(boxes.numpy()).all()
        assert len(sample.gt_instances.masks) == len(boxes)
        assert (np.asarray(sample.gt_instances.masks.areas) > 0).all()


def _check_records(records: list[ImageRecord]) -> None:
    for record in records:
        assert (record.masks.areas > 0).all()
        assert all(
            isinstance(name, str) and name for name in (*record.categories, record.file_name)
        )
        assert record.cell_type is None or isinstance(record.cell_type, str)
        assert type(record.height) is type(record.width) is int


def _check_predictions(predictions: list[ImagePrediction]) -> None:
    for found in predictions:
        assert isinstance(found.image_id, str) and found.image_id
        assert type(found.height) is type(found.width) is int
        assert np.isfinite(found.boxes).all() and found.boxes.shape == (len(found), 4)
        assert found.labels.dtype.kind == "i" and (found.labels >= 0).all()
        assert all(math.isfinite(score) for score in found.scores.tolist())
