"""A model without a network, for tests of runs; spawned processes can import it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from cellseg_mmdet.errors import CheckpointError
from cellseg_mmdet.images import Image
from cellseg_mmdet.images.intensity import to_bgr8
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.postprocess import Pipeline, build_pipeline
from cellseg_mmdet.structures import ImagePrediction


@dataclass
class BrightPatches:
    """A model whose raw predictions are the connected bright patches of an image, scored by their area.

    Attributes:
        min_score: of final instances.
        cell_scale: of its 'config'.
        cap: setting and number.
        dies_of: names of images that end the process.
        fills_memory: names of images that do not fit into memory, by themselves or in a batch.
        pause_s: time an image takes.
        refuses: whether it cannot be loaded.
        batches: names of the images of each batch that was predicted.
        sizes_hw: of the images.
    """

    min_score: float = 0.0
    cell_scale: Mapping[str, float] | None = None
    cap: tuple[str, int] | None = None
    dies_of: tuple[str, ...] = ()
    fills_memory: tuple[str, ...] = ()
    pause_s: float = 0.0
    refuses: bool = False
    batches: list[list[str]] = field(default_factory=list)
    sizes_hw: list[tuple[int, int]] = field(default_factory=list)
    device: str | None = None
    classes = ("dim", "bright")

    def load(self, device: str | None = None) -> BrightPatches:
        if self.refuses:
            raise CheckpointError("checkpoint weights.pth does not fit")
        return self

    def identity(self) -> dict[str, str]:
        return {"checkpoint": "1", "post-processing": str(self.min_score)}

    @property
    def postprocess(self) -> Pipeline:
        steps = [{"type": "ScoreThreshold", "score_thr": self.min_score}]
        return build_pipeline(steps, self.classes)

    def predict(self, images: Mapping[str, Image]) -> list[ImagePrediction]:
        names = [Path(name).stem for name in images]
        self.batches.append(names)
        if set(names) & set(self.dies_of):
            os.kill(os.getpid(), signal.SIGKILL)
        if set(names) & set(self.fills_memory):
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        time.sleep(self.pause_s)
        return [
            self._one(name, to_bgr8(image))
            for name, image in zip(names, images.values(), strict=True)
        ]

    def _one(self, image_id: str, image: np.ndarray) -> ImagePrediction:
        self.sizes_hw.append(image.shape[:2])
        _, patches = cv2.connectedComponents((image[..., 0] > 128).astype(np.uint8))
        masks = Runs.from_label_map(patches)
        return ImagePrediction(
            image_id=image_id,
            img_id=None,
            height=image.shape[0],
            width=image.shape[1],
            boxes=masks.boxes.astype(np.float32),
            scores=(masks.areas / 100.0).astype(np.float32),
            labels=np.ones(len(masks), np.int64),
            masks=masks,
        )


def squares(height: int, width: int, *sides_px: int) -> np.ndarray:
    """A dark image with one bright square of each side, 20 pixels apart, the first at (x=2, y=3)."""
    image = np.zeros((height, width), np.uint8)
    for index, side in enumerate(sides_px):
        image[3 : 3 + side, 2 + 20 * index : 2 + 20 * index + side] = 200
    return image
