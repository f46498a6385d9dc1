"""How stored values become the 8 bits that a network sees; part of a model's config, the same in training and test.

An `Intensity` looks at the whole picture once (`measure`) and gives an `IntensityMap`, which converts the picture or
any window of it. What it gives depends neither on the file's bit depth nor on one hot pixel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import cv2
import numpy as np

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.images.histogram import Histogram, has_table
from cellseg_mmdet.images.image import RGB, Image
from cellseg_mmdet.registry import Registry

Polarity = Literal["auto", "dark", "bright"]

# Percentiles are those of what the network sees: a gray picture in three equal channels.
_NETWORK_CHANNELS = 3

# Where the median lies between the 0.1 and the 99.9 percentile: of 664 images of DSB2018 at most 0.19 in fluorescence,
# at least 0.45 in bright field and stains.
_DARK_MEDIAN = 0.3
_RANGE_PERCENTS = (0.1, 99.9)


class Picture(Protocol):
    """An `Image` or an `ImageSource`."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""

    @property
    def dtype(self) -> np.dtype:
        """Of the stored values."""

    def windows(self) -> Iterator[np.ndarray]:
        """Yield all pixels in bands of whole rows."""


@dataclass(frozen=True)
class IntensityMap:
    """Stored values -> 8 bits, for one picture.

    Attributes:
        ranges: (low, high) of the stored values for each channel, or one for all; None leaves 8-bit values as they are.
        levels: what low and high become.
        to_gray: colours become one gray channel first.
        inverted: values change their sign first; ``ranges`` are those of the inverted values.
        note: what a user should know about this picture, or ''.
    """

    ranges: tuple[tuple[float, float], ...] | None
    levels: tuple[float, float] = (0.0, 255.0)
    to_gray: bool = False
    inverted: bool = False
    note: str = ""

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Convert stored pixels (h, w, C), of the whole picture or of a window, to uint8 (h, w, C or 1)."""
        values = gray_of(pixels) if self.to_gray else pixels
        if self.inverted:
            values = inverted_values(values)
        if self.ranges is None:
            return np.ascontiguousarray(values)
        if len(self.ranges) == 1:
            return self._mapped(values, self.ranges[0])
        parts = [
            self._mapped(values[..., channel], bounds) for channel, bounds in enumerate(self.ranges)
        ]
        return np.stack(parts, axis=2)

    def _mapped(self, values: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
        if not has_table(values.dtype):
            return self._levels(values.astype(np.float64), bounds)
        kind = np.iinfo(values.dtype)
        table = self._levels(np.arange(kind.min, int(kind.max) + 1), bounds)
        if kind.min < 0:
            return table[values.astype(np.int64) - kind.min]
        return table[values]

    def _levels(self, values: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
        low, high = bounds
        first, last = self.levels
        if high <= low:  # one value alone: there is nothing to see
            return np.full(values.shape, round(first), dtype=np.uint8)
        scaled = (values - low) * ((last - first) / (high - low)) + first
        return np.rint(np.nan_to_num(scaled, nan=first)).clip(0, 255).astype(np.uint8)


class Intensity(ABC):
    """Base of what may stand as ``intensity=dict(type=...)`` in a config.

    Args:
        gray: make colours gray first, so that stains and fluorescence look alike.
        polarity: background of the stored pictures. 'dark' leaves them, 'bright' inverts them, 'auto' inverts those
            whose background is bright: cells are bright on dark then. Phase contrast counts as bright.
    """

    def __init__(self, *, gray: bool = False, polarity: Polarity = "dark") -> None:
        if polarity not in ("auto", "dark", "bright"):
            raise ConfigError(f"polarity must be 'auto', 'dark' or 'bright'; got {polarity!r}")
        self.gray, self.polarity = gray, polarity

    def __repr__(self) -> str:
        arguments = ", ".join(
            f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_")
        )
        return f"{type(self).__name__}({arguments})"

    def measure(self, picture: Picture) -> IntensityMap:
        """Look at a whole picture, band by band, and return the map for it and for every window of it."""
        to_gray = self.gray and picture.channels == RGB
        inverted = self.polarity == "bright" or (
            self.polarity == "auto" and not has_dark_background(picture)
        )
        return replace(
            self._measure(_Values(picture, to_gray=to_gray, inverted=inverted)),
            to_gray=to_gray,
            inverted=inverted,
        )

    @abstractmethod
    def _measure(self, values: _Values) -> IntensityMap:
        """Return ranges, levels and note."""


INTENSITIES: Registry[Intensity] = Registry("intensity")


@INTENSITIES.register("Percentiles")
class Percentiles(Intensity):
    """Stretch linearly so that two percentiles of the whole picture become two gray levels.

    Exposures of one kind of sample differ by a factor of ten and more, and a file of 16 bits does not say how many its
    camera had: a picture, and the same one times 16 or 257, give the same.

    Args:
        low: percent of the values below the first level.
        high: percent of the values below the second level.
        levels: gray levels of both; beyond them the line goes on, to 0 and to 255.
        per_channel: a range for each channel, and not one for all.
        min_range_sigma: the range spans at least this many standard deviations of the pixels' noise, so that an empty
            field does not become a picture of its noise. An empty field has 6; pictures of cells had 29 or more
            (Sartorius, DSB2018, Usiigaci).
        **options: those of `Intensity`.
    """

    def __init__(
        self,
        low: float = 0.1,
        high: float = 99.9,
        *,
        levels: tuple[float, float] = (0.0, 255.0),
        per_channel: bool = False,
        min_range_sigma: float = 20.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not 0 <= low < high <= 100:
            raise ConfigError(f"low and high must be percents in order; got {low} and {high}")
        _check_levels(levels)
        self.low, self.high, self.levels = low, high, tuple(levels)
        self.per_channel, self.min_range_sigma = per_channel, min_range_sigma

    def _measure(self, values: _Values) -> IntensityMap:
        ranges, limited, num_values = [], [], 0
        for histogram in values.histograms(per_channel=self.per_channel):
            num_values += histogram.num_values
            low, high = histogram.percentiles((self.low, self.high))
            if high <= low:  # nearly all pixels are equal: what there is besides decides
                low, high = histogram.bounds
            least = self.min_range_sigma * histogram.noise
            limited.append(0 < high - low < least)
            ranges.append((low, max(high, low + least) if limited[-1] else high))
        first, last = self.levels
        note = (
            "holds little more than noise: its contrast was raised less than to the full range"
            if any(limited)
            else ""
        )
        if not num_values:
            note = "holds no finite value: there is nothing to see in it"
        return IntensityMap(tuple(ranges), (float(first), float(last)), note=note)


@INTENSITIES.register("FixedRange")
class FixedRange(Intensity):
    """Map stored values linearly so that ``low`` becomes 0 and ``high`` 255, whatever the picture: for calibrated data.

    Args:
        low: a stored value; of inverted pictures before they are inverted.
        high: a larger one.
        **options: those of `Intensity`.
    """

    def __init__(self, low: float, high: float, **options: Any) -> None:
        super().__init__(**options)
        if not low < high:
            raise ConfigError(f"low must be below high; got {low} and {high}")
        self.low, self.high = low, high

    def _measure(self, values: _Values) -> IntensityMap:
        bounds = (float(self.low), float(self.high))
        return IntensityMap((values.stored_range(bounds),))


@INTENSITIES.register("AsStored")
class AsStored(Intensity):
    """Leave 8-bit pictures as they are; others have no scale of their own and go through another intensity.

    Args:
        others: config of an intensity for pictures of more bits. Its ``levels`` should be those of the 8-bit pictures
            that the model was trained on, so that both look alike; by default the full range.
        **options: those of `Intensity`, for 8-bit pictures.
    """

    def __init__(self, others: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.others = build_intensity({"type": "Percentiles", **options, **(others or {})})

    def measure(self, picture: Picture) -> IntensityMap:
        return (
            super().measure(picture) if picture.dtype == np.uint8 else self.others.measure(picture)
        )

    def _measure(self, values: _Values) -> IntensityMap:
        return IntensityMap(None)


def build_intensity(config: Mapping[str, Any] | Intensity | None) -> Intensity:
    """Build what a config says; None is ``dict(type='AsStored')``.

    Raises:
        ConfigError: unknown type, or arguments that do not fit.
    """
    if isinstance(config, Intensity):
        return config
    arguments = dict(config or {"type": "AsStored"})
    kind = arguments.pop("type", None)
    if kind is None:
        raise ConfigError(f"intensity needs a type, one of {', '.join(INTENSITIES.names())}")
    try:
        return INTENSITIES.get(kind)(**arguments)
    except TypeError as error:
        raise ConfigError(f"intensity {kind}: {error}") from None


def has_dark_background(picture: Picture) -> bool:
    """Tell whether most of a picture is dark, as in fluorescence: its median lies low in the range of its values.

    It is judged on stored values and on nothing but their order and proportions, so bit depth and exposure are all one.
    Only for a picture of one value the range of its type decides.
    """
    (histogram,) = _Values(picture, to_gray=picture.channels == RGB, inverted=False).histograms(
        per_channel=False, with_noise=False
    )
    low, median, high = histogram.percentiles((_RANGE_PERCENTS[0], 50.0, _RANGE_PERCENTS[1]))
    if high <= low:
        low, high = 0.0, float(np.iinfo(picture.dtype).max) if picture.dtype.kind in "ui" else 1.0
    return (median - low) / (high - low) < _DARK_MEDIAN


def gray_of(pixels: np.ndarray) -> np.ndarray:
    """Convert RGB (h, w, 3) to gray (h, w, 1) by the weights of ITU-R BT.601; others are returned as they are."""
    if pixels.shape[2] != 3:
        return pixels
    usable = pixels if pixels.dtype in (np.uint8, np.uint16) else pixels.astype(np.float32)
    return cv2.cvtColor(np.ascontiguousarray(usable), cv2.COLOR_RGB2GRAY)[..., None]


def inverted_values(pixels: np.ndarray) -> np.ndarray:
    """Return values in reverse order: integers in the range of their type, others with their sign changed."""
    if pixels.dtype.kind == "u":
        return pixels.dtype.type(np.iinfo(pixels.dtype).max) - pixels
    return ~pixels if pixels.dtype.kind == "i" else -pixels


def to_bgr8(image: Image, intensity: Intensity | None = None) -> np.ndarray:
    """Return a picture to look at: uint8 BGR (H, W, 3), by default 8 bits as they are and others stretched.

    Of more than three channels the first three are shown; a second one without a third is shown in green.
    """
    intensity = intensity or AsStored()
    shown = replace(image, pixels=image.pixels[..., :3], channels=image.channels[:3])
    return as_bgr(intensity.measure(shown).apply(shown.pixels))


def as_bgr(pixels: np.ndarray) -> np.ndarray:
    """Bring 8-bit pixels (H, W, 1, 2 or 3) into BGR order; gray in three equal channels."""
    if pixels.shape[2] == 2:
        pixels = np.dstack([pixels, np.zeros_like(pixels[..., :1])])
    return np.ascontiguousarray(np.broadcast_to(pixels[..., ::-1], (*pixels.shape[:2], 3)))


class _Values:
    """The values of a picture, gray or inverted as the map will have them."""

    def __init__(self, picture: Picture, *, to_gray: bool, inverted: bool) -> None:
        self._picture, self._to_gray, self._inverted = picture, to_gray, inverted
        self._dtype = picture.dtype
        if to_gray and picture.dtype not in (np.uint8, np.uint16):
            self._dtype = np.dtype(np.float32)
        self._num_channels = 1 if to_gray else len(picture.channels)

    def histograms(self, *, per_channel: bool, with_noise: bool = True) -> Iterator[Histogram]:
        """Yield one histogram for each channel, or one for all."""
        channels: Sequence[int | None] = range(self._num_channels) if per_channel else [None]
        repeats = _NETWORK_CHANNELS if self._num_channels == 1 else 1
        for channel in channels:
            yield Histogram(
                self._parts(channel), self._dtype, repeats=repeats, with_noise=with_noise
            )

    def stored_range(self, bounds: tuple[float, float]) -> tuple[float, float]:
        """Return a range of stored values as one of the inverted values, if they are inverted."""
        if not self._inverted:
            return bounds
        if self._dtype.kind == "u":
            offset = float(np.iinfo(self._dtype).max)
        else:
            offset = -1.0 if self._dtype.kind == "i" else 0.0
        return offset - bounds[1], offset - bounds[0]

    def _parts(self, channel: int | None) -> Callable[[], Iterator[np.ndarray]]:
        def parts() -> Iterator[np.ndarray]:
            for window in self._picture.windows():
                values = gray_of(window) if self._to_gray else window
                if self._inverted:
                    values = inverted_values(values)
                if channel is not None:
                    yield values[..., channel]
                else:
                    for number in range(values.shape[2]):
                        yield values[..., number]

        return parts


def _check_levels(levels: Sequence[float]) -> None:
    if len(levels) != 2 or not 0 <= levels[0] < levels[1] <= 255:
        raise ConfigError(f"levels must be two gray levels in order, 0 to 255; got {tuple(levels)}")
