"""Groups of images of one source, told from their pixels, where a data set does not say which belong together.

Public sets of images are often cut from larger fields and hold several fields of one plate. A model that was trained on
one piece of a field has seen the other: scores on it are too good. So images are joined

1. where they are pieces of one field: an edge of one goes on in the opposite edge of the other (`seams`), or they show
   the same over a fifth of their area or more (`overlaps`);
2. where they look like one plate: the same size and modality, and gray levels and colours that differ little
   (`similar_looks`, complete linkage, so that a chain of small differences does not join what differs).

All of it is deterministic, and compares images with each other only, so a group does not depend on the order of the
images. Pieces that are turned, enlarged, of other sizes and without a common edge are not recognized.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
import scipy.fft
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from cellseg_mmdet.converters.modality import modality_of
from cellseg_mmdet.images import Image
from cellseg_mmdet.images.intensity import to_bgr8
from cellseg_mmdet.progress import parallel_map
from cellseg_mmdet.structures import ImageRecord

Pair = tuple[int, int]

# These numbers rest on the 664 images of DSB2018, where they find 72 fields in four pieces, 40 in two, 17 in three and
# 13 in five to twelve. Of the 367 pairs of edges whose values correlate by more than 0.98 all but two go on without a
# step; of those below 0.9 few do.
_SEAM_CORRELATION = 0.95
_SEAM_STEP = 2.0  # times the mean difference between the lines beside the seam

_DETAIL_PX = 128  # shorter side of the picture that overlaps are verified on, about
# Of 200 pairs of windows, cut from those images so that they share a quarter or more, these numbers find 197; of the
# 70,000 pairs of images of one size they find five, of which one is none to the eye.
_PEAK_SIGMA = 6.0  # of the phase correlation, for an overlap to be looked at
_OVERLAP_CORRELATION = 0.7
_OVERLAP_SHARE = 0.2  # less is shared by chance: two blobs suffice

_LOOK_PERCENTS = (1, 10, 25, 50, 75, 90, 99)
_LOOK_DISTANCE = 0.1  # between the most different fields of a group; gray levels are 0 to 1


@dataclass(frozen=True)
class Look:
    """What is kept of a picture, to be compared with others.

    Attributes:
        size_hw: of the picture, in pixels.
        modality: as `modality_of` tells.
        edges: the outermost and the next line of gray levels at the top, bottom, left and right, uint8 (2, length).
        detail: the ranks of gray levels, 0 to 255, of the picture reduced by a whole number, so that its shorter side
            is about 128, uint8. By ranks the texture of a dark background counts, and not only one nucleus in it.
        levels: percentiles of gray, mean colour and saturation, (11,) float64, 0 to 1.
    """

    size_hw: tuple[int, int]
    modality: str
    edges: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    detail: np.ndarray
    levels: np.ndarray


def look_of(image: Image) -> Look:
    """Return what `group_looks` compares.

    Example:
        >>> from cellseg_mmdet.images import read_image
        >>> look_of(read_image(np.zeros((256, 320), np.uint8))).detail.shape
        (128, 160)
    """
    bgr = to_bgr8(image)
    gray: np.ndarray = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    height, width = gray.shape
    edges = gray[:2], gray[::-1][:2], gray.T[:2], gray.T[::-1][:2]
    means = np.array(cv2.mean(bgr)[:3])
    blue, green, red = cv2.split(bgr)
    most, least = cv2.max(cv2.max(blue, green), red), cv2.min(cv2.min(blue, green), red)
    saturation = cv2.mean(cv2.subtract(most, least))[0]
    levels = np.array([*np.percentile(gray, _LOOK_PERCENTS), *(means - means.mean()), saturation])
    return Look(
        (height, width),
        modality_of(image),
        tuple(np.ascontiguousarray(edge) for edge in edges),  # type: ignore[arg-type]
        _ranks(_reduced(gray, max(1, round(min(height, width) / _DETAIL_PX)))),
        levels / 255,
    )


def group_records(
    records: Sequence[ImageRecord],
    paths: Sequence[str],
    read: Callable[[str], Image],
    *,
    workers: int | None = None,
) -> list[ImageRecord]:
    """Return the records with ``group`` set to the name of their source.

    Args:
        records: of one data set, in any order.
        paths: where the picture of each record is.
        read: picklable function that returns the picture at a path.
        workers: processes; by default one per core.

    Raises:
        OSError, ImageError: a picture cannot be read.
    """
    task = partial(_look_of_file, read=read)
    looks = parallel_map(task, paths, description="compare", workers=workers)
    groups = group_looks(looks, [record.file_name for record in records])
    return [replace(record, group=group) for record, group in zip(records, groups, strict=True)]


def group_looks(looks: Sequence[Look], names: Sequence[str]) -> list[str]:
    """Return the name of the group of every picture, such as ``256x320 stained 3``.

    The number counts the groups of a size and modality in the order of the least of their pictures' ``names``, which
    are one a picture and no two the same.
    """
    if not looks:
        return []
    order = sorted(range(len(looks)), key=names.__getitem__)
    ordered = [looks[index] for index in order]
    fields = _components(len(ordered), [*seams(ordered), *overlaps(ordered)])
    numbers = _components(len(ordered), [*_chains(fields), *similar_looks(ordered, fields)])
    named: dict[int, str] = {}
    counts: dict[str, int] = {}
    groups = [""] * len(looks)
    for position, number in enumerate(numbers):
        if number not in named:
            look = ordered[position]
            kind = f"{look.size_hw[0]}x{look.size_hw[1]} {look.modality}"
            counts[kind] = counts.get(kind, 0) + 1
            named[number] = f"{kind} {counts[kind]}"
        groups[order[position]] = named[number]
    return groups


def seams(looks: Sequence[Look]) -> list[Pair]:
    """Return the pairs of pictures of which one goes on where the other ends.

    The edge lines of both correlate, and the step between them is not much larger than that from line to line beside
    the seam. Pictures may differ in their other side.
    """
    found: list[Pair] = []
    for end, begin in ((1, 0), (3, 2)):  # bottom to top, right to left
        lengths = np.array([look.edges[end].shape[1] for look in looks])
        for length in np.unique(lengths):
            members = np.flatnonzero(lengths == length)
            lasts = np.stack([looks[i].edges[end] for i in members]).astype(np.float32)
            firsts = np.stack([looks[i].edges[begin] for i in members]).astype(np.float32)
            alike = _normed(lasts[:, 0]) @ _normed(firsts[:, 0]).T
            steps_last = np.abs(lasts[:, 0] - lasts[:, 1]).mean(axis=1)
            steps_first = np.abs(firsts[:, 0] - firsts[:, 1]).mean(axis=1)
            for a, b in zip(*np.nonzero(alike >= _SEAM_CORRELATION), strict=True):
                step = np.abs(lasts[a, 0] - firsts[b, 0]).mean()
                if a != b and step <= _SEAM_STEP * (steps_last[a] + steps_first[b]) / 2:
                    found.append((int(members[a]), int(members[b])))
    return found


def overlaps(looks: Sequence[Look]) -> list[Pair]:
    """Return the pairs of pictures of one size that show the same, shifted or not, over a fifth of their area or more.

    Shifts are found by phase correlation (Kuglin and Hines, 1975) of small pictures and verified on larger ones.
    """
    found: list[Pair] = []
    by_size: dict[tuple[int, int], list[int]] = {}
    for index, look in enumerate(looks):
        by_size.setdefault(look.size_hw, []).append(index)
    for members in by_size.values():
        details = [looks[index].detail for index in members]
        for a, b, shift_yx in _likely_shifts(details):
            if _is_overlap(details[a], details[b], shift_yx):
                found.append((members[a], members[b]))
    return found


def similar_looks(looks: Sequence[Look], fields: np.ndarray) -> list[Pair]:
    """Return pairs that join the fields, given as their number for each picture, of one plate.

    Fields of one size and modality, those of their first pictures, are clustered by the mean of their levels.
    """
    first: dict[int, int] = {}
    for index, number in enumerate(fields.tolist()):
        first.setdefault(number, index)
    kinds: dict[tuple[object, ...], list[int]] = {}
    for number, index in first.items():
        kinds.setdefault((looks[index].size_hw, looks[index].modality), []).append(number)
    levels = np.array([look.levels for look in looks])
    pairs: list[Pair] = []
    for numbers in kinds.values():
        if len(numbers) < 2:
            continue
        means = np.array([levels[fields == number].mean(axis=0) for number in numbers])
        clusters = fcluster(linkage(means, "complete"), _LOOK_DISTANCE, "distance")
        members = np.array([first[number] for number in numbers])
        for cluster in np.unique(clusters):
            pairs += pairwise(members[clusters == cluster].tolist())
    return pairs


def _look_of_file(path: str, *, read: Callable[[str], Image]) -> Look:
    return look_of(read(path))


def _likely_shifts(details: Sequence[np.ndarray]) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Yield pairs (a, b) and by how much of a detail's pixels b has to move to lie on a, as far as that is a guess."""
    small = np.stack([_reduced(detail, 2) for detail in details]).astype(np.float32)
    height, width = small.shape[1:]
    # Without a window the edges, which do not meet, are what correlates best: at no shift.
    window = np.outer(np.sin(np.pi * (np.arange(height) + 0.5) / height), np.ones(width))
    window *= np.sin(np.pi * (np.arange(width) + 0.5) / width)
    spectra = scipy.fft.rfft2((small - small.mean(axis=(1, 2), keepdims=True)) * window)
    sizes = np.abs(spectra)
    # Frequencies that a picture has hardly anything of are noise, and would count as much as the others.
    spectra /= sizes + 0.1 * sizes.mean(axis=(1, 2), keepdims=True) + 1e-6
    for a in range(len(details) - 1):
        products = spectra[a] * spectra[a + 1 :].conj()
        surfaces = scipy.fft.irfft2(products, s=(height, width)).reshape(len(products), -1)
        peaks = surfaces.argmax(axis=1)
        heights = surfaces[np.arange(len(peaks)), peaks]
        for other in np.flatnonzero(heights > _PEAK_SIGMA * (surfaces.std(axis=1) + 1e-12)):
            y, x = divmod(int(peaks[other]), width)
            for dy in (y, y - height):
                for dx in (x, x - width):
                    yield a, a + 1 + int(other), (2 * dy, 2 * dx)


def _is_overlap(a: np.ndarray, b: np.ndarray, shift_yx: tuple[int, int]) -> bool:
    """Tell whether ``b`` moved by about the shift shows what ``a`` shows."""
    (height, width), (dy, dx), slack = a.shape, shift_yx, 2
    rows = slice(max(dy, 0) + slack, height + min(dy, 0) - slack)
    columns = slice(max(dx, 0) + slack, width + min(dx, 0) - slack)
    if (rows.stop - rows.start) * (columns.stop - columns.start) < _OVERLAP_SHARE * a.size:
        return False
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return False
    pattern = b[
        rows.start - dy : rows.stop - dy,
        columns.start - dx : columns.stop - dx,
    ]
    around = a[
        rows.start - slack : rows.stop + slack,
        columns.start - slack : columns.stop + slack,
    ]
    if pattern.std() < 1:  # nothing to see; two empty fields are not one
        return False
    alike = cv2.matchTemplate(around, pattern, cv2.TM_CCOEFF_NORMED)
    return bool(alike.max() >= _OVERLAP_CORRELATION)


def _reduced(gray: np.ndarray, factor: int) -> np.ndarray:
    height, width = (max(1, side // factor) for side in gray.shape)
    whole = gray[: height * factor, : width * factor]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def _ranks(gray: np.ndarray) -> np.ndarray:
    """Return the share of pixels that are darker, and half of those that are equal, times 255."""
    counts = np.bincount(gray.ravel(), minlength=256)
    middles = np.cumsum(counts) - counts / 2
    return (middles * (255 / gray.size)).astype(np.uint8)[gray]


def _normed(lines: np.ndarray) -> np.ndarray:
    """Return lines (N, length) of mean 0 and length 1, those of one value 0."""
    centred = lines - lines.mean(axis=1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)


def _components(num: int, pairs: Sequence[Pair]) -> np.ndarray:
    """Return the number of the connected component of each of ``num`` nodes, (num,) int32."""
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(num, num))
    return connected_components(graph, directed=False)[1]


def _chains(fields: np.ndarray) -> Iterator[Pair]:
    """Yield pairs that join the pictures of each field."""
    for number in np.unique(fields):
        yield from pairwise(np.flatnonzero(fields == number).tolist())
