"""Tensors of the CPU seen as NumPy arrays, in the types that kernels are compiled for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def as_array(tensor: Tensor) -> np.ndarray:
    """Return a contiguous array of the values: a view where the tensor allows it.

    float16 and bfloat16 become float32, in which the kernels calculate.

    Example:
        >>> as_array(torch.ones(2, dtype=torch.bfloat16))
        array([1., 1.], dtype=float32)
    """
    tensor = tensor.detach()
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    return tensor.contiguous().numpy()


def give(output: Tensor, values: np.ndarray) -> None:
    """Write ``values`` into ``output``, of the same shape, rounding where its type is shorter.

    Nothing is copied where ``values`` is the view of ``output`` that ``as_array`` returned.
    """
    if not np.shares_memory(values, _memory(output)):
        output.detach().copy_(torch.from_numpy(values))


def _memory(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:  # NumPy has no such type
        tensor = tensor.view(torch.int16)
    return tensor.numpy()
