"""Order statistics and noise of a whole picture, from bands of it: exact, and without holding it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

# Half of all |x| of a normal deviate are below 0.6745; their mean, over its standard deviation.
_MEAN_OF_LOWER_HALF = 0.32464
_TABLE_KINDS = ("u", "i")


class Histogram:
    """Values of one channel, or of several together.

    Integers of up to 16 bits are counted value by value. Of other types the float32 values are counted by their upper
    16 bits first, and where a percentile falls, by their lower 16 bits in a second pass: exact to float32.

    Args:
        values: returns an iterator over arrays of values, the same at each call; rows are kept, (h, w) each.
        dtype: of the values.
        repeats: how often each value counts; positions between two values depend on it.
        with_noise: whether `noise` will be asked for, else it is 0.
    """

    def __init__(
        self,
        values: Callable[[], Iterator[np.ndarray]],
        dtype: np.dtype,
        *,
        repeats: int = 1,
        with_noise: bool = True,
    ) -> None:
        self._values, self._repeats = values, repeats
        self._is_table = has_table(dtype)
        self._low = int(np.iinfo(dtype).min) if self._is_table else 0
        size = 1 << (8 * dtype.itemsize if self._is_table else 16)
        counts = np.zeros(size, dtype=np.int64)
        differences = np.zeros(2 * size if self._is_table else 1 << 16, dtype=np.int64)
        for part in values():
            counts += self._count(part, size)
            if with_noise:
                differences += self._count_differences(part, len(differences))
        self._counts, self._differences = counts, differences
        self.num_values = int(counts.sum())

    def order_statistics(self, ranks: Sequence[int]) -> list[float]:
        """Return the values at positions of the sorted values; `num_values` * repeats positions there are."""
        cumulated = np.cumsum(self._counts) * self._repeats
        bins = np.searchsorted(cumulated, np.asarray(ranks, dtype=np.int64), side="right")
        if self._is_table:
            return [float(index + self._low) for index in bins.tolist()]
        fine = self._fine_counts(np.unique(bins).tolist())
        found = []
        for rank, index in zip(ranks, bins.tolist(), strict=True):
            before = int(cumulated[index - 1]) if index else 0
            low_bits = np.searchsorted(
                np.cumsum(fine[index]) * self._repeats, rank - before, side="right"
            )
            key = np.uint32((index << 16) | int(low_bits))
            found.append(float(_from_keys(np.array([key], dtype=np.uint32))[0]))
        return found

    def percentiles(self, percents: Sequence[float]) -> list[float]:
        """Return what ``np.percentile`` returns of the values, by linear interpolation.

        The smallest and the largest value decide nothing: one hot or dead pixel must not, however small the picture.
        """
        total = self.num_values * self._repeats
        if not total:
            return [0.0] * len(percents)
        least, most = self.bounds
        ranks, parts = [], []
        for percent in percents:
            position = percent / 100 * (total - 1)
            rank = min(int(position), total - 1)
            ranks += [rank, min(rank + 1, total - 1)]
            parts.append(position - rank)
        below_above = [min(max(value, least), most) for value in self.order_statistics(ranks)]
        return [
            _lerp(below_above[2 * number], below_above[2 * number + 1], part)
            for number, part in enumerate(parts)
        ]

    @property
    def bounds(self) -> tuple[float, float]:
        """The second smallest and the second largest value; zeros where no value is finite."""
        if not self.num_values:
            return 0.0, 0.0
        last = self.num_values - 1
        ranks = [min(1, last), max(last - 1, 0)]
        low, high = self.order_statistics([rank * self._repeats for rank in ranks])
        return low, max(low, high)

    @property
    def noise(self) -> float:
        """Standard deviation of the noise of a pixel, from the differences of neighbours in a row.

        The smaller half of the differences counts, edges of cells do not; it is 0 where most neighbours are equal.
        """
        total = int(self._differences.sum())
        if not total:
            return 0.0
        half = max(1, total // 2)
        cumulated = np.minimum(np.cumsum(self._differences), half)
        kept = np.diff(cumulated, prepend=0)
        indices = np.flatnonzero(kept)
        if self._is_table:
            sizes = indices.astype(np.float64)
        else:  # the middle of the bin
            keys = ((indices.astype(np.uint32) << np.uint32(16)) | np.uint32(1 << 15)).astype("u4")
            sizes = _from_keys(keys).astype(np.float64)
            sizes[indices == _key_of(0.0) >> 16] = 0.0
        mean = float((sizes * kept[indices]).sum()) / half
        return mean / _MEAN_OF_LOWER_HALF / np.sqrt(2.0)

    def _count(self, values: np.ndarray, size: int) -> np.ndarray:
        if self._is_table:
            return np.bincount(values.ravel().astype(np.int64) - self._low, minlength=size)
        return np.bincount(_to_keys(_finite(values)) >> np.uint32(16), minlength=size)

    def _count_differences(self, values: np.ndarray, size: int) -> np.ndarray:
        if self._is_table:
            steps = np.abs(np.diff(values.astype(np.int32), axis=1))
            return np.bincount(steps.ravel(), minlength=size)
        with np.errstate(invalid="ignore", over="ignore"):
            steps = np.abs(np.diff(values.astype(np.float64), axis=1))
        return np.bincount(_to_keys(_finite(steps)) >> np.uint32(16), minlength=size)

    def _fine_counts(self, bins: Iterable[int]) -> dict[int, np.ndarray]:
        fine = {index: np.zeros(1 << 16, dtype=np.int64) for index in bins}
        for part in self._values():
            keys = _to_keys(_finite(part))
            upper = keys >> np.uint32(16)
            for index, counts in fine.items():
                counts += np.bincount(keys[upper == index] & np.uint32(0xFFFF), minlength=1 << 16)
        return fine


def has_table(dtype: np.dtype) -> bool:
    """Tell whether a type has few enough values to count or map each: integers of up to 16 bits."""
    return dtype.kind in _TABLE_KINDS and dtype.itemsize <= 2


def _finite(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        flat = values.ravel().astype(np.float32)
    return flat[np.isfinite(flat)]


def _to_keys(values: np.ndarray) -> np.ndarray:
    """Map float32 to uint32 in the same order: negative values have all bits inverted, others the sign bit set."""
    bits = (values + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
    return bits ^ np.where(bits >> np.uint32(31), np.uint32(0xFFFFFFFF), np.uint32(0x80000000))


def _from_keys(keys: np.ndarray) -> np.ndarray:
    flips = np.where(keys >> np.uint32(31), np.uint32(0x80000000), np.uint32(0xFFFFFFFF))
    return (keys ^ flips).astype(np.uint32).view(np.float32)


def _key_of(value: float) -> int:
    return int(_to_keys(np.array([value], dtype=np.float32))[0])


def _lerp(low: float, high: float, part: float) -> float:
    """Interpolate as numpy's percentile does, to the last digit."""
    step = high - low
    return high - step * (1 - part) if part >= 0.5 else low + step * part
