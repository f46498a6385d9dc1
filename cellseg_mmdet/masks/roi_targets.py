"""Training targets: masks averaged over the bins of proposals, as mmcv's RoIAlign does it, in the boxes alone.

RoIAlign (He et al. 2017, https://arxiv.org/abs/1703.06870) averages bilinear samples on a regular grid, and a bilinear
weight is a product of one for the row and one for the column. So the bins of a proposal are ``rows @ mask @ columns``:
two small matrix products with the instance's own bitmap, whatever the size of the image.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from cellseg_mmdet.masks.ragged import offsets_from_lengths, segment_ids


def align_weights(
    begin: np.ndarray,
    end: np.ndarray,
    num_bins: int,
    length: int,
    first: np.ndarray,
    size: np.ndarray,
) -> list[np.ndarray]:
    """Return for each of K proposals the weights (num_bins, size) of the pixels ``first`` to ``first + size``.

    mmcv's ``roi_align`` with ``aligned=True``, ``sampling_ratio=0``: as many samples a bin as pixels, rounded up.
    Positions are float32, computed in mmcv's order, so that the weights are the same up to the last bit or two.

    Args:
        begin: (K,) first edge of the proposals along this axis, in pixels.
        end: (K,) last edge.
        num_bins: bins along this axis.
        length: pixels of the image along this axis.
        first: (K,) int, first pixel of the instance's box.
        size: (K,) int, pixels of the instance's box.
    """
    half = np.float32(0.5)
    roi_start = begin.astype(np.float32) - half
    roi_size = end.astype(np.float32) - half - roi_start
    bin_size = roi_size / np.float32(num_bins)
    num_samples = np.ceil(bin_size).astype(np.int64).clip(min=0)

    # One row for each sample of each bin of each proposal.
    sample_offsets = offsets_from_lengths(num_samples * num_bins)
    roi = segment_ids(sample_offsets)
    bin_of, sample = np.divmod(
        np.arange(sample_offsets[-1]) - sample_offsets[roi], num_samples[roi]
    )
    step = (sample.astype(np.float32) + half) * bin_size[roi] / num_samples[roi].astype(np.float32)
    position = roi_start[roi] + bin_of.astype(np.float32) * bin_size[roi] + step
    outside = (position < -1) | (position > length)
    position = position.clip(0, length - 1)
    low = position.astype(np.int64)
    upper_weight = position - low

    weight_offsets = offsets_from_lengths(num_bins * size)
    weights = np.zeros(weight_offsets[-1], dtype=np.float32)
    for pixel, weight in ((low, 1 - upper_weight), (low + 1, upper_weight)):
        local = pixel - first[roi]
        kept = ~outside & (local >= 0) & (local < size[roi])
        index = weight_offsets[roi] + bin_of * size[roi] + local
        weights += np.bincount(index[kept], weight[kept], minlength=len(weights)).astype(np.float32)
    weights /= np.repeat(num_samples.clip(min=1), num_bins * size).astype(np.float32)
    return [weights[begin_:end_].reshape(num_bins, -1) for begin_, end_ in pairwise(weight_offsets)]
