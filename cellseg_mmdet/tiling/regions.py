"""Cells of large maps, decoded region by region: those that decoding all at once gives, bit for bit.

Regions are the connected parts of the foreground, and each is decoded from its own pixels alone (see `PixelCode`). They
are found in bands of rows, and decoded in windows that hold whole ones. A region that is too large for the memory is
decoded in windows that overlap, which is near and not equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.models.pixel import PixelDetector
from cellseg_mmdet.models.pixel.detector import SOFT_MASK_SHAPE, PixelCells
from cellseg_mmdet.pixel_codes.regions import connected_parts
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.tiling.cover import Rect
from cellseg_mmdet.tiling.fallback import predict_with_overlap
from cellseg_mmdet.tiling.merge import first_pixels, joined, placed
from cellseg_mmdet.tiling.sized_maps import SizedMaps

BAND_PIXELS = 1 << 22
_SMALLEST_TILE = 64  # of regions that are decoded in windows that overlap
BLOCK = 1024  # pixels; regions that begin in one block are decoded together


@dataclass(frozen=True, eq=False)
class Regions:
    """R connected parts of the foreground of a picture.

    Attributes:
        first: (R,) int64, the first pixel of each in reading order, ``y * width + x``, rising.
        boxes: (R, 4) int64 as (y0, x0, y1, x1), ends exclusive.
        of_part: (P,) int64, region of each part of each band that they were found in, in the order of the bands.
    """

    first: np.ndarray
    boxes: np.ndarray
    of_part: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


def decode_by_region(
    detector: PixelDetector,
    maps: SizedMaps,
    *,
    block: int = BLOCK,
    band_pixels: int = BAND_PIXELS,
    most_px: float = np.inf,
    notes: list[str] | None = None,
) -> PixelCells:
    """Return what ``detector.decoded`` returns of all maps at once.

    Memory grows with the largest region, not with the picture, up to windows of ``most_px``.

    Args:
        detector: with its code.
        maps: at the size of the picture.
        block: side in pixels of the squares whose regions are decoded together; the result does not depend on it.
        band_pixels: pixels of a band of rows that regions are looked for in; nor on this.
        most_px: pixels that are decoded together at most. Regions whose window has more are decoded in windows that
            overlap, see `predict_with_overlap`.
        notes: gets what users should know of that.

    Raises:
        DataError: a map has values that are not finite.
    """
    height, width = maps.size_hw
    regions = find_regions(detector, maps, band_pixels)
    masks: list[Runs] = []
    keys: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    scores: list[np.ndarray] = [np.zeros(0, dtype=np.float32)]
    labels: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    sides = regions.boxes[:, 2:] - regions.boxes[:, :2] + 2
    is_large = sides.prod(axis=1) > most_px
    if is_large.any():
        large = _decoded_overlapping(detector, maps, regions, is_large, band_pixels, most_px, notes)
        keys.append(first_pixels(large.masks))
        masks.append(large.masks)
        scores.append(large.scores)
        labels.append(large.labels)
    whole = np.flatnonzero(~is_large)
    for window, members in _windows(regions.boxes[whole], (height, width), block):
        cells = detector.decoded(maps.read(*window), soft_masks=False)
        inside = first_pixels(cells.masks)
        kept = _is_of(detector, maps, window, inside, regions.first[whole[members]])
        y, x = np.divmod(inside[kept], window.width)
        keys.append((y + window.y0) * width + x + window.x0)
        masks.append(placed(cells.masks[kept], window.y0, window.x0, (height, width)))
        scores.append(cells.scores[kept])
        labels.append(cells.labels[kept])
    order = np.argsort(np.concatenate(keys), kind="stable")
    found = PixelCells(
        joined(masks, (height, width))[order],
        np.concatenate(scores)[order],
        np.concatenate(labels)[order],
    )
    if detector.soft_masks:
        return replace(found, soft_masks=_soft_masks(detector, maps, found.masks, block))
    return found


def _soft_masks(detector: PixelDetector, maps: SizedMaps, masks: Runs, block: int) -> np.ndarray:
    """Return the soft masks of all cells, which are 0 in the pixels of others, of whichever region."""
    boxes = masks.boxes
    in_yx = boxes[:, [1, 0, 3, 2]]
    found = np.zeros((len(masks), *SOFT_MASK_SHAPE), dtype=np.uint8)
    for window, members in _windows(in_yx, maps.size_hw, block):
        y0, x0, y1, x1 = window
        meets = (in_yx[:, 0] < y1) & (in_yx[:, 2] > y0) & (in_yx[:, 1] < x1) & (in_yx[:, 3] > x0)
        meets[members] = False
        shown = np.concatenate([members, np.flatnonzero(meets)])
        label_map = masks[shown].cropped(x0, y0, x1, y1).to_label_map()
        found[members] = detector.cut_soft_masks(
            maps.read(*window), label_map, boxes[members] - [x0, y0, x0, y0]
        )
    return found


def _decoded_overlapping(
    detector: PixelDetector,
    maps: SizedMaps,
    regions: Regions,
    is_large: np.ndarray,
    band_pixels: int,
    most_px: float,
    notes: list[str] | None,
) -> PixelCells:
    """Return the cells of some regions, decoded in windows that overlap; their masks are of the picture."""
    boxes = regions.boxes[is_large]
    low = np.maximum(boxes[:, :2].min(axis=0) - 1, 0)
    high = np.minimum(boxes[:, 2:].max(axis=0) + 1, maps.size_hw)
    outer = Rect(*map(int, [*low, *high]))

    def predict(window: Rect) -> ImagePrediction:
        y0, x0 = window.y0 + outer.y0, window.x0 + outer.x0
        cells = detector.decoded(
            maps.read(y0, x0, y0 + window.height, x0 + window.width), soft_masks=False
        )
        size = window.height, window.width
        return ImagePrediction(
            "window", None, *size, cells.masks.boxes, cells.scores, cells.labels, cells.masks
        )

    # With as much again around it for cells that go on beyond it.
    tile = max(_SMALLEST_TILE, int(most_px**0.5) // 2)
    found = predict_with_overlap(predict, (outer.height, outer.width), tile, most_px=most_px)
    if notes is not None:
        notes.append(
            f"a region of the foreground, {outer.height:,} x {outer.width:,} pixels, would not fit the memory; "
            + "; ".join(found.notes())
        )
    masks = placed(found.prediction.masks, outer.y0, outer.x0, maps.size_hw)
    region = _regions_of(detector, maps, regions, band_pixels, first_pixels(masks))
    own = np.flatnonzero(is_large[region])
    return PixelCells(masks[own], found.prediction.scores[own], found.prediction.labels[own])


def _regions_of(
    detector: PixelDetector,
    maps: SizedMaps,
    regions: Regions,
    band_pixels: int,
    pixels: np.ndarray,
) -> np.ndarray:
    """Return the region (N,) of pixels of the picture, ``y * width + x``, that are foreground."""
    found = np.zeros(len(pixels), dtype=np.int64)
    width = maps.size_hw[1]
    count = 0
    for y0, labels, num_labels in _bands(detector, maps, band_pixels):
        begin = y0 * width
        here = np.flatnonzero((pixels >= begin) & (pixels < begin + labels.size))
        found[here] = regions.of_part[count + labels.ravel()[pixels[here] - begin] - 1]
        count += num_labels
    return found


def _bands(
    detector: PixelDetector, maps: SizedMaps, band_pixels: int
) -> Iterator[tuple[int, np.ndarray, int]]:
    """Yield the first row of each band of rows, the labels of its parts of the foreground, and their number."""
    height, width = maps.size_hw
    rows = max(1, band_pixels // width)
    for y0 in range(0, height, rows):
        band = maps.read(y0, 0, min(y0 + rows, height), width, maps=detector.code.channels)
        yield y0, *connected_parts(detector.code.foreground(band))


def find_regions(detector: PixelDetector, maps: SizedMaps, band_pixels: int) -> Regions:
    """Return the regions of a picture, found band by band of whole rows."""
    width = maps.size_hw[1]
    firsts, boxes, pairs = [], [], []
    count = 0
    above: np.ndarray = np.zeros(width, dtype=np.int64)
    for y0, labels, num_labels in _bands(detector, maps, band_pixels):
        places = ndimage.find_objects(labels, max_label=num_labels)
        boxes.append(
            np.array(
                [(y0 + y.start, x.start, y0 + y.stop, x.stop) for y, x in places], dtype=np.int64
            ).reshape(-1, 4)
        )
        firsts.append(_first_of_parts(labels) + y0 * width)
        top = np.where(labels[0] > 0, labels[0] + count, 0).astype(np.int64)
        pairs.append(_touching(above, top))
        above = np.where(labels[-1] > 0, labels[-1] + count, 0).astype(np.int64)
        count += num_labels
    return _united(np.concatenate(firsts), np.concatenate(boxes), np.concatenate(pairs) - 1)


def _windows(
    boxes: np.ndarray, size_hw: tuple[int, int], block: int
) -> Iterator[tuple[Rect, np.ndarray]]:
    """Yield windows with the numbers of the boxes (N, 4) yxyx that are worked on in each; every box is in one.

    A window has one pixel more than its boxes on each side, where the picture has it.
    """
    if not len(boxes):
        return
    y0, x0, y1, x1 = boxes.T
    is_large = np.maximum(y1 - y0, x1 - x0) > block
    columns = -(-size_hw[1] // block)
    group = (y0 // block) * columns + x0 // block
    # Each large one by itself, behind all groups.
    group[is_large] = group.max() + 1 + np.arange(np.count_nonzero(is_large))
    order = np.argsort(group, kind="stable")
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    for begin, end in zip(begins, [*begins[1:], len(order)], strict=True):
        members = order[begin:end]
        low = np.maximum(boxes[members, :2].min(axis=0) - 1, 0)
        high = np.minimum(boxes[members, 2:].max(axis=0) + 1, size_hw)
        yield Rect(*map(int, [*low, *high])), members


def _first_of_parts(labels: np.ndarray) -> np.ndarray:
    """Return the first pixel of each part; they are numbered by it."""
    highest = np.maximum.accumulate(labels.ravel())
    return np.flatnonzero(np.diff(highest, prepend=0)).astype(np.int64)


def _touching(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return pairs (P, 2) of labels in two rows that share an edge or a corner."""
    found = []
    for shift in (-1, 0, 1):
        upper = above[max(0, -shift) : len(above) - max(0, shift)]
        lower = below[max(0, shift) : len(below) - max(0, -shift)]
        both = (upper > 0) & (lower > 0)
        found.append(np.stack([upper[both], lower[both]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _united(first: np.ndarray, boxes: np.ndarray, pairs: np.ndarray) -> Regions:
    """Join the parts that touch; (P, 2) numbers from 0 on."""
    parents = np.arange(len(first))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for one, other in pairs.tolist():
        ends = root(one), root(other)
        parents[max(ends)] = min(ends)
    if len(pairs):
        for number in np.flatnonzero(parents != np.arange(len(parents))).tolist():
            parents[number] = root(number)
    roots, group = np.unique(parents, return_inverse=True)
    low: np.ndarray = boxes[roots, :2]
    high: np.ndarray = boxes[roots, 2:]
    np.minimum.at(low, group, boxes[:, :2])
    np.maximum.at(high, group, boxes[:, 2:])
    earliest = first[
        roots
    ]  # the root is the least number: in an earlier band, or the first of its own
    np.minimum.at(earliest, group, first)
    order = np.argsort(earliest, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return Regions(earliest[order], np.hstack([low, high])[order], rank[group])


def _is_of(
    detector: PixelDetector, maps: SizedMaps, window: Rect, pixels: np.ndarray, first: np.ndarray
) -> np.ndarray:
    """Return which pixels of a window (N,) are of the regions with these first pixels of the picture."""
    band = maps.read(*window, maps=detector.code.channels)
    parts, _ = connected_parts(detector.code.foreground(band))
    y, x = np.divmod(_first_of_parts(parts), window.width)
    of_picture = (y + window.y0) * maps.size_hw[1] + x + window.x0
    is_ours = np.concatenate([[False], np.isin(of_picture, first)])
    return is_ours[parts.ravel()[pixels]]
