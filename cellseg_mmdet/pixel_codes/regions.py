"""Connected parts of label maps, and what is summed over them."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.kernels import kernel


def connected_parts(label_map: np.ndarray, *, diagonal: bool = True) -> tuple[np.ndarray, int]:
    """Number the connected parts of equal label from 1 on, by their first pixel in reading order.

    Args:
        label_map: (H, W) int or bool, 0 for background.
        diagonal: pixels that share a corner are connected too.

    Returns:
        (H, W) int32, and how many parts there are.

    Example:
        >>> connected_parts(np.array([[7, 7, 0], [5, 0, 0], [5, 0, 7]]))[0]
        array([[1, 1, 0],
               [2, 0, 0],
               [2, 0, 3]], dtype=int32)
    """
    parts = np.zeros(label_map.shape, dtype=np.int32)
    count = _connect(np.ascontiguousarray(label_map, dtype=np.int32), diagonal, parts)
    return parts, count


def sort_pixels(parts: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """List the pixels of each part.

    Args:
        parts: (H, W) int32, 0 for background and parts up to ``count``.
        count: of parts.

    Returns:
        Flat indices of the pixels (P,) int64, part by part and in reading order within each; and offsets
        (count + 1,) int64: part i + 1 owns ``pixels[offsets[i]:offsets[i + 1]]``.
    """
    return _sort(parts.ravel(), count)


def renumbered(labels: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return a label map without the labels that are not kept, the others numbered from 1 on in their order.

    Args:
        labels: (H, W) int32, 0 for background and labels up to N.
        kept: (N,) bool, of label i + 1.
    """
    table = np.zeros(len(kept) + 1, dtype=np.int32)
    table[1:] = np.where(kept, np.cumsum(kept), 0)
    return table[labels]


def in_several(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return for each of P pixels whether those of its label are in several of ``others``, (P,) bool.

    Example:
        >>> in_several(np.array([1, 1, 2, 2]), np.array([5, 6, 7, 7]))
        array([ True,  True, False, False])
    """
    lowest = np.full(int(labels.max()) + 1, np.iinfo(np.int32).max, dtype=np.int32)
    highest = np.zeros(len(lowest), dtype=np.int32)
    np.minimum.at(lowest, labels, others)
    np.maximum.at(highest, labels, others)
    return (lowest < highest)[labels]


@kernel
def _connect(labels: np.ndarray, diagonal: bool, parts: np.ndarray) -> int:
    """Union-find; the root is the least number, and so the first in reading order."""
    height, width = labels.shape
    parents = np.empty(height * width // 2 + 2, np.int32)
    parents[0] = 0
    count = 0
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label == 0:
                continue
            root = 0
            if x > 0 and labels[y, x - 1] == label:
                root = _root(parents, parts[y, x - 1])
            if y > 0:
                for step in range(-1, 2):
                    if (step != 0 and not diagonal) or x + step < 0 or x + step >= width:
                        continue
                    if labels[y - 1, x + step] == label:
                        other = _root(parents, parts[y - 1, x + step])
                        if root == 0 or root == other:
                            root = other
                        else:
                            low, high = min(root, other), max(root, other)
                            parents[high] = low
                            root = low
            if root == 0:
                count += 1
                if count == parents.size:
                    larger = np.empty(2 * count, np.int32)
                    for part in range(count):
                        larger[part] = parents[part]
                    parents = larger
                parents[count] = count
                root = count
            parts[y, x] = root
    numbers = np.zeros(count + 1, np.int32)
    total = 0
    for part in range(1, count + 1):
        root = _root(parents, np.int32(part))
        if root == part:
            total += 1
            numbers[part] = total
        else:
            numbers[part] = numbers[root]
    for y in range(height):
        for x in range(width):
            parts[y, x] = numbers[parts[y, x]]
    return total


@kernel
def _root(parents: np.ndarray, part: int) -> int:
    while parents[part] != part:
        parents[part] = parents[parents[part]]
        part = parents[part]
    return part


@kernel
def _sort(parts: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.zeros(count + 2, np.int64)
    for place in range(parts.size):
        offsets[parts[place] + 1] += 1
    offsets[1] = 0
    for part in range(count):
        offsets[part + 2] += offsets[part + 1]
    ends = offsets[1:].copy()
    pixels = np.empty(offsets[count + 1], np.int64)
    for place in range(parts.size):
        part = parts[place]
        if part > 0:
            pixels[ends[part - 1]] = place
            ends[part - 1] += 1
    return pixels, offsets[1:].copy()
