"""Detectors worked on tile by tile, with the result of the whole picture.

In the first pass the feature maps are made tile by tile, each from a window with as much around it as the network
looks at; the dense head is run on them, and the best places of the whole picture go on. In the second pass the RoI
heads see the maps of the whole. Caps, suppression and order are mmdet's own, over the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.detectors import RTMDet
from mmdet.models.detectors.two_stage import TwoStageDetector
from mmdet.structures import DetDataSample
from torch import Tensor

from cellseg_mmdet.tiling.cover import Rect
from cellseg_mmdet.tiling.maps import WholeMaps, map_bytes
from cellseg_mmdet.tiling.measured_reach import NotTiled
from cellseg_mmdet.tiling.network_part import NetworkPart
from cellseg_mmdet.tiling.rtmdet import RTMDetIns
from cellseg_mmdet.tiling.two_stage import TwoStage

MEMORY_BYTES = 1 << 30


class Picture(Protocol):
    """A picture as the test pipeline hands it to the network, read by windows.

    Attributes:
        size_hw: height and width in pixels, after the pipeline's resizing and before the network's padding.
        sample: its meta information: ``img_path``, ``ori_shape``, ``img_shape`` and ``scale_factor``.
    """

    size_hw: tuple[int, int]
    sample: DetDataSample

    def read(self, window: Rect) -> Tensor:
        """Return the pixels (channels, rows, columns) of a window that lies within the picture."""


@dataclass
class WholePicture:
    """What a test pipeline makes of a picture that is in memory.

    Attributes:
        inputs: (channels, rows, columns), the pipeline's ``inputs``.
        sample: the pipeline's ``data_samples``.
    """

    inputs: Tensor
    sample: DetDataSample

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.inputs.shape[1], self.inputs.shape[2]

    def read(self, window: Rect) -> Tensor:
        """Return the pixels of a window."""
        return self.inputs[:, window.rows, window.columns]


@dataclass(frozen=True)
class Cost:
    """What tiles cost.

    Attributes:
        tiles: how many there are.
        context: pixels before and behind a tile that are read with it.
        passes: how often the backbone goes through the picture: once, and once more for each of its layers that
            looks at whole maps and depends on another one.
        times: pixels that the backbone sees, by those of the picture.
        map_bytes: of the maps that are kept, in memory or in a file.
    """

    tiles: int
    context: tuple[int, int]
    passes: int
    times: float
    map_bytes: int


class TiledDetector:
    """A detector, cut open so that it can be worked on tile by tile.

    Its prediction is the untiled one: the same instances, their scores within 1e-5 and the same masks, as far as float
    sums that are taken in another order allow.

    Args:
        model: mmdet's detector in eval mode, with a test pipeline's picture for input.

    Attributes:
        stride: where tiles may begin, in pixels.
        context: pixels before and behind a tile that are read with it.

    Raises:
        NotTiled: the model is of another kind, or a layer of it sees the whole picture in a way that cannot be gathered
            from tiles; the message names it.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        preprocessor = model.data_preprocessor
        if type(preprocessor) is not DetDataPreprocessor:
            raise NotTiled(
                f"data_preprocessor is a {type(preprocessor).__name__}; tiles know DetDataPreprocessor"
            )
        self._divisor = preprocessor.pad_size_divisor
        kind = type(model)
        if isinstance(model, TwoStageDetector) and kind.predict is TwoStageDetector.predict:
            heads: type[TwoStage | RTMDetIns] = TwoStage
        elif kind is RTMDet:
            heads = RTMDetIns
        else:
            raise NotTiled(f"{kind.__name__} is no detector that is known to tiles")
        self._parts = self._network()
        reach = self._parts[-1].reach
        self.heads = heads(model, reach.strides, reach.channels, self._divisor)
        self.stride = self._parts[0].reach.stride
        self.context = self._parts[0].reach.context

    def _network(self) -> list[NetworkPart]:
        """Return backbone and neck as one part; as two where the neck would have the backbone go through all again."""
        model = self.model

        def features(inputs: list[Tensor]) -> list[Tensor]:
            return list(model.extract_feat(inputs[0]))

        channels = int(model.data_preprocessor.mean.numel()) if _normalises(model) else 3
        whole = NetworkPart("network", model, features, [1], [channels], divisor=self._divisor)
        if not any(layer.name.startswith("neck.") for layer in whole.reach.layers):
            return [whole]
        backbone = NetworkPart(
            "backbone",
            model.backbone,
            lambda inputs: list(model.backbone(inputs[0])),
            [1],
            [channels],
            divisor=self._divisor,
        )
        neck = NetworkPart(
            "neck",
            model.neck,
            lambda maps: list(model.neck(tuple(maps))),
            backbone.reach.strides,
            backbone.reach.channels,
            divisor=self._divisor,
        )
        return [backbone, neck]

    def padded(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return height and width as the network sees them, in pixels."""
        height, width = (-(-side // self._divisor) * self._divisor for side in size_hw)
        return height, width

    def cost(self, size_hw: tuple[int, int], tile: int = 1024) -> Cost:
        """Return what tiles cost for a picture of this height and width in pixels."""
        padded = self.padded(size_hw)
        first = self._parts[0]
        cover = first.cover(padded, tile)
        passes = first.passes if len(cover) > 1 else 1
        maps = [
            map_bytes(part.reach.channels, part.reach.strides, padded, part.dtype)
            for part in self._parts
        ]
        return Cost(
            tiles=len(cover),
            context=self.context,
            passes=passes,
            times=passes * cover.read_pixels / (padded[0] * padded[1]),
            map_bytes=sum(maps[-2:]),
        )

    @torch.inference_mode()
    def predict(
        self,
        picture: Picture,
        *,
        tile: int = 1024,
        memory_bytes: int = MEMORY_BYTES,
        progress: Callable[[], None] = lambda: None,
    ) -> DetDataSample:
        """Return what ``model.test_step`` returns for the picture.

        Args:
            picture: see `Picture`.
            tile: side of the tiles in pixels, rounded down to the stride.
            memory_bytes: that feature maps may take in memory; larger ones lie in a file.
            progress: called after each tile.

        Raises:
            UsageError: there is no room for the feature maps.
        """
        size_hw = self.padded(picture.size_hw)
        sample = DetDataSample(metainfo=dict(picture.sample.metainfo))
        sample.set_metainfo({"batch_input_shape": size_hw, "pad_shape": size_hw})
        read: Callable[[Rect], list[Tensor]] = partial(self._read, picture)
        maps: WholeMaps | None = None
        try:
            for part in self._parts:
                filled = WholeMaps(
                    part.reach.channels,
                    part.reach.strides,
                    size_hw,
                    memory_bytes=memory_bytes,
                    device=self.model.data_preprocessor.device,
                    dtype=part.dtype,
                )

                def write(core: Rect, outputs: list[Tensor], filled: WholeMaps = filled) -> None:
                    filled.write(core, outputs)
                    progress()

                part.work(size_hw, tile, read, write)
                if maps is not None:
                    maps.close()
                maps, read = filled, filled.read
            assert maps is not None
            found = self.heads.predict(maps, sample, tile, memory_bytes, progress)
        finally:
            if maps is not None:
                maps.close()
        (result,) = self.model.add_pred_to_datasample([sample], [found])
        return result

    def _read(self, picture: Picture, window: Rect) -> list[Tensor]:
        """Return the window (1, channels, rows, columns), normalised, and padded as the whole picture is."""
        height, width = picture.size_hw
        inside = Rect(window.y0, window.x0, min(window.y1, height), min(window.x1, width))
        data = {"inputs": [picture.read(inside)]}
        return [self.model.data_preprocessor(data, False)["inputs"]]


def can_tile(model: Any) -> str | None:
    """Return why a detector cannot be worked on tile by tile with the result of the whole, or None if it can."""
    try:
        TiledDetector(model)
    except NotTiled as error:
        return str(error)
    return None


def predict_detector_tiled(
    model: Any, picture: Picture, *, tile: int = 1024, memory_bytes: int = MEMORY_BYTES
) -> DetDataSample:
    """Return what ``model.test_step`` returns for a picture, worked on tile by tile; see `TiledDetector`.

    For several pictures a `TiledDetector` is made once: it measures the network first.

    Raises:
        NotTiled: see there.
        UsageError: there is no room for the feature maps.
    """
    return TiledDetector(model).predict(picture, tile=tile, memory_bytes=memory_bytes)


def _normalises(model: Any) -> bool:
    return bool(getattr(model.data_preprocessor, "_enable_normalize", False))
