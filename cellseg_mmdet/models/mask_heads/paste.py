"""Pasting predicted masks into their own boxes: mmdet's pixels, without its N x height x width.

mmdet pastes one mask after the other on a CPU, and all of them into the whole image on a GPU. Here masks of about the
same size are pasted together, each only where its box is.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.masks.roi_sampling import box_sizes, gather_axes, normalised

# Masks whose sides agree when rounded up to a multiple of this are pasted together. A multiple of 8, so that each
# column of pixels fills whole bytes.
_SIDE = 16
# Pixels pasted together: 13 bytes each while it lasts.
_PIXELS_AT_ONCE = 1 << 20


@torch.no_grad()
def paste_masks(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Runs:
    """Resize each mask to its box and threshold it, with the same pixels as mmdet's ``FCNMaskHead`` on a CPU.

    A device is waited for twice: for the boxes, and for all masks, of which one bit a pixel is fetched.

    Args:
        masks: (N, rows, columns) in [0, 1].
        boxes: (N, 4) xyxy in pixels of the image, on the same device; they may reach out of it.
        height: of the image in pixels.
        width: of the image in pixels.
        threshold: least value of foreground, at least 0.
    """
    if not len(boxes):
        return Runs.empty(height, width)
    regions = _paste_regions(boxes, height, width)
    padded_sizes = (np.stack(box_sizes(regions), axis=1) // _SIDE + 1) * _SIDE
    # By size; the order is undone at the end, where a mask is no more than a few runs.
    order = np.lexsort(padded_sizes.T)
    regions, padded_sizes = regions[order], padded_sizes[order]

    index, corners = (torch.from_numpy(a).to(boxes.device) for a in (order, regions[:, :2]))
    masks, boxes = masks[index], boxes[index]
    packed = [
        _pack_bits(_sample(masks[part], boxes[part], corners[part], *size) >= threshold)
        for part, size in _batches(padded_sizes)
    ]
    bits = np.unpackbits(torch.cat(packed).cpu().numpy())

    padded = np.hstack([regions[:, :2], regions[:, :2] + padded_sizes])
    bitmaps = gather_axes(padded, bits, regions, np.arange(width), np.arange(height))
    return RoIMasks(regions, bitmaps, height, width).to_runs()[np.argsort(order)]


def _paste_regions(boxes: Tensor, height: int, width: int) -> np.ndarray:
    """Return the pixels (N, 4) int64 xyxy, ends exclusive, that mmdet looks at: a box and one more on each side."""
    limits = torch.tensor([width, height] * 2)
    boxes = boxes.cpu()
    regions = torch.cat([boxes[:, :2].floor() - 1, boxes[:, 2:].ceil() + 1], dim=1)
    return normalised(regions.clamp(min=0).minimum(limits.to(regions)).long().numpy())


def _batches(sizes: np.ndarray) -> list[tuple[slice, tuple[int, int]]]:
    """Cut a sorted list of sizes (N, 2), in pixels, into parts of one size and of bounded pixels."""
    changes = np.flatnonzero((sizes[1:] != sizes[:-1]).any(axis=1)) + 1
    batches = []
    for begin, end in zip([0, *changes], [*changes, len(sizes)], strict=True):
        width, height = sizes[begin].tolist()
        step = max(1, _PIXELS_AT_ONCE // (width * height))
        for first in range(begin, end, step):
            batches.append((slice(first, min(first + step, end)), (width, height)))
    return batches


def _sample(masks: Tensor, boxes: Tensor, corners: Tensor, width: int, height: int) -> Tensor:
    """Return the masks at the pixels from ``corners`` (N, 2) on, (N, width, height): column by column, as in RLE."""
    x1, y1, x2, y2 = boxes.split(1, dim=1)
    x = _mask_coordinates(corners[:, :1], width, x1, x2)
    y = _mask_coordinates(corners[:, 1:], height, y1, y2)
    grid = x.new_empty(len(masks), width, height, 2)
    grid[..., 0] = x[:, :, None]
    grid[..., 1] = y[:, None, :]
    return F.grid_sample(masks[:, None].to(grid), grid, align_corners=False)[:, 0]


def _mask_coordinates(first: Tensor, length: int, low: Tensor, high: Tensor) -> Tensor:
    """Return where pixels are in a mask that -1 and 1 are the ends of, (N, length), rounded as mmdet rounds."""
    centers = (first + torch.arange(length, device=first.device)).float() + 0.5
    coordinates = (centers - low) / (high - low) * 2 - 1
    return coordinates.masked_fill_(coordinates.isinf(), 0)  # a box without extent


def _pack_bits(pixels: Tensor) -> Tensor:
    """Return 8 pixels a byte (P / 8,) uint8, as ``np.packbits`` does, on the device of ``pixels`` (P values, bool)."""
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=pixels.device)
    return (pixels.to(torch.uint8).view(-1, 8) << shifts).sum(dim=1, dtype=torch.uint8)
