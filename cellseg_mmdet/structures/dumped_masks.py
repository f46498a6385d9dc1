"""Masks as dumps hold them: of a model, of mmdet, of this project."""

from __future__ import annotations

from typing import Any

import numpy as np

from cellseg_mmdet.errors import DataError, shown
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.encoded import EncodedMasks

# Pixels of dense masks that are looked at together, some 50 MB while it lasts.
_PIXELS_AT_ONCE = 1 << 24


def read_masks(masks: Any, height: int, width: int) -> Runs:
    """Read the masks of one image: `EncodedMasks`, a list of N COCO RLEs, or a boolean tensor (N, height, width).

    The tensor may be an array, and on any device.

    Raises:
        DataError: if they are of another size, or an RLE is malformed.
    """
    if isinstance(masks, list | tuple):
        return Runs.from_coco(masks, height, width)
    if len(getattr(masks, "shape", ())) != 3:
        raise DataError(
            f"masks are {shown(masks)}; allowed are a list of RLEs, or an array (N, height, width)"
        )
    if tuple(masks.shape[1:]) != (height, width):
        raise DataError(
            f"masks of shape {tuple(masks.shape)} for an image of {height} x {width} pixels"
        )
    if isinstance(masks, EncodedMasks):
        return masks.runs
    step = max(_PIXELS_AT_ONCE // max(height * width, 1), 1)
    parts = [_dense_runs(masks[first : first + step]) for first in range(0, len(masks), step)]
    return Runs.concatenate([Runs.empty(height, width), *parts])


def _dense_runs(masks: Any) -> Runs:
    """Return the runs of masks (N, height, width), an array or a tensor, which is looked through on its device."""
    count, height, width = (int(side) for side in masks.shape)
    columns = (masks != 0).swapaxes(1, 2).reshape(count, -1)
    at_edge = np.zeros((count, 2), dtype=bool)
    if height * width:
        at_edge[:] = as_array(columns[:, [0, -1]])
    owner, position = _where(columns[:, 1:] != columns[:, :-1])
    begins, ends = np.flatnonzero(at_edge[:, 0]), np.flatnonzero(at_edge[:, 1])
    owners = np.concatenate([begins, owner, ends])
    positions = np.concatenate(
        [np.zeros_like(begins), position + 1, np.full_like(ends, height * width)]
    )
    # Of each instance begins and ends take turns.
    order = np.lexsort((positions, owners))
    owners, positions = owners[order].reshape(-1, 2)[:, 0], positions[order].reshape(-1, 2)
    starts, lengths = positions[:, 0], positions[:, 1] - positions[:, 0]
    offsets = np.searchsorted(owners, np.arange(count + 1))
    return Runs(starts, lengths, offsets, height, width)


def _where(condition: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of what is true, sorted, of an array or a tensor."""
    if hasattr(condition, "detach"):
        row, column = condition.nonzero().T.cpu().numpy()
    else:
        row, column = np.nonzero(condition)
    return row, column


def as_array(value: Any) -> np.ndarray:
    """Return an array or a tensor, on any device, as an array."""
    # By attribute, not by type: naming torch.Tensor would import torch.
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
