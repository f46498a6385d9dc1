"""`TiledPredictor`: one model on pictures that are too large to be predicted as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.images import Image, ImageSource
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
from cellseg_mmdet.tiling.pictures import NetworkPicture
from cellseg_mmdet.tiling.pixel import TiledPixelDetector
from cellseg_mmdet.tiling.pixel_maps import PixelMaps
from cellseg_mmdet.tiling.receptive_field import NotLocalError
from cellseg_mmdet.tiling.scratch import Scratch

# Of the memory: what the network may take for a tile, and what its results may before they go to files.
_OF_NETWORK, _OF_RESULTS = 0.4, 0.3


class TiledPredictor:
    """Predicts pictures tile by tile, read by window from their files.

    Args:
        model: mmdet's detector, or the model of test-time augmentation around it, in eval mode.
        pipeline: its test pipeline for images that are read already.
        device: where the model is.
        choice: of the user.
        folder: for temporary files; the system's by default.
    """

    def __init__(
        self,
        model: nn.Module,
        pipeline: Compose,
        device: torch.device,
        choice: TileChoice,
        folder: str | None = None,
    ) -> None:
        self._model, self._pipeline, self._device = model, pipeline, device
        self._choice, self._folder = choice, folder
        self._seen: SeenPictures | None = None
        self._per_px: float | None = None
        self._budget: float | None = None
        self._tiled: TiledPixelDetector | None = None
        self._notes: list[str] = []

    @property
    def budget_bytes(self) -> float:
        """What a picture may take; what is free is asked for once."""
        if self._budget is None:
            given = self._choice.memory_gb
            self._budget = given * 1e9 if given else SHARE * free_bytes(self._device)
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
        seen_hw = self._pictures.size_hw(size_hw, factors_yx)
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
            seen, size_hw = self._pictures.picture(image, scratch, factors_yx)
            instances = self._instances(seen, size_hw, scratch)
        sample = DetDataSample(metainfo=dict(img_path=name, ori_shape=size_hw, img_id=0))
        sample.pred_instances = instances
        return from_dump_entry(sample.to_dict())

    @property
    def _pictures(self) -> SeenPictures:
        if self._seen is None:
            self._seen = SeenPictures(self._pipeline)
        return self._seen

    @property
    def _detector(self) -> Any:
        return self._model.module if hasattr(self._model, "merge_preds") else self._model

    def _instances(
        self, seen: NetworkPicture, size_hw: tuple[int, int], scratch: Scratch
    ) -> InstanceData:
        if not isinstance(self._detector, PixelDetector):
            raise NotLocalError(f"{type(self._detector).__name__} is no pixel model")
        if self._tiled is None:
            is_auto = isinstance(self._choice.tile, str)
            self._tiled = TiledPixelDetector(
                PixelMaps(self._detector, budget_bytes=_OF_NETWORK * self.budget_bytes)
                if is_auto
                else PixelMaps(self._detector, tile=int(self._choice.tile))
            )
        views = [IDENTITY]
        if isinstance(self._model, PixelTTAModel):
            views = views_in(self._pictures.packing[0])
        return self._tiled.instances(seen, size_hw, scratch, views=views)


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
