"""Kernels of RoIAlign's usual mode: the mean of the samples in each bin.

The pixels that a region touches are copied with the channels last, a block of channels at a time, so that all that
follows are vector instructions over channels. A bin is the product of row weights, pixels and column weights: rows
are mixed first, for a whole row of bins at once, then columns.
"""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.cpu.rois import divide, taps_of_bin
from cellseg_mmdet.ops.cpu.windows import BLOCK, add_back, copy_out
from cellseg_mmdet.ops.kernels import kernel


@kernel
def _axis(
    low: float,
    high: float,
    scale: float,
    aligned: bool,
    ratio: int,
    size: int,
    slot_of: np.ndarray,
    touched: np.ndarray,
    counts: np.ndarray,
    slots: np.ndarray,
    weights: np.ndarray,
    slopes: np.ndarray,
) -> int:
    """Write the taps of all bins of a region on one axis; return how many pixels of the axis they touch.

    ``touched`` lists those pixels, ``slots[bin, tap]`` counts in that list, ``counts[bin]`` is the number of taps.
    ``slot_of`` is -1 all over, before and after.
    """
    bins = counts.size
    start, bin_length, samples = divide(low, high, scale, aligned, bins, ratio)
    number = 0
    for place in range(bins):
        bin_start = start + type(start)(place) * bin_length
        counts[place] = taps_of_bin(
            bin_start, bin_length, samples, size, slots[place], weights[place], slopes
        )
        for tap in range(counts[place]):
            pixel = slots[place, tap]
            if slot_of[pixel] < 0:
                slot_of[pixel] = number
                touched[number] = pixel
                number += 1
            slots[place, tap] = slot_of[pixel]
    for slot in range(number):
        slot_of[touched[slot]] = -1
    return number


@kernel(fast=True)
def forward_mean(
    features: np.ndarray,
    rois: np.ndarray,
    scale: float,
    aligned: bool,
    ratio: int,
    limits: tuple[int, int],
    output: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Write the means of all bins of the regions ``start`` to ``stop``; ``limits`` bound what one touches."""
    _, channels, height, width = features.shape
    _, _, bins_h, bins_w = output.shape
    real = features.dtype
    slot_of = np.full(max(height, width), -1, np.int64)
    rows, cols = np.empty(height, np.int64), np.empty(width, np.int64)
    row_counts, col_counts = np.empty(bins_h, np.int64), np.empty(bins_w, np.int64)
    row_slots, col_slots = np.empty((bins_h, height), np.int64), np.empty((bins_w, width), np.int64)
    row_weights, col_weights = np.empty((bins_h, height), real), np.empty((bins_w, width), real)
    slopes = np.empty(max(height, width), real)
    window = np.zeros(limits[0] * limits[1] * BLOCK, real)
    line = np.empty(limits[1] * BLOCK, real)
    pooled = np.empty((bins_h * bins_w, BLOCK), real)
    for roi in range(start, stop):
        box = rois[roi]
        image = features[int(box[0])]
        num_rows = _axis(
            box[2],
            box[4],
            scale,
            aligned,
            ratio,
            height,
            slot_of,
            rows,
            row_counts,
            row_slots,
            row_weights,
            slopes,
        )
        num_cols = _axis(
            box[1],
            box[3],
            scale,
            aligned,
            ratio,
            width,
            slot_of,
            cols,
            col_counts,
            col_slots,
            col_weights,
            slopes,
        )
        length = num_cols * BLOCK
        for first in range(0, channels, BLOCK):
            block = min(BLOCK, channels - first)
            copy_out(image[first : first + block], rows[:num_rows], cols[:num_cols], window)
            pooled[:] = 0
            for bin_row in range(bins_h):
                if row_counts[bin_row] == 0:
                    continue
                mixed = line[:length]
                mixed[:] = 0
                for tap in range(row_counts[bin_row]):
                    weight = row_weights[bin_row, tap]
                    slot = row_slots[bin_row, tap]
                    source = window[slot * length : (slot + 1) * length]
                    for at in range(length):
                        mixed[at] += weight * source[at]
                for bin_col in range(bins_w):
                    total = pooled[bin_row * bins_w + bin_col]
                    for tap in range(col_counts[bin_col]):
                        weight = col_weights[bin_col, tap]
                        slot = col_slots[bin_col, tap]
                        source = mixed[slot * BLOCK : (slot + 1) * BLOCK]
                        for lane in range(BLOCK):
                            total[lane] += weight * source[lane]
            for channel in range(block):
                target = output[roi, first + channel].reshape(-1)
                for place in range(bins_h * bins_w):
                    target[place] = pooled[place, channel]


@kernel(fast=True)
def backward_mean(
    grad_output: np.ndarray,
    rois: np.ndarray,
    scale: float,
    aligned: bool,
    ratio: int,
    limits: tuple[int, int],
    grad_input: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Add each bin's gradient to the pixels that it touches, in the channels ``start`` to ``stop``."""
    _, _, height, width = grad_input.shape
    _, _, bins_h, bins_w = grad_output.shape
    real = grad_input.dtype
    slot_of = np.full(max(height, width), -1, np.int64)
    rows, cols = np.empty(height, np.int64), np.empty(width, np.int64)
    row_counts, col_counts = np.empty(bins_h, np.int64), np.empty(bins_w, np.int64)
    row_slots, col_slots = np.empty((bins_h, height), np.int64), np.empty((bins_w, width), np.int64)
    row_weights, col_weights = np.empty((bins_h, height), real), np.empty((bins_w, width), real)
    slopes = np.empty(max(height, width), real)
    window = np.empty(limits[0] * limits[1] * BLOCK, real)
    line = np.empty(limits[1] * BLOCK, real)
    pooled = np.zeros((bins_h * bins_w, BLOCK), real)
    for roi in range(rois.shape[0]):
        box = rois[roi]
        image = grad_input[int(box[0])]
        num_rows = _axis(
            box[2],
            box[4],
            scale,
            aligned,
            ratio,
            height,
            slot_of,
            rows,
            row_counts,
            row_slots,
            row_weights,
            slopes,
        )
        num_cols = _axis(
            box[1],
            box[3],
            scale,
            aligned,
            ratio,
            width,
            slot_of,
            cols,
            col_counts,
            col_slots,
            col_weights,
            slopes,
        )
        length = num_cols * BLOCK
        for first in range(start, stop, BLOCK):
            block = min(BLOCK, stop - first)
            for channel in range(block):
                values = grad_output[roi, first + channel].reshape(-1)
                for place in range(bins_h * bins_w):
                    pooled[place, channel] = values[place]
            window[: num_rows * length] = 0
            for bin_row in range(bins_h):
                if row_counts[bin_row] == 0:
                    continue
                mixed = line[:length]
                mixed[:] = 0
                for bin_col in range(bins_w):
                    total = pooled[bin_row * bins_w + bin_col]
                    for tap in range(col_counts[bin_col]):
                        weight = col_weights[bin_col, tap]
                        slot = col_slots[bin_col, tap]
                        target = mixed[slot * BLOCK : (slot + 1) * BLOCK]
                        for lane in range(BLOCK):
                            target[lane] += weight * total[lane]
                for tap in range(row_counts[bin_row]):
                    weight = row_weights[bin_row, tap]
                    slot = row_slots[bin_row, tap]
                    target = window[slot * length : (slot + 1) * length]
                    for at in range(length):
                        target[at] += weight * mixed[at]
            add_back(window, rows[:num_rows], cols[:num_cols], image[first : first + block])
