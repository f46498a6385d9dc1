"""A convolution at some pixels alone, as guided anchors use it (Wang et al. 2019, https://arxiv.org/abs/1901.03278).

As mmcv's operators for CUDA; it has none for the CPU.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad


def masked_im2col_forward(
    features: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    data_col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Write the pixels below the kernel at M places into ``data_col``, (C * kernel_h * kernel_w, M).

    Args:
        features: (1, C, H, W).
        mask_h_idx, mask_w_idx: (M,) row and column of the places in the output.
    """
    padded = pad(features[0], [pad_w, pad_w, pad_h, pad_h])
    columns = data_col.view(-1, kernel_h, kernel_w, data_col.shape[1])
    for row in range(kernel_h):
        for column in range(kernel_w):
            columns[:, row, column] = padded[:, mask_h_idx + row, mask_w_idx + column]


def masked_col2im_forward(
    data_col: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    output: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Write the results at M places, (channels, M), into ``output``, (1, channels, height, width)."""
    output[0, :, mask_h_idx, mask_w_idx] = data_col.to(output)
