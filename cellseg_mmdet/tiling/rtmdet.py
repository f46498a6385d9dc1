"""RTMDet-Ins, tile by tile: one stage, whose instances bring the kernels that draw their masks in the whole picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import RTMDetInsHead, RTMDetInsSepBNHead
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.encoded import EncodedMasks
from cellseg_mmdet.masks.ragged import offsets_from_lengths
from cellseg_mmdet.tiling.candidates import Candidates, flat
from cellseg_mmdet.tiling.cover import Rect
from cellseg_mmdet.tiling.maps import WholeMaps
from cellseg_mmdet.tiling.measured_reach import NotTiled
from cellseg_mmdet.tiling.network_part import NetworkPart

_HEADS = (RTMDetInsHead, RTMDetInsSepBNHead)
# Bytes that a pixel of an instance takes while it is drawn.
_BYTES_A_PIXEL = 32
# Side of the windows in which masks are drawn, in pixels.
_WINDOW = 512


class RTMDetIns:
    """The head of RTMDet-Ins.

    Args:
        model: mmdet's detector.
        strides: of the maps that the head sees.
        channels: of these maps.
        divisor: the picture ends at a multiple of this many pixels.

    Raises:
        NotTiled: the head draws no masks, or is another one.
    """

    def __init__(
        self, model: Any, strides: tuple[int, ...], channels: tuple[int, ...], divisor: int
    ) -> None:
        self._head = model.bbox_head
        if type(self._head) not in _HEADS:
            allowed = ", ".join(kind.__name__ for kind in _HEADS)
            raise NotTiled(f"bbox_head is a {type(self._head).__name__}; tiles know {allowed}")

        def dense(maps: list[Tensor]) -> list[Tensor]:
            scores, boxes, kernels, mask_map = self._head(tuple(maps))
            return [*scores, *boxes, *kernels, mask_map]

        self.part = NetworkPart("bbox_head", self._head, dense, strides, channels, divisor=divisor)

    def predict(
        self,
        maps: WholeMaps,
        sample: DetDataSample,
        tile: int,
        memory_bytes: float,
    ) -> InstanceData:
        """Return the instances of a picture, in the coordinates of the original, as mmdet does.

        Args:
            maps: of the whole picture.
            sample: its meta information.
            tile: side of the tiles of the head in pixels.
            memory_bytes: for masks that are drawn together.
        """
        meta = sample.metainfo
        reach = self.part.reach
        # 8 channels at stride 8: half a byte a pixel.
        mask_map = torch.zeros(
            1,
            reach.channels[-1],
            *Rect(0, 0, *maps.size_hw).divided(reach.strides[-1])[2:],
            dtype=self.part.dtype,
            device=maps.levels[0].device,
        )
        found = self._instances(maps, meta, tile, mask_map)
        size_hw = tuple(meta["ori_shape"][:2])
        runs = self._masks(found, mask_map[0], size_hw, meta["scale_factor"], memory_bytes)
        found.masks = EncodedMasks(runs)
        return found

    def _instances(
        self, maps: WholeMaps, meta: dict[str, Any], tile: int, mask_map: Tensor
    ) -> InstanceData:
        """Return the instances without their masks; fill the map that the masks are drawn from."""
        head = self._head
        strides = self.part.reach.strides
        count = len(strides) // 3
        whole = Rect(0, 0, *maps.size_hw)
        sizes = [(level.y1, level.x1) for level in map(whole.divided, strides[:count])]
        limit = head.test_cfg.get("nms_pre", -1)
        levels = [Candidates(size, num_anchors=1, limit=limit) for size in sizes]
        lengths = (head.cls_out_channels, head.bbox_coder.encode_size, head.num_gen_params)

        def collect(core: Rect, outputs: list[Tensor]) -> None:
            for index, level in enumerate(levels):
                values = [
                    flat(outputs[kind * count + index], length)
                    for kind, length in enumerate(lengths)
                ]
                logits = values[0]
                scores = logits.sigmoid() if head.use_sigmoid_cls else logits.softmax(-1)[:, :-1]
                level.add(core.divided(strides[index]), scores, values)
            own = core.divided(strides[-1])
            mask_map[:, :, own.rows, own.columns] = outputs[-1]

        self.part.work(maps.size_hw, tile, maps.read, collect, "instances")
        # mmdet draws the masks at once: of a map of one point, and they are thrown away.
        return head._predict_by_feat_single(
            cls_score_list=[level.as_map(0) for level in levels],
            bbox_pred_list=[level.as_map(1) for level in levels],
            kernel_pred_list=[level.as_map(2) for level in levels],
            mask_feat=mask_map[0, :, :1, :1],
            score_factor_list=[None] * count,
            mlvl_priors=[
                self._priors(index, level, size)
                for index, (level, size) in enumerate(zip(levels, sizes, strict=True))
            ],
            img_meta=meta,
            cfg=head.test_cfg,
            rescale=True,
        )

    def _priors(self, index: int, level: Candidates, size: tuple[int, ...]) -> Tensor:
        """Return x, y and the stride on both axes of each candidate, (N, 4)."""
        generator, like = self._head.prior_generator, level.values[0]
        points = generator.sparse_priors(level.places(), size, index, like.dtype, like.device)
        stride = points.new_tensor(generator.strides[index])
        return torch.cat([points, stride.expand(len(points), 2)], dim=1)

    # ---------------------------------------------------------------- masks

    def _masks(
        self,
        found: InstanceData,
        mask_map: Tensor,
        size_hw: tuple[int, ...],
        scale_factor: tuple[float, ...],
        memory_bytes: float,
    ) -> Runs:
        """Draw all masks, window by window: enlarged to the network's input, then to the original picture."""
        height, width = size_hw
        owners, starts, lengths = [], [], []
        step = max(1, int(memory_bytes / (_BYTES_A_PIXEL * _WINDOW**2)))
        stride = self._head.prior_generator.strides[0][0]
        axes = [
            _Axis(points * stride, 1 / scale, mask_map.dtype)
            for points, scale in zip(mask_map.shape[1:], scale_factor[::-1], strict=True)
        ]
        for window in _windows(height, width):
            rows, columns = axes[0].of(window.y0, window.y1), axes[1].of(window.x0, window.x1)
            for first in range(0, len(found), step):
                chosen = slice(first, min(first + step, len(found)))
                pixels = self._drawn(found[chosen], mask_map, rows, columns, stride)
                owner, start, length = _runs(pixels)
                x, y = np.divmod(start, window.height)
                owners.append(owner + first)
                starts.append((x + window.x0) * height + y + window.y0)
                lengths.append(length)
        owner, start, length = (
            np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (owners, starts, lengths)
        )
        order = np.lexsort((start, owner))
        offsets = offsets_from_lengths(np.bincount(owner, minlength=len(found)))
        return Runs.from_sorted(start[order], length[order], offsets, height, width)

    def _drawn(
        self, found: InstanceData, mask_map: Tensor, rows: _Samples, columns: _Samples, stride: int
    ) -> Tensor:
        """Return the pixels (N, height, width) bool of a window."""
        top, bottom = rows.points(stride, mask_map.shape[1])
        left, right = columns.points(stride, mask_map.shape[2])
        priors = found.priors.clone()
        # Whole numbers: the distances to the points of the map stay what they are.
        priors[:, :2] -= priors.new_tensor([left * stride, top * stride])
        logits = self._head._mask_predict_by_feat_single(
            mask_map[:, top:bottom, left:right], found.kernels, priors
        )
        logits = F.interpolate(logits[None], scale_factor=stride, mode="bilinear")[0]
        logits = rows.take(logits, 1, top * stride)
        logits = columns.take(logits, 2, left * stride)
        return logits.sigmoid() > self._head.test_cfg.mask_thr_binary


class _Axis:
    """An axis of pixels that is resized by a factor, linearly, as ``F.interpolate`` does it.

    Args:
        length: pixels before.
        factor: by which mmdet resizes; the length that it comes to is rounded up.
        dtype: of the values, in which places are computed.
    """

    def __init__(self, length: int, factor: float, dtype: torch.dtype) -> None:
        self._length = length
        self._dtype = dtype
        self._resized = math.ceil(length * factor)

    def of(self, begin: int, end: int) -> _Samples:
        """Return where the pixels ``begin`` to ``end`` after the resizing come from."""
        if self._resized == self._length:
            first = torch.arange(begin, end)
            return _Samples(first, first, None)
        scale = torch.tensor(self._length / self._resized, dtype=self._dtype)
        source = scale * (torch.arange(begin, end, dtype=self._dtype) + 0.5) - 0.5
        source = source.clamp(min=0)
        first = source.long().clamp(max=self._length - 1)
        return _Samples(first, (first + 1).clamp(max=self._length - 1), source - first)


class _Samples:
    """Pixels of an axis as mixtures of two.

    Args:
        first: (N,) index of the one.
        second: (N,) index of the other.
        share: (N,) of the other in [0, 1); None where it has none.
    """

    def __init__(self, first: Tensor, second: Tensor, share: Tensor | None) -> None:
        self._first, self._second, self._share = first, second, share

    def points(self, stride: int, length: int) -> tuple[int, int]:
        """Return begin and end of the points of a map, one every ``stride`` pixels, that the pixels are made of."""
        low, high = int(self._first[0]), int(self._second[-1])
        begin = math.floor((low + 0.5) / stride - 0.5)
        end = math.floor((high + 0.5) / stride - 0.5) + 2
        return max(0, begin), min(length, end)

    def take(self, values: Tensor, axis: int, offset: int) -> Tensor:
        """Return the mixtures along an axis of values that begin at pixel ``offset``."""
        first, second = ((each - offset).to(values.device) for each in (self._first, self._second))
        one = values.index_select(axis, first)
        if self._share is None:
            return one
        share = self._share.to(values.device)
        share = share[:, None] if axis == 1 else share
        return one * (1 - share) + values.index_select(axis, second) * share


def _windows(height: int, width: int) -> Iterator[Rect]:
    for top in range(0, height, _WINDOW):
        for left in range(0, width, _WINDOW):
            yield Rect(top, left, min(top + _WINDOW, height), min(left + _WINDOW, width))


def _runs(pixels: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return owner, begin and length of the runs of masks (N, h, w), numbered down the columns of the window.

    A run ends with its column.
    """
    height = pixels.shape[1]
    columns = F.pad(pixels.transpose(1, 2), (1, 1)).to(torch.int8).cpu().numpy()
    steps = np.diff(columns, axis=2)
    owner, x, y = np.nonzero(steps == 1)
    _, _, end = np.nonzero(steps == -1)
    return owner, x * height + y, end - y
