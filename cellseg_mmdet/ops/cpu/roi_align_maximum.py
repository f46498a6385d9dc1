"""Kernels of RoIAlign's other mode: the greatest sample of each bin, and where it was taken."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.cpu.rois import MANY_SAMPLES, divide, neighbours, sample_at, samples_inside
from cellseg_mmdet.ops.cpu.windows import BLOCK, copy_out
from cellseg_mmdet.ops.kernels import kernel

# What a bin without a sample above it holds, as in mmcv on every device.
LOWEST = -10000.0


@kernel
def forward_maximum(
    features: np.ndarray,
    rois: np.ndarray,
    scale: float,
    aligned: bool,
    ratio: int,
    limits: tuple[int, int],
    output: np.ndarray,
    argmax_y: np.ndarray,
    argmax_x: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Write maxima, and the coordinates of their samples on the map, for the regions ``start`` to ``stop``.

    Without fast maths: where samples are equal, rounding decides which comes first, and the gradient goes there.
    """
    _, channels, height, width = features.shape
    _, _, bins_h, bins_w = output.shape
    real = features.dtype
    # Samples are half a pixel to a pixel apart, or as many as were asked for.
    most_h = max(MANY_SAMPLES, ratio) + 2 * height + 8
    most_w = max(MANY_SAMPLES, ratio) + 2 * width + 8
    slot_of = np.full(max(height, width), -1, np.int64)
    rows, cols = np.empty(height, np.int64), np.empty(width, np.int64)
    counts_h, counts_w = np.empty(bins_h, np.int64), np.empty(bins_w, np.int64)
    ys, xs = np.empty((bins_h, most_h), real), np.empty((bins_w, most_w), real)
    slots_h, slots_w = (
        np.empty((bins_h, most_h, 2), np.int64),
        np.empty((bins_w, most_w, 2), np.int64),
    )
    parts_h, parts_w = np.empty((bins_h, most_h), real), np.empty((bins_w, most_w), real)
    window = np.zeros(limits[0] * limits[1] * BLOCK, real)
    best = np.empty(
        (2, bins_h * bins_w, BLOCK), real
    )  # value and number of the sample, -1 for none
    one = output.dtype.type(1)
    for roi in range(start, stop):
        box = rois[roi]
        image = features[int(box[0])]
        num_rows = _samples(
            box[2],
            box[4],
            scale,
            aligned,
            ratio,
            height,
            counts_h,
            ys,
            slots_h,
            parts_h,
            slot_of,
            rows,
        )
        num_cols = _samples(
            box[1],
            box[3],
            scale,
            aligned,
            ratio,
            width,
            counts_w,
            xs,
            slots_w,
            parts_w,
            slot_of,
            cols,
        )
        for first in range(0, channels, BLOCK):
            block = min(BLOCK, channels - first)
            copy_out(image[first : first + block], rows[:num_rows], cols[:num_cols], window)
            best[0], best[1] = LOWEST, -1
            for bin_row in range(bins_h):
                for bin_col in range(bins_w):
                    place = bin_row * bins_w + bin_col
                    values, numbers = best[0, place], best[1, place]
                    number = -one
                    for row in range(counts_h[bin_row]):
                        top, bottom = slots_h[bin_row, row]
                        down = parts_h[bin_row, row]
                        for col in range(counts_w[bin_col]):
                            left, right = slots_w[bin_col, col]
                            across = parts_w[bin_col, col]
                            number += one
                            if top < 0 or left < 0:  # outside the map
                                _keep_greater(one - one, number, values, numbers)
                                continue
                            _keep_greater_sample(
                                _at(window, top * num_cols + left), (one - down) * (one - across),
                                _at(window, top * num_cols + right), (one - down) * across,
                                _at(window, bottom * num_cols + left), down * (one - across),
                                _at(window, bottom * num_cols + right), down * across,
                                number, values, numbers,
                            )  # fmt: skip
            for channel in range(block):
                target = output[roi, first + channel].reshape(-1)
                target_y = argmax_y[roi, first + channel].reshape(-1)
                target_x = argmax_x[roi, first + channel].reshape(-1)
                for bin_row in range(bins_h):
                    for bin_col in range(bins_w):
                        place = bin_row * bins_w + bin_col
                        target[place] = best[0, place, channel]
                        row, col = 0, int(best[1, place, channel])
                        while col >= counts_w[bin_col]:  # a division takes longer
                            row, col = row + 1, col - counts_w[bin_col]
                        target_y[place] = ys[bin_row, row] if col >= 0 else -one
                        target_x[place] = xs[bin_col, col] if col >= 0 else -one


@kernel
def _at(window: np.ndarray, place: int) -> np.ndarray:
    return window[place * BLOCK : (place + 1) * BLOCK]


@kernel
def _keep_greater(value: float, number: float, values: np.ndarray, numbers: np.ndarray) -> None:
    for lane in range(BLOCK):
        greater = value > values[lane]
        values[lane] = value if greater else values[lane]
        numbers[lane] = number if greater else numbers[lane]


@kernel
def _keep_greater_sample(
    top_left: np.ndarray,
    weight_1: float,
    top_right: np.ndarray,
    weight_2: float,
    bottom_left: np.ndarray,
    weight_3: float,
    bottom_right: np.ndarray,
    weight_4: float,
    number: float,
    values: np.ndarray,
    numbers: np.ndarray,
) -> None:
    """Take a bilinear sample of each channel where it is greater than the best so far."""
    for lane in range(BLOCK):
        value = (
            weight_1 * top_left[lane]
            + weight_2 * top_right[lane]
            + weight_3 * bottom_left[lane]
            + weight_4 * bottom_right[lane]
        )
        greater = value > values[lane]
        values[lane] = value if greater else values[lane]
        numbers[lane] = number if greater else numbers[lane]


@kernel
def backward_maximum(
    grad_output: np.ndarray,
    rois: np.ndarray,
    argmax_y: np.ndarray,
    argmax_x: np.ndarray,
    grad_input: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Add each bin's gradient to the neighbours of its greatest sample, in the channels ``start`` to ``stop``."""
    _, _, height, width = grad_input.shape
    one = grad_input.dtype.type(1)
    for roi in range(grad_output.shape[0]):
        image = grad_input[int(rois[roi, 0])]
        for channel in range(start, stop):
            pixels = image[channel].reshape(-1)
            gradients = grad_output[roi, channel].reshape(-1)
            ys, xs = argmax_y[roi, channel].reshape(-1), argmax_x[roi, channel].reshape(-1)
            for place in range(gradients.size):
                y, x, gradient = ys[place], xs[place], gradients[place]
                # -1 stands for "none"; a sample just there is a pixel off the map anyway.
                if not (y > -1 and y <= height and x >= -1 and x <= width):
                    continue
                top, bottom, down, _ = neighbours(y, height)
                left, right, across, _ = neighbours(x, width)
                # Unsigned: a negative index would be counted from the end, which costs a test.
                upper, lower = np.uint64(top * width), np.uint64(bottom * width)
                pixels[upper + np.uint64(left)] += gradient * ((one - down) * (one - across))
                pixels[upper + np.uint64(right)] += gradient * ((one - down) * across)
                pixels[lower + np.uint64(left)] += gradient * (down * (one - across))
                pixels[lower + np.uint64(right)] += gradient * (down * across)


@kernel
def _samples(
    low: float,
    high: float,
    scale: float,
    aligned: bool,
    ratio: int,
    size: int,
    counts: np.ndarray,
    at: np.ndarray,
    slots: np.ndarray,
    parts: np.ndarray,
    slot_of: np.ndarray,
    touched: np.ndarray,
) -> int:
    """Write the samples of each bin on one axis; return how many pixels of the axis they touch.

    ``touched`` lists those pixels; ``slots[bin, sample]`` are the places in that list of the pixels below and above
    the coordinate ``at[bin, sample]``, -1 outside the map; ``parts`` is the weight of the one above. ``slot_of`` is -1
    all over, before and after. Of very many samples, all but one of those outside are left out: they are all 0.
    """
    start, bin_length, samples = divide(low, high, scale, aligned, counts.size, ratio)
    number = 0
    for place in range(counts.size):
        bin_start = start + type(start)(place) * bin_length
        first, several = samples_inside(bin_start, bin_length, samples, size)
        count = 0
        for turn in range(several):
            value = sample_at(bin_start, bin_length, samples, first + turn)
            inside = value >= -1 and value <= size
            if not inside and samples > MANY_SAMPLES:
                continue
            at[place, count], parts[place, count] = value, 0
            slots[place, count] = -1
            if inside:
                below, above, part, _ = neighbours(value, size)
                parts[place, count] = part
                for side in range(2):
                    pixel = above if side else below
                    if slot_of[pixel] < 0:
                        slot_of[pixel] = number
                        touched[number] = pixel
                        number += 1
                    slots[place, count, side] = slot_of[pixel]
            count += 1
        if count < samples:
            at[place, count], parts[place, count] = -2, 0
            slots[place, count] = -1
            count += 1
        counts[place] = count
    for slot in range(number):
        slot_of[touched[slot]] = -1
    return number
