"""RoI pooling sample by sample in plain torch, so that autograd gives the gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bilinear(plane: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return the value of (C, H, W) planes at one point; 0 further than a pixel outside."""
    height, width = plane.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return plane.new_zeros(plane.shape[0])
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    upper = plane[:, top, left] * (1 - across) + plane[:, top, right] * across
    lower = plane[:, bottom, left] * (1 - across) + plane[:, bottom, right] * across
    return upper * (1 - down) + lower * down


def roi_align(
    features: Tensor,
    rois: Tensor,
    bins_hw: tuple[int, int],
    scale: float,
    ratio: int,
    aligned: bool,
    maximum: bool = False,
    offset: Tensor | None = None,
    gamma: float = 0.0,
) -> Tensor:
    """Return (K, C, *bins_hw); with ``offset`` (K, 2, *bins_hw) it is deformable RoI pooling."""
    pooled = []
    for number, (index, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (corner * scale - (0.5 if aligned else 0) for corner in corners)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = width.clamp(min=1), height.clamp(min=1)
        bin_h, bin_w = height / bins_hw[0], width / bins_hw[1]
        grid_h, grid_w = (ratio or max(math.ceil(length), 0) for length in (bin_h, bin_w))
        for row in range(bins_hw[0]):
            for col in range(bins_hw[1]):
                left, top = x1 + col * bin_w, y1 + row * bin_h
                if offset is not None:
                    left = left + gamma * width * offset[number, 0, row, col]
                    top = top + gamma * height * offset[number, 1, row, col]
                samples = [
                    bilinear(
                        features[int(index)],
                        top + (i + 0.5) * bin_h / grid_h,
                        left + (j + 0.5) * bin_w / grid_w,
                    )
                    for i in range(grid_h)
                    for j in range(grid_w)
                ]
                empty = features.new_full((features.shape[1],), -10000.0 if maximum else 0.0)
                if maximum:
                    pooled.append(torch.stack([empty, *samples]).max(dim=0)[0])
                else:
                    pooled.append(torch.stack(samples).mean(dim=0) if samples else empty)
    channels = features.shape[1]
    stacked = torch.stack(pooled) if pooled else features.new_zeros(0, channels)
    return stacked.reshape(len(rois), *bins_hw, channels).permute(0, 3, 1, 2)


def roi_pool(features: Tensor, rois: Tensor, bins_hw: tuple[int, int], scale: float) -> Tensor:
    """Return (K, C, *bins_hw): the greatest pixel of each bin, 0 where it has none."""
    _, channels, height, width = features.shape
    output = features.new_zeros(len(rois), channels, *bins_hw)
    for number, (index, x1, y1, x2, y2) in enumerate(rois.tolist()):
        left, top = x1 * scale, y1 * scale
        length_w, length_h = (x2 + 1) * scale - left, (y2 + 1) * scale - top
        if length_w <= 0 or length_h <= 0:
            continue
        for row in range(bins_hw[0]):
            for col in range(bins_hw[1]):
                first_row = max(math.floor(top + row * (length_h / bins_hw[0])), 0)
                last_row = min(math.ceil(top + (row + 1) * (length_h / bins_hw[0])), height)
                first_col = max(math.floor(left + col * (length_w / bins_hw[1])), 0)
                last_col = min(math.ceil(left + (col + 1) * (length_w / bins_hw[1])), width)
                pixels = features[int(index), :, first_row:last_row, first_col:last_col]
                if last_row > first_row and last_col > first_col:
                    output[number, :, row, col] = pixels.flatten(1).max(dim=1)[0]
    return output
