from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord
from tests.configs.leaves import LAYOUTS, LAYOUTS_OF_LEAVES, SIZE


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tensors this small gain nothing from a second thread, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="module")
def plain_environment():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CELLSEG_DATA", "CELLSEG_FOLD", "CELLSEG_SPLIT"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with the configs' data below it: a handful of square cells on tiny images."""
    root = tmp_path_factory.mktemp("root")
    rng = np.random.default_rng(0)
    for name, layout in LAYOUTS.items():
        folder = root / "data" / name
        (folder / layout.images).mkdir(parents=True)
        records = [
            draw(
                folder / layout.images / f"{number}.png",
                layout.classes[number % len(layout.classes)],
                rng,
            )
            for number in range(6)
        ]
        splits = [layout] + [
            of_leaf for leaf, of_leaf in LAYOUTS_OF_LEAVES.items() if leaf.endswith(f"_{name}")
        ]
        for split in splits:
            for ann_file, part in ((split.train, records[:3]), (split.val, records[3:])):
                path = folder / ann_file.format(fold=0)
                write_annotations(path, part, categories=layout.classes)
    return root


def draw(path: Path, cell_type: str, rng: np.random.Generator) -> ImageRecord:
    label_map = np.zeros((SIZE, SIZE), np.int32)
    for number, (y, x) in enumerate([(4, 6), (8, 36), (38, 10), (40, 40)], start=1):
        label_map[y : y + 18, x : x + 18] = number
    image = np.where(label_map > 0, 170, 120) + rng.integers(-9, 10, label_map.shape)
    assert cv2.imwrite(str(path), image.astype(np.uint8))
    masks = Runs.from_label_map(label_map)
    return ImageRecord(path.name, SIZE, SIZE, masks, (cell_type,) * len(masks), cell_type)
