"""What the data set of a config gives to training, after augmentation."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.runner import set_random_seed

from cellseg_mmdet.annotations.files import read_annotations
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.mask_pipelines import check_pipelines
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.progress import progress_bar
from cellseg_mmdet.structures import ImageRecord
from cellseg_mmdet.visualization.pages.samples import Sample


def build_training_set(cfg: Config) -> Any:
    """Build the data set of ``train_dataloader``, with its wrappers.

    Raises:
        UsageError: the config has none.
        ConfigError: a transform would leave masks behind.
    """
    check_pipelines(cfg)
    dataset = (cfg.get("train_dataloader") or {}).get("dataset")
    if not dataset:
        raise UsageError(f"{cfg.filename} has no train_dataloader with a dataset")
    return DATASETS.build(dataset)


def annotated_images(dataset: Any) -> list[ImageRecord]:
    """Return all that the annotation files of a data set hold, also what it leaves out when it trains.

    File names are paths from here. Of wrappers and concatenations, the data sets in them.

    Raises:
        UsageError: a data set has no annotation file.
    """
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    if inner != [None]:
        return [record for one in inner for record in annotated_images(one)]
    if not dataset.ann_file:
        raise UsageError(f"a {type(dataset).__name__} of the config has no ann_file to look at")
    folder = (dataset.data_prefix or {}).get("img", "")
    return [
        replace(record, file_name=os.path.join(folder, record.file_name))
        for record in read_annotations(
            dataset.ann_file, on_error=getattr(dataset, "on_error", "stop")
        )
    ]


def draw_samples(
    dataset: Any, *, num_images: int, num_draws: int, seed: int = 0
) -> list[list[Sample]]:
    """Take images spread evenly over the cell types and over a data set, each several times through its pipeline.

    Args:
        dataset: of mmdet, whose pipeline ends with ``PackDetInputs``.
        num_images: at most; a smaller data set gives all it has.
        num_draws: samples of each image.
        seed: of all randomness.

    Raises:
        UsageError: the pipeline ends with something else.
    """
    set_random_seed(seed)
    cell_types = [dataset.get_data_info(index).get("cell_type") for index in range(len(dataset))]
    return [
        [to_sample(dataset[index]) for _ in range(num_draws)]
        for index in progress_bar(spread(cell_types, num_images), description="augmenting")
    ]


def spread(kinds: Sequence[str | None], count: int) -> list[int]:
    """Return ``count`` indices, or all if there are fewer: as many of each kind as can be, evenly spread in it.

    Example:
        >>> spread(["astro", "astro", "astro", "cort"], 2)
        [0, 3]
    """
    members: dict[str | None, list[int]] = {}
    ranks = []
    for index, kind in enumerate(kinds):
        of_kind = members.setdefault(kind, [])
        ranks.append(len(of_kind))
        of_kind.append(index)
    in_turn = sorted(range(len(kinds)), key=lambda index: ranks[index])
    shares = Counter(kinds[index] for index in in_turn[:count])
    return [
        of_kind[round(place)]
        for kind, of_kind in members.items()
        for place in np.linspace(0, len(of_kind) - 1, shares[kind])
    ]


def to_sample(packed: dict[str, Any]) -> Sample:
    """Turn what ``PackDetInputs`` returns into arrays.

    Raises:
        UsageError: it is of another form.
    """
    if not isinstance(packed, dict) or not packed.keys() >= {"inputs", "data_samples"}:
        raise UsageError("the training pipeline must end with PackDetInputs")
    image = packed["inputs"].numpy().transpose(1, 2, 0)
    instances = packed["data_samples"].gt_instances
    boxes = instances.bboxes if "bboxes" in instances else np.zeros((0, 4))
    boxes = getattr(boxes, "tensor", boxes)  # mmdet's box type, or a plain tensor
    return Sample(
        name=Path(packed["data_samples"].get("img_path", "image")).stem,
        image=_as_uint8(image),
        boxes=np.asarray(boxes, dtype=np.float64).reshape(-1, 4),
        labels=np.asarray(instances.labels),
        masks=_as_runs(instances.masks) if "masks" in instances else None,
    )


def _as_runs(masks: Any) -> Runs:
    if hasattr(masks, "to_runs"):
        return masks.to_runs()
    bitmaps = masks.to_ndarray()  # mmdet's own bitmaps and polygons
    instance, y, x = np.nonzero(bitmaps)
    return Runs.from_pixels(x * masks.height + y, instance, len(bitmaps), masks.height, masks.width)


def _as_uint8(image: np.ndarray) -> np.ndarray:
    """Return the image as it is, or stretched to 0..255 if the pipeline has normalised it; (H, W, 3)."""
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = ((image - low) * (255 / max(high - low, 1e-12))).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
