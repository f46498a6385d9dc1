"""`EncodedMasks`: the masks found in one image, on their way from the mask head to metrics, dumps and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np

from cellseg_mmdet.masks.roi_bitmaps import to_numpy
from cellseg_mmdet.masks.roi_masks import RoIMasks
from cellseg_mmdet.masks.runs import Runs


class EncodedMasks:
    """N masks of one image as COCO RLEs, in place of a tensor (N, height, width) in mmdet's ``pred_instances``.

    It is what each consumer of mmdet asks for: a sequence of RLEs for ``CocoMetric``, an array for ``DumpDetResults``
    and the visualizer, something to select from and to join for ``InstanceData``. No list, because mmengine rebuilds
    lists element by element.

    Attributes:
        runs: the masks.

    Example:
        >>> masks = EncodedMasks(Runs.from_label_map(np.array([[1, 1, 0], [0, 0, 2]])))
        >>> masks
        EncodedMasks(2 instances, height=2, width=3)
        >>> masks[0]
        {'size': [2, 3], 'counts': '01102'}
        >>> len(masks[1:])
        1
    """

    def __init__(self, runs: Runs) -> None:
        self.runs = runs

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        return "EncodedMasks({} instances, height={}, width={})".format(*self.shape)

    def __reduce__(self) -> tuple[type[EncodedMasks], tuple[Runs]]:
        return EncodedMasks, (self.runs,)  # without the RLEs: they are made from the runs

    def __getitem__(self, index: Any) -> Any:
        """Return one RLE for an int; `EncodedMasks` for a slice, or an integer or boolean array or tensor."""
        if isinstance(index, Integral):
            return self.rles[index]
        return EncodedMasks(self.runs[to_numpy(index)])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rles)

    @property
    def shape(self) -> tuple[int, int, int]:
        """What the masks would be as an array: (N, height, width)."""
        return len(self), self.runs.height, self.runs.width

    @cached_property
    def rles(self) -> list[dict[str, Any]]:
        """The masks as compressed COCO RLEs, their counts str: ``CocoMetric`` would overwrite bytes in place."""
        return self.runs.to_coco(text=True)

    @classmethod
    def cat(cls, masks: Sequence[EncodedMasks]) -> EncodedMasks:
        """Put the instances of several of one image size behind each other.

        Raises:
            ValueError: there is none, or sizes differ.
        """
        return cls(Runs.concatenate([part.runs for part in masks]))

    def numpy(self) -> RoIMasks:
        """Return what iterates as (height, width) uint8 arrays, one at a time."""
        return RoIMasks.from_runs(self.runs)

    def astype(self, dtype: Any) -> np.ndarray:
        """Return (N, height, width) of ``dtype``, for pictures: it is what this class exists to avoid."""
        return self.numpy().astype(dtype)
