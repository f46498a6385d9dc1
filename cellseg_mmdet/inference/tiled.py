"""`TiledPredictor`: one model on pictures that are too large to be predicted as a whole."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from torch import nn

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.images import Image, ImageSource
from cellseg_mmdet.images.scale import resized_prediction
from cellseg_mmdet.images.tile_choice import TileChoice
from cellseg_mmdet.inference.seen import SeenPictures, views_of
from cellseg_mmdet.models.pixel import PixelDetector, PixelTTAModel
from cellseg_mmdet.models.pixel.tta import turn_of
from cellseg_mmdet.models.tta import checked_matrix
from cellseg_mmdet.pixel_codes import IDENTITY, Turn
from cellseg_mmdet.structures import ImagePrediction, from_dump_entry
from cellseg_mmdet.tiling.budget import (
    DECODING_BYTES_PER_PX,
    MOST_BYTES_PER_PX,
    SHARE,
    free_bytes,
    network_bytes_per_px,
)
from cellseg_mmdet.tiling.cover import Rect
from cellseg_mmdet.tiling.detectors import TiledDetector
from cellseg_mmdet.tiling.fallback import Overlapped, predict_with_overlap
from cellseg_mmdet.tiling.pictures import NetworkPicture
from cellseg_mmdet.tiling.pixel import TiledPixelDetector
from cellseg_mmdet.tiling.pixel_maps import PixelMaps
from cellseg_mmdet.tiling.receptive_field import NotLocalError
from cellseg_mmdet.tiling.scratch import Scratch

# Of the memory: what the network may take for a tile, and what its results may before they go to files.
_OF_NETWORK, _OF_RESULTS = 0.4, 0.3
# Tiles of models that are not taken apart: sides of their cores, and what heads take besides backbone and neck.
_SMALLEST_CORE, _LARGEST_CORE = 128, 2048
HEADS = 1.5


class TiledPredictor:
    """Predicts pictures tile by tile, read by window from their files.

    Args:
        model: mmdet's detector, or the model of test-time augmentation around it, in eval mode.
        pipeline: its test pipeline for images that are read already.
        device: where the model is.
        choice: of the user.
        folder: for temporary files; the system's by default.
        sharing: processes that share the memory of the device: of what is free each takes its part. What ``choice``
            says is for each of them.
        cut_open: False predicts any model in tiles that overlap, also one that could be exact: to measure what that
            costs.
        overlap: of such tiles in pixels; by default it follows the largest cells.

    Attributes:
        overlapped: what tiles that overlap found last; None if there were none.
    """

    def __init__(
        self,
        model: nn.Module,
        pipeline: Compose,
        device: torch.device,
        choice: TileChoice,
        folder: str | None = None,
        sharing: int = 1,
        *,
        cut_open: bool = True,
        overlap: int | None = None,
    ) -> None:
        self._model, self._pipeline, self._device = model, pipeline, device
        self._choice, self._folder, self._sharing = choice, folder, sharing
        self._overlap = overlap
        self._seen: SeenPictures | None = None
        self._per_px: float | None = None
        self._budget: float | None = None
        self._tiled: TiledPixelDetector | TiledDetector | None = None
        self._why_not = None if cut_open else "tiles that overlap are asked for"
        self.overlapped: Overlapped | None = None
        self._notes: list[str] = []

    @property
    def budget_bytes(self) -> float:
        """What a picture may take; what is free is asked for once."""
        if self._budget is None:
            given = self._choice.memory_gb
            free = SHARE * free_bytes(self._device) / self._sharing
            self._budget = given * 1e9 if given else free
        return self._budget

    def pop_notes(self) -> list[str]:
        """Return what users should know of the picture that was predicted last."""
        notes, self._notes = self._notes, []
        return notes

    def applies(
        self, size_hw: tuple[int, int], factors_yx: tuple[float, float] = (1.0, 1.0)
    ) -> bool:
        """Tell whether a picture of this size is cut into tiles.

        Args:
            size_hw: height and width of the picture.
            factors_yx: by which it is resized before the model's pipeline.
        """
        if self._choice.tile == "off":
            return False
        pixels = size_hw[0] * size_hw[1] * max(1.0, factors_yx[0] * factors_yx[1])
        if self._choice.tile == "auto" and pixels * MOST_BYTES_PER_PX < self.budget_bytes:
            return False
        seen_hw = self.pictures.size_hw(size_hw, factors_yx)
        if self._choice.tile != "auto":
            return max(seen_hw) > self._choice.tile
        if self._per_px is None:
            self._per_px = network_bytes_per_px(self._detector)
        network = self._per_px * seen_hw[0] * seen_hw[1]
        return network + DECODING_BYTES_PER_PX * pixels > self.budget_bytes

    def predict(
        self,
        image: Image | ImageSource,
        name: str,
        factors_yx: tuple[float, float] = (1.0, 1.0),
    ) -> ImagePrediction:
        """Return the raw prediction of a picture, as `Predictor.predict` returns that of the picture resized.

        Args:
            image: open, or in memory.
            name: of the prediction; its stem is the image's.
            factors_yx: by which height and width are resized before the model's pipeline.

        Raises:
            UsageError: the smallest tiles do not fit the memory, or the model cannot be tiled.
        """
        with Scratch(_OF_RESULTS * self.budget_bytes, self._folder) as scratch:
            seen, size_hw = self.pictures.picture(image, scratch, factors_yx)
            exact = self._exact()
            if exact is None:
                return self._overlapped(seen, name, size_hw)
            if isinstance(exact, TiledDetector):
                instances = exact.instances(seen, size_hw, scratch)
            else:
                views = [IDENTITY]
                if isinstance(self._model, PixelTTAModel):
                    views = views_in(self.pictures.packing[0])
                instances = exact.instances(
                    seen,
                    size_hw,
                    scratch,
                    views=views,
                    # The network has done its work by then.
                    decoding_bytes=(1 - _OF_RESULTS) * self.budget_bytes,
                    notes=self._notes,
                )
        sample = DetDataSample(metainfo=dict(img_path=name, ori_shape=size_hw, img_id=0))
        sample.pred_instances = instances
        return from_dump_entry(sample.to_dict())

    @property
    def pictures(self) -> SeenPictures:
        """Makes what the network sees."""
        if self._seen is None:
            self._seen = SeenPictures(self._pipeline)
        return self._seen

    @property
    def _detector(self) -> Any:
        return self._model.module if hasattr(self._model, "merge_preds") else self._model

    def _exact(self) -> TiledPixelDetector | TiledDetector | None:
        """Return what predicts tiles with the result of the whole; None, and a note why, if nothing does."""
        if self._tiled is None and self._why_not is None:
            try:
                self._tiled = self._cut_open()
            except NotLocalError as error:
                self._why_not = str(error)
        if self._why_not:
            self._notes.append(self._why_not)
        return self._tiled

    def _cut_open(self) -> TiledPixelDetector | TiledDetector:
        side: Any = (
            dict(budget_bytes=_OF_NETWORK * self.budget_bytes)
            if isinstance(self._choice.tile, str)
            else dict(tile=self._choice.tile)
        )
        if isinstance(self._detector, PixelDetector):
            return TiledPixelDetector(PixelMaps(self._detector, **side))
        if self._model is not self._detector:
            raise NotLocalError("detections of several views are merged, which tiles would change")
        return TiledDetector(self._detector, **side)

    def _overlapped(
        self, seen: NetworkPicture, name: str, size_hw: tuple[int, int]
    ) -> ImagePrediction:
        """Return the prediction of any model, from tiles that overlap."""
        if self._per_px is None:
            self._per_px = network_bytes_per_px(self._detector)
        most_px = self.budget_bytes / (HEADS * self._per_px)
        tile = self._choice.tile
        if isinstance(tile, str):
            # With as much again around it for cells that go on beyond it.
            tile = int(min(math.sqrt(most_px) / 2, _LARGEST_CORE)) // 32 * 32
            if tile < _SMALLEST_CORE:
                raise UsageError(
                    f"tiles of {_SMALLEST_CORE} pixels do not fit {self.budget_bytes / 1e9:.2g} GB: give more "
                    "(--memory)"
                )

        def predict(window: Rect) -> ImagePrediction:
            pixels = seen.read(window.y0, window.x0, window.y1, window.x1)
            return self.predict_seen(pixels, name)

        found = predict_with_overlap(
            predict, seen.size_hw, tile, overlap=self._overlap, most_px=most_px
        )
        self.overlapped = found
        self._notes += found.notes()
        return resized_prediction(found.prediction, size_hw)

    def predict_seen(self, pixels: np.ndarray, name: str) -> ImagePrediction:
        """Return what the model finds in a part of what its network sees, as in a picture of its own.

        Args:
            pixels: (H, W, C) uint8, behind loading and resizing.
            name: of the prediction; its stem is the image's.
        """
        shape = pixels.shape[:2]
        results: Any = dict(
            img=np.ascontiguousarray(pixels),
            img_shape=shape,
            ori_shape=shape,
            scale_factor=(1.0, 1.0),
            img_id=0,
            img_path=name,
        )
        for step in self.pictures.packing:
            results = step(results)
        with torch.inference_mode():
            (sample,) = self._model.test_step(pseudo_collate([results]))
        sample.set_metainfo({"img_path": name, "ori_shape": shape})
        return from_dump_entry(sample.to_dict())


def views_in(step: Any) -> list[Turn]:
    """Return the flips and quarter turns that are the views of ``TestTimeAug``.

    Raises:
        UsageError: a view does more.
    """
    turns = []
    for pipeline in views_of(step):
        small = np.zeros((32, 48, 3), np.uint8)
        packed = pipeline(
            dict(img=small, img_shape=(32, 48), ori_shape=(32, 48), img_id=0, img_path="view")
        )
        meta = packed["data_samples"].metainfo
        if np.abs(checked_matrix(meta)[:2, :2]).max() != 1:
            raise UsageError(
                "views of several scales are not cut into tiles: predict the whole picture (--tile off), "
                "or leave Resize out of the views"
            )
        turns.append(turn_of(meta))
    return turns
