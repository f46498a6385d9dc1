"""What the operators on regions of interest share: checks, and how work is shared out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cellseg_mmdet.ops.tensors import as_array
from cellseg_mmdet.ops.threads import share_out


def checked_rois(operator: str, rois: Tensor, features: Tensor) -> np.ndarray:
    """Return the RoIs as an array (K, 5) in the type that kernels calculate in for ``features``.

    Raises:
        ValueError: on another shape, a coordinate that is NaN or infinite, or an image that is not in the batch.
    """
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(
            f"{operator}: RoIs have shape {tuple(rois.shape)}, allowed is (K, 5): image, x1, y1, x2, y2"
        )
    array = as_array(rois)
    if features.dtype is torch.float64:
        array = array.astype(np.float64, copy=False)
    else:
        array = array.astype(np.float32, copy=False)
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"{operator}: RoI {row} is {array[row].tolist()}; every coordinate has to be finite. "
            "NaN in boxes mostly means that the training has diverged: lower the learning rate or clip gradients."
        )
    images = features.shape[0]
    outside = (array[:, 0] <= -1) | (array[:, 0] >= images)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(
            f"{operator}: RoI {row} is of image {array[row, 0]:g}, allowed are 0 to {images - 1}"
        )
    return array


def by_channel(work: Callable[[int, int], None], channels: int, rois: int) -> None:
    """Share out ``work(start, stop)`` on channels among torch's number of threads."""
    if channels and rois:
        share_out(work, channels, torch.get_num_threads(), grain=max(1, 4096 // rois))
