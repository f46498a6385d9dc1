"""Masks in their boxes for code that reads and writes the array (N, height, width) of mmdet's ``BitmapMasks``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

if TYPE_CHECKING:
    from cellseg_mmdet.masks.roi_masks import RoIMasks


class DenseView(NDArrayOperatorsMixin):
    """What ``BitmapMasks.masks`` is to mmdet's code, made of `RoIMasks`: values are read from them and written to them.

    Its shape costs nothing, and erasing a window costs that window. All else makes the array (N, height, width) for as
    long as it is looked at, as mmdet does: that is what `RoIMasks` exists to avoid.

    Args:
        masks: what is looked at, and changed in place by an assignment.

    Example:
        >>> from cellseg_mmdet.masks import RoIMasks, Runs
        >>> masks = RoIMasks.from_runs(Runs.from_label_map(np.array([[0, 1, 1], [0, 1, 2]])))
        >>> view = DenseView(masks)
        >>> view.shape, view.sum(axis=(1, 2)).tolist()
        ((2, 2, 3), [3, 1])
        >>> view[:, 0:1, 0:3] = 0
        >>> masks.areas.tolist()
        [1, 1]
    """

    def __init__(self, masks: RoIMasks) -> None:
        self._masks = masks

    def __len__(self) -> int:
        return len(self._masks)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._masks)

    def __repr__(self) -> str:
        return f"DenseView of {self._masks!r}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, height, width)."""
        return len(self._masks), self._masks.height, self._masks.width

    @property
    def ndim(self) -> int:
        """3."""
        return 3

    @property
    def dtype(self) -> np.dtype:
        """Of the pixels: uint8, of 0 and 1; float32 of soft targets."""
        return self._masks.bitmaps.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        dense = self._masks.to_ndarray()
        # Never the buffer itself: a write to it would go around `__setitem__`.
        dense = dense.copy() if np.shares_memory(dense, self._masks.bitmaps) else dense
        return dense if dtype is None else dense.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", ())
        arrays = (np.asarray(one) if isinstance(one, DenseView) else one for one in inputs)
        result = getattr(ufunc, method)(*arrays, **kwargs)
        if not out:
            return result
        (target,) = out
        target[...] = result
        return target

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_masks":  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __getitem__(self, index: Any) -> Any:
        return np.asarray(self)[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        window = self._window(index)
        if window is not None and np.ndim(value) == 0 and value == 0:
            self._masks.erase(window)
            return
        dense = np.asarray(self)
        dense[index] = value
        self._masks.masks = dense

    def _window(self, index: Any) -> np.ndarray | None:
        """Return the box (4,) xyxy of an index that means one window in all instances; None for any other."""
        if not (
            isinstance(index, tuple)
            and len(index) == 3
            and all(isinstance(part, slice) and part.step in (None, 1) for part in index)
            and index[0].indices(len(self)) == (0, len(self), 1)
        ):
            return None
        y1, y2, _ = index[1].indices(self._masks.height)
        x1, x2, _ = index[2].indices(self._masks.width)
        return np.array([x1, y1, x2, y2])
