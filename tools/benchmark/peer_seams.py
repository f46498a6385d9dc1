"""Cellpose's and StarDist's own ways through large pictures, for `seams.py`. Nothing of cellseg_mmdet is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import peer_models

# Cellpose rounds pictures up to this many pixels.
_CELLPOSE_STEP = 16


class CellposeTiles:
    """Cellpose averages the maps of overlapping tiles, and follows the flows of the whole picture.

    Args:
        checkpoint: its file.
        threads: of torch.
    """

    def __init__(self, checkpoint: str, threads: int) -> None:
        self.model = peer_models.Cellpose(checkpoint, threads).model

    def whole(self, picture: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
        """Return the cells of a picture (H, W) uint8, whose network runs on all of it at once."""
        del truth
        return self._found(picture, 1 << 20)

    def tiles(self, picture: np.ndarray, truth: np.ndarray, side: int) -> dict[str, Any]:
        """Return the cells of a picture in tiles of ``side`` of its pixels, with its own overlap of a tenth."""
        del truth
        rescale = self.model.diam_mean / float(self.model.diam_labels)
        return self._found(picture, -(-round(side * rescale) // _CELLPOSE_STEP) * _CELLPOSE_STEP)

    def _found(self, picture: np.ndarray, side: int) -> dict[str, Any]:
        labels = self.model.eval(picture, channels=[0, 0], bsize=side)[0]
        return {"label_map": labels.astype(np.int32)}


class StarDistBlocks:
    """StarDist's ``predict_instances_big``.

    Its rule is that blocks overlap by more than the largest cell, which is taken from the true cells here, and that the
    context is its own estimate. Where a block has no room for both, or its cover refuses them, the context is less.

    Args:
        checkpoint: a model's folder.
        threads: of TensorFlow.
    """

    def __init__(self, checkpoint: str, threads: int) -> None:
        self.model = peer_models.StarDist(checkpoint, threads).model

    def whole(self, picture: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
        """Return the cells of a picture (H, W) uint8."""
        del truth
        return _labelled(*self.model.predict_instances(_normalized(picture)))

    def tiles(self, picture: np.ndarray, truth: np.ndarray, side: int) -> dict[str, Any]:
        """Return the cells of a picture in blocks of ``side`` pixels."""
        step = max(self.model._axes_div_by("YX"))  # it rounds all up to it
        block = [min(side, length) // step * step for length in picture.shape]
        overlap = min(largest_side_px(truth) + step, min(block) // 2)
        estimate = max(self.model._axes_tile_overlap("YX"))
        overlap = max(step, overlap // step * step)
        context = max(0, min(estimate, (min(block) - overlap - 1) // 2))
        for less in range(0, context + 1, step):
            try:
                found = self.model.predict_instances_big(
                    _normalized(picture),
                    axes="YX",
                    block_size=block,
                    min_overlap=overlap,
                    context=(context - less) // step * step,
                    show_progress=False,
                )
            except AssertionError:  # its cover has no such blocks
                continue
            return _labelled(*found)
        raise RuntimeError(f"StarDist has no blocks of {block} pixels that overlap by {overlap}")


def largest_side_px(truth: np.ndarray) -> int:
    """Return the longest side of the boxes of a label map's cells."""
    ids, rows, columns = truth[truth > 0], *np.nonzero(truth)
    longest = 0
    for values in (rows, columns):
        first = np.full(int(truth.max(initial=0)) + 1, truth.size)
        last = np.full(len(first), -1)
        np.minimum.at(first, ids, values)
        np.maximum.at(last, ids, values)
        longest = max(longest, int((last - first + 1).max(initial=0)))
    return longest


def _normalized(picture: np.ndarray) -> np.ndarray:
    from csbdeep.utils import normalize

    return normalize(picture, 1, 99.8)


def _labelled(labels: np.ndarray, details: dict[str, Any]) -> dict[str, Any]:
    return {"label_map": labels.astype(np.int32), "scores": np.asarray(details["prob"])}
