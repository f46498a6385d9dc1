"""`Runs`: the masks of all instances of one image as runs of pixels.

Every codec of this project meets here: competition strings, COCO RLE, label maps. A cell of a few hundred pixels
is some twenty runs, so nothing ever builds an H x W mask per instance, and every operation treats all instances at
once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cellseg_mmdet.errors import MaskError
from cellseg_mmdet.masks import coco_counts, rle_strings
from cellseg_mmdet.masks.ragged import (
    offsets_from_lengths,
    ragged_arange,
    segment_ids,
    segment_reduce,
    segment_sums,
)

PixelOrder = Literal["row", "column"]

# What is done pixel by pixel takes 100 bytes each: the masks of an image may overlap, and come to any number of them.
_MAX_PIXELS = 1 << 19


@dataclass(frozen=True, eq=False)
class Runs:
    """N masks of one image. Pixels are numbered down the columns (COCO's order): index = x * height + y.

    Runs of an instance are sorted, do not overlap and do not touch each other; instances may overlap, and may be empty.

    Attributes:
        starts: (R,) int64, 0-based index of the first pixel of each run.
        lengths: (R,) int64, pixels of each run, at least 1.
        offsets: (N + 1,) int64, instance ``i`` owns runs ``offsets[i]:offsets[i + 1]``.
        height: image height in pixels.
        width: image width in pixels.

    Example:
        >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2], [1, 0, 0, 2]]))
        >>> masks
        Runs(2 instances, 2 runs, height=2, width=4)
        >>> masks.areas, masks.boxes.tolist()
        (array([3, 2]), [[0, 0, 2, 2], [3, 0, 4, 2]])
        >>> masks.to_strings(order="row")
        ['1 2 5 1', '4 1 8 1']
        >>> masks[masks.areas > 2].to_coco(text=True)
        [{'size': [2, 4], 'counts': '035'}]
    """

    starts: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Runs):
            return NotImplemented
        return (self.height, self.width) == (other.height, other.width) and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("starts", "lengths", "offsets")
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Runs({len(self)} instances, {len(self.starts)} runs, height={self.height}, width={self.width})"

    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> Runs:
        """Select instances by slice, integer array or boolean array; the order given is kept."""
        chosen = np.atleast_1d(np.arange(len(self))[index])
        num_runs = np.diff(self.offsets)[chosen]
        taken = ragged_arange(self.offsets[chosen], num_runs)
        return Runs(
            self.starts[taken],
            self.lengths[taken],
            offsets_from_lengths(num_runs),
            self.height,
            self.width,
        )

    # ---------------------------------------------------------------- measures

    @property
    def areas(self) -> np.ndarray:
        """Pixels of each instance, (N,) int64."""
        return segment_sums(self.lengths, self.offsets)

    @property
    def boxes(self) -> np.ndarray:
        """Tight boxes (N, 4) int64 as (x1, y1, x2, y2) in pixels, x2 and y2 one past the last; zeros where empty."""
        x1, y1 = np.divmod(self.starts, max(self.height, 1))
        x2, y2 = np.divmod(self.starts + self.lengths - 1, max(self.height, 1))
        wraps = x1 != x2  # such a run reaches the bottom of one column and the top of the next
        y1, y2 = np.where(wraps, 0, y1), np.where(wraps, self.height - 1, y2)
        columns = [segment_reduce(np.minimum, low, self.offsets) for low in (x1, y1)]
        columns += [segment_reduce(np.maximum, high + 1, self.offsets) for high in (x2, y2)]
        return np.stack(columns, axis=1)

    # ---------------------------------------------------------------- pixels

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the index of every foreground pixel and its instance, both (P,) int64, instance by instance."""
        owner = np.repeat(segment_ids(self.offsets), self.lengths)
        return ragged_arange(self.starts, self.lengths), owner

    @classmethod
    def from_pixels(
        cls, pixels: np.ndarray, instances: np.ndarray, num_instances: int, height: int, width: int
    ) -> Runs:
        """Build from pixel indices (P,) and the instance of each (P,), in any order; repeated pixels count once."""
        # One past the image keeps the last pixel of an instance apart from the first pixel of the next.
        stride = height * width + 1
        keys = np.asarray(instances, dtype=np.int64) * stride + np.asarray(pixels, dtype=np.int64)
        keys = np.unique(keys) if (np.diff(keys) <= 0).any() else keys
        begins = np.flatnonzero(np.diff(keys, prepend=-2) != 1)
        lengths = np.diff(begins, append=len(keys))
        owner, starts = np.divmod(keys[begins], stride)
        offsets = offsets_from_lengths(np.bincount(owner, minlength=num_instances))
        return cls(starts, lengths, offsets, height, width)

    # ---------------------------------------------------------------- competition strings

    @classmethod
    def from_strings(
        cls, texts: Sequence[str], height: int, width: int, *, order: PixelOrder, clip: bool = False
    ) -> Runs:
        """Read ``start length`` strings, one per instance; ``order`` is 'row' for Sartorius, 'column' for DSB2018.

        With ``clip``, pixels past the end of the image are cut off instead of refused.

        Raises:
            MaskError: for a malformed string, naming instance, pair and cause (see `rle_strings.parse_rle_string`).
        """
        _check_order(order)
        starts, lengths, offsets = rle_strings.parse_rle_strings(texts, height * width, clip=clip)
        return cls._from_competition(starts, lengths, offsets, height, width, order)

    @classmethod
    def from_each_string(
        cls, texts: Sequence[str], height: int, width: int, *, order: PixelOrder, clip: bool = False
    ) -> tuple[Runs, dict[int, str]]:
        """Read the well-formed strings as `from_strings` does, and return the cause for each other one by its index."""
        _check_order(order)
        starts, lengths, offsets, faults = rle_strings.parse_each_rle_string(
            texts, height * width, clip=clip
        )
        return cls._from_competition(starts, lengths, offsets, height, width, order), faults

    @classmethod
    def _from_competition(
        cls,
        starts: np.ndarray,
        lengths: np.ndarray,
        offsets: np.ndarray,
        height: int,
        width: int,
        order: PixelOrder,
    ) -> Runs:
        if order == "row":
            # Row-major runs of an image are the column-major runs of its transpose.
            return cls(starts, lengths, offsets, width, height).transposed()
        return cls.from_sorted(starts, lengths, offsets, height, width)

    def to_strings(self, *, order: PixelOrder) -> list[str]:
        """Write one ``start length`` string per instance, with runs as long as they can be; '' where empty."""
        _check_order(order)
        runs = self.transposed() if order == "row" else self
        return rle_strings.format_rle_strings(runs.starts, runs.lengths, runs.offsets)

    def transposed(self) -> Runs:
        """Return the masks of the transposed image (rows and columns exchanged)."""
        parts = [part._transposed_pixels() for part in self.split()]
        return parts[0] if len(parts) == 1 else Runs.concatenate(parts)

    def split(self, max_pixels: int | None = None) -> Iterator[Runs]:
        """Yield parts of whole instances of at most so many pixels, or of one instance; one part at least."""
        max_pixels = _MAX_PIXELS if max_pixels is None else max_pixels
        if len(self) <= 1 or int(self.lengths.sum()) <= max_pixels:
            yield self
            return
        ends = np.cumsum(self.areas)
        begin = 0
        while begin < len(self):
            before = ends[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(ends, before + max_pixels, side="right")))
            yield self[begin:end]
            begin = end

    def _transposed_pixels(self) -> Runs:
        pixels, owner = self.pixels()
        x, y = np.divmod(pixels, max(self.height, 1))
        return Runs.from_pixels(y * self.width + x, owner, len(self), self.width, self.height)

    def cropped(self, x1: int, y1: int, x2: int, y2: int) -> Runs:
        """Return the masks inside the window (x2 and y2 exclusive) as masks of an image of the window's size.

        Raises:
            ValueError: if the window is empty or reaches beyond the image.
        """
        if not (0 <= x1 < x2 <= self.width and 0 <= y1 < y2 <= self.height):
            raise ValueError(
                f"window {(x1, y1, x2, y2)} is not inside an image of {self.height} x {self.width}"
            )
        pixels, owner = self.pixels()
        x, y = np.divmod(pixels, self.height)
        inside = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
        pixels = (x[inside] - x1) * (y2 - y1) + y[inside] - y1
        return Runs.from_pixels(pixels, owner[inside], len(self), y2 - y1, x2 - x1)

    # ---------------------------------------------------------------- COCO RLE

    @classmethod
    def from_coco(
        cls, rles: Sequence[Mapping[str, Any]], height: int | None = None, width: int | None = None
    ) -> Runs:
        """Read COCO RLEs ``{'size': [height, width], 'counts': ...}``, compressed (bytes, str) or a list of counts.

        ``height`` and ``width`` are needed where ``rles`` may be empty, and are checked otherwise.

        Raises:
            MaskError: for what is no RLE, a size that differs, counts that do not add up to it, or a malformed counts
                string; it names the instance.
        """
        if height is None or width is None:
            if not len(rles):
                raise ValueError(
                    "height and width must be given when there is no RLE to take them from"
                )
            height, width = (int(side) for side in rles[0]["size"])
        for index, rle in enumerate(rles):
            coco_counts.check_rle(rle, height, width, index)
        if all(isinstance(rle["counts"], bytes | str) for rle in rles):
            counts, offsets = coco_counts.decode_counts([rle["counts"] for rle in rles])
        else:
            per_instance = [
                coco_counts.counts_of(rle["counts"], index) for index, rle in enumerate(rles)
            ]
            offsets = offsets_from_lengths(np.array([len(counts) for counts in per_instance]))
            counts = np.concatenate(per_instance)
        return cls._from_counts(counts, offsets, height, width)

    def to_coco(self, *, text: bool = False) -> list[dict[str, Any]]:
        """Return compressed COCO RLEs, byte for byte those of pycocotools; ``text`` gives str counts, as JSON needs."""
        strings: Sequence[bytes | str] = coco_counts.encode_counts(*self._counts())
        if text:
            strings = [string.decode("ascii") for string in strings]  # type: ignore[union-attr]
        return [{"size": [self.height, self.width], "counts": string} for string in strings]

    def _counts(self) -> tuple[np.ndarray, np.ndarray]:
        ends = self.starts + self.lengths
        previous_end = np.concatenate([[0], ends[:-1]])[: len(ends)]
        filled = np.flatnonzero(np.diff(self.offsets))
        previous_end[self.offsets[filled]] = 0
        last_end = np.zeros(len(self), dtype=np.int64)
        last_end[filled] = ends[self.offsets[filled + 1] - 1]
        tail = self.height * self.width - last_end

        has_tail = (tail > 0) | (np.diff(self.offsets) == 0)
        offsets = offsets_from_lengths(2 * np.diff(self.offsets) + has_tail)
        counts = np.empty(offsets[-1], dtype=np.int64)
        at = 2 * np.arange(len(self.starts)) + np.repeat(
            offsets[:-1] - 2 * self.offsets[:-1], np.diff(self.offsets)
        )
        counts[at] = self.starts - previous_end
        counts[at + 1] = self.lengths
        counts[offsets[1:][has_tail] - 1] = tail[has_tail]
        return counts, offsets

    @classmethod
    def _from_counts(cls, counts: np.ndarray, offsets: np.ndarray, height: int, width: int) -> Runs:
        owner = segment_ids(offsets)
        if (counts < 0).any():
            raise MaskError("negative RLE count", int(owner[np.argmax(counts < 0)]))
        too_long = counts > height * width  # before they are summed up: sums wrap around
        if too_long.any():
            at = int(np.argmax(too_long))
            raise MaskError(
                f"RLE count {counts[at]} is more than the {height} x {width} = {height * width} pixels",
                int(owner[at]),
            )
        totals = segment_sums(counts, offsets)
        if (totals != height * width).any():
            index = int(np.argmax(totals != height * width))
            raise MaskError(
                f"RLE counts add up to {totals[index]}, not to {height} x {width} = {height * width}",
                index,
            )
        begin = np.cumsum(counts) - counts - owner * (height * width)
        foreground = (np.arange(len(counts)) - np.repeat(offsets[:-1], np.diff(offsets))) % 2 == 1
        foreground &= counts > 0
        num_runs = segment_sums(foreground.astype(np.int64), offsets)
        return cls.from_sorted(
            begin[foreground], counts[foreground], offsets_from_lengths(num_runs), height, width
        )

    @classmethod
    def from_sorted(
        cls, starts: np.ndarray, lengths: np.ndarray, offsets: np.ndarray, height: int, width: int
    ) -> Runs:
        """Build from runs that are sorted within each instance and may touch each other: those are joined."""
        owner = segment_ids(offsets)
        touches = np.zeros(len(starts), dtype=bool)
        touches[1:] = (starts[1:] == starts[:-1] + lengths[:-1]) & (owner[1:] == owner[:-1])
        if touches.any():
            begins = np.flatnonzero(~touches)
            starts, lengths = starts[begins], np.add.reduceat(lengths, begins)
            offsets = offsets_from_lengths(np.bincount(owner[begins], minlength=len(offsets) - 1))
        return cls(starts, lengths, offsets, height, width)

    # ---------------------------------------------------------------- label maps

    @classmethod
    def from_label_map(cls, label_map: np.ndarray) -> Runs:
        """Read a label map (H, W) of integers, 0 for background, in one pass; one instance per id, ids ascending.

        Booleans are one instance.

        Raises:
            MaskError: if the array is not two-dimensional, not of integers, or has negative ids.
        """
        label_map = np.asarray(label_map)
        if label_map.ndim != 2 or label_map.dtype.kind not in "iub":
            raise MaskError(
                f"a label map is an integer array (height, width); got {label_map.dtype} of shape {label_map.shape}"
            )
        height, width = label_map.shape
        flat = label_map.ravel(order="F")
        if flat.dtype.kind == "i" and len(flat) and flat.min() < 0:
            raise MaskError(f"a label map has ids from 0; found {flat.min()}")
        begins = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]])[: len(flat)])
        lengths = np.diff(begins, append=len(flat))
        ids = flat[begins]
        begins, lengths, ids = begins[ids > 0], lengths[ids > 0], ids[ids > 0]
        by_id = np.argsort(ids, kind="stable")
        _, num_runs = np.unique(ids, return_counts=True)
        return cls(begins[by_id], lengths[by_id], offsets_from_lengths(num_runs), height, width)

    def to_label_map(self) -> np.ndarray:
        """Paint a label map (H, W) int32: instance ``i`` is id ``i + 1``; the later one wins where they overlap."""
        label_map = np.zeros((self.height, self.width), dtype=np.int32)
        flat = label_map.reshape(-1)
        first = 1
        for part in self.split():
            pixels, owner = part.pixels()
            x, y = np.divmod(pixels, max(self.height, 1))
            flat[y * self.width + x] = owner + first
            first += len(part)
        return label_map

    # ---------------------------------------------------------------- several

    @classmethod
    def empty(cls, height: int, width: int) -> Runs:
        """Return no instance at all."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, np.zeros(1, np.int64), height, width)

    @classmethod
    def concatenate(cls, parts: Sequence[Runs]) -> Runs:
        """Put the instances of several `Runs` of one image size behind each other.

        Raises:
            ValueError: if there is no part, or if sizes differ.
        """
        sizes = {(part.height, part.width) for part in parts}
        if len(sizes) != 1:
            raise ValueError(
                f"can only concatenate masks of one image size (height, width); got {sorted(sizes)}"
            )
        starts, lengths = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("starts", "lengths")
        )
        num_runs = np.concatenate([np.diff(part.offsets) for part in parts])
        return cls(starts, lengths, offsets_from_lengths(num_runs), *sizes.pop())


def _check_order(order: str) -> None:
    if order not in ("row", "column"):
        raise ValueError(f"order must be 'row' (Sartorius) or 'column' (DSB2018); got {order!r}")
