"""Every transform that mmdet registers, its own and mmcv's, on a data set of ours: the same with each kind of masks."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS, TRANSFORMS
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import BaseDataElement

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.datasets import CellDataset
from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.structures import ImageRecord
from tests.datasets.transforms.mmdet_transforms import (
    ALSO,
    CASES,
    LEAVE_IN_MMCV,
    LEAVE_MASKS,
    NUM_MIXED,
    REFUSE_MASKS,
    WITH_PACKAGE,
    WITHOUT_A_CASE,
    Config,
    Results,
)
from tests.datasets.transforms.same import assert_same

NUM_CELLS = (40, 1, 25, 0, 12)
SIZES_HW = (*((120, 150),) * 4, (97, 130))
CLASSES = ("astro", "cort", "shsy5y")


def registered(registry: Any) -> set[str]:
    """Return the names in a registry and in those above it, but for ours."""
    names = {
        name
        for name, kind in registry.module_dict.items()
        if not kind.__module__.startswith("cellseg_mmdet.")
    }
    return names | (registered(registry.parent) if registry.parent else set())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Results], list[Results]]:
    """Return the images of a data set as we load them, and as mmdet does; every fifth cell is ignored."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    records = []
    for number, (num_cells, (height, width)) in enumerate(zip(NUM_CELLS, SIZES_HW, strict=True)):
        parts = [Runs.empty(height, width)]
        image = rng.integers(0, 60, (height, width), dtype=np.uint8)
        for _ in range(num_cells):
            cell = np.zeros((height, width), np.uint8)
            centre, axes = (
                rng.integers(0, [width, height]).tolist(),
                rng.integers(4, 13, 2).tolist(),
            )
            cv2.ellipse(cell, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
            image[cell > 0] += 100
            parts.append(Runs.from_label_map(cell))
        cv2.imwrite(str(folder / f"{number}.png"), image)
        masks = Runs.concatenate(parts)
        names = tuple(CLASSES[index % 3] for index in range(num_cells))
        records.append(ImageRecord(f"{number}.png", height, width, masks, names))
    write_annotations(folder / "cells.json", records, categories=CLASSES)

    def load(kind: str) -> list[Results]:
        dataset = CellDataset(
            ann_file=str(folder / "cells.json"),
            data_prefix={"img": str(folder)},
            pipeline=[dict(type="LoadCellImage"), dict(type=kind, with_mask=True)],
        )
        images = [dataset[index] for index in range(len(dataset))]
        for image in images:
            image["gt_ignore_flags"][::5] = True
        return images

    return load("LoadRoIAnnotations"), load("LoadAnnotations")


def outcomes(name: str, config: Config, images: list[Results], seed: int) -> list[Any]:
    """Return what one transform makes of each image, one after the other; of an image that it fails on the error."""
    np.random.seed(seed)
    random.seed(seed)
    transform = TRANSFORMS.build(dict(type=name, **config))
    if hasattr(getattr(transform, "aug", None), "set_random_seed"):
        transform.aug.set_random_seed(seed)  # albumentations has generators of its own
    found: list[Any] = []
    for index in range(len(images)):
        results, *others = (
            copy.deepcopy(images[(index + step) % len(images)])
            for step in range(1 + NUM_MIXED.get(name, 0))
        )
        if others:
            results["mix_results"] = others
        if name in ALSO:
            results.update(ALSO[name](results))
        try:
            found.append(transform(results))
        except Exception as error:
            found.append(error)
    return found


def masks_in(found: Any) -> list[BitmapMasks]:
    """Return the masks anywhere in what a transform gave."""
    if isinstance(found, BitmapMasks):
        return [found]
    if isinstance(found, BaseDataElement):
        found = dict(found.all_items())
    parts = found.values() if isinstance(found, dict) else found
    if not isinstance(found, dict | list | tuple):
        return []
    return [masks for part in parts for masks in masks_in(part)]


def test_every_transform_has_a_case_or_a_reason() -> None:
    groups = (CASES, WITH_PACKAGE, LEAVE_MASKS, REFUSE_MASKS, WITHOUT_A_CASE)
    names = [name for group in groups for name in group]
    assert len(names) == len(set(names))
    assert set(names) == registered(TRANSFORMS)
    assert set(DATASETS.module_dict)  # mmdet's are imported, so its registry is whole


@pytest.mark.parametrize(
    ("name", "config"),
    [pytest.param(name, config, id=name) for name, configs in CASES.items() for config in configs],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_same_with_both_kinds_of_masks(pair: Any, name: str, config: Config, seed: int) -> None:
    check_the_same(pair, name, config, seed)


@pytest.mark.parametrize("name", WITH_PACKAGE)
@pytest.mark.parametrize("seed", range(3))
def test_the_same_where_the_package_is_installed(pair: Any, name: str, seed: int) -> None:
    package, configs = WITH_PACKAGE[name]
    pytest.importorskip(package, reason=f"{name} needs the package {package}")
    for config in configs:
        check_the_same(pair, name, config, seed)


def check_the_same(pair: Any, name: str, config: Config, seed: int) -> None:
    ours, stock = (outcomes(name, config, images, seed) for images in pair)
    worked = 0
    for found, expected in zip(ours, stock, strict=True):
        if isinstance(expected, Exception):
            continue  # of mmdet's own, such as pasting onto an image without a cell
        if isinstance(found, Exception):
            raise found
        assert_same(found, expected)
        worked += expected is not None
    assert worked >= 3


@pytest.mark.parametrize("name", LEAVE_MASKS)
def test_those_that_leave_masks_behind_do_so_with_any(pair: Any, name: str) -> None:
    ours, stock = (outcomes(name, LEAVE_MASKS[name], images, seed=0) for images in pair)
    for before, found, expected in zip(pair[0], ours, stock, strict=True):
        assert isinstance(found, Exception) == isinstance(expected, Exception)
        if not isinstance(found, Exception):
            assert found["gt_masks"] == before["gt_masks"]
    assert any(
        not np.array_equal(found["img"], before["img"])
        for before, found in zip(pair[0], ours, strict=True)
        if not isinstance(found, Exception)
    )


@pytest.mark.parametrize("name", LEAVE_IN_MMCV)
def test_those_of_mmcv_know_no_masks(pair: Any, name: str) -> None:
    image = dict(pair[0][0], gt_bboxes=pair[0][0]["gt_bboxes"].tensor.numpy())
    (found,) = outcomes(name, LEAVE_IN_MMCV[name], [image], seed=0)
    assert not np.array_equal(found["gt_bboxes"], image["gt_bboxes"])
    assert found["gt_masks"] == image["gt_masks"]


@pytest.mark.parametrize("name", REFUSE_MASKS)
def test_those_that_take_no_masks_stop_with_any(pair: Any, name: str) -> None:
    config, message = REFUSE_MASKS[name]
    for images in pair:
        (found,) = outcomes(name, config, images[:1], seed=0)
        assert isinstance(found, Exception)
        assert message in str(found)


@pytest.mark.parametrize("name", CASES)
def test_masks_stay_in_their_boxes(pair: Any, name: str) -> None:
    """But where mmdet makes its own, which `test_ours_go_on_where_mmdet_made_masks` takes up."""
    found = masks_in([o for o in outcomes(name, CASES[name][0], pair[0], 0) if not _failed(o)])
    dense = {"CopyPaste", "LoadAnnotations", "LoadEmptyAnnotations"}
    assert all(isinstance(masks, RoIMasks) for masks in found) or name in dense


def _failed(outcome: Any) -> bool:
    return outcome is None or isinstance(outcome, Exception)


def test_ours_go_on_where_mmdet_made_masks(pair: Any, run: Callable) -> None:
    pasted = outcomes("CopyPaste", dict(selected=False), pair[0], seed=0)[0]
    expected = pasted["gt_masks"].masks
    assert not isinstance(pasted["gt_masks"], RoIMasks)
    turned = run(dict(type="RandomRotate90", turns=(2,)), pasted)
    assert isinstance(turned["gt_masks"], RoIMasks)
    assert np.array_equal(turned["gt_masks"].to_ndarray(), expected[:, ::-1, ::-1])
