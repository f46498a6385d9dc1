"""Charts as inline SVG, for pages: they take colours and fonts from the page, and so follow its dark mode.

Series are numbered; their colours are the page's `--c0`, `--c1`, ... (see `style`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

# Colours of a page for the series of a chart, --c0 and up.
NUM_SERIES = 6

_WIDTH, _HEIGHT = 460, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 22, 14, 46
_NUM_AREA_BINS = 24
_NICE_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """From numbers to places.

    Attributes:
        label: what the numbers are, with their unit.
        low: number at the begin of the axis.
        high: number at its end.
        ticks: numbers that are written at the axis.
        counts: place a number n by log(1 + n), which has room for 0 and for 1000.
        names: written in place of the ticks' numbers.
    """

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    counts: bool = False
    names: tuple[str, ...] = ()

    def texts(self) -> list[str]:
        """Return what is written at the ticks."""
        return list(self.names) or [f"{value:,.6g}" for value in self.ticks]

    def place(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return where numbers (N,) lie, 0 at the begin and 1 at the end; numbers beyond are put to the ends."""
        low, high, inside = (
            np.log1p(v) if self.counts else np.asarray(v, dtype=np.float64)
            for v in (self.low, self.high, np.clip(values, self.low, self.high))
        )
        return (inside - low) / (high - low)


def linear_axis(label: str, low: float, high: float) -> Axis:
    """Return an axis with about five ticks at round numbers."""
    high = high if high > low else low + 1
    return Axis(label, low, high, _round_numbers(low, high))


def whole_axis(label: str, highest: int) -> Axis:
    """Return an axis from 0 to somewhat above the highest of whole numbers, with ticks at whole numbers."""
    high = max(highest, 1) * 1.05
    return Axis(label, 0, high, tuple(filter(float.is_integer, _round_numbers(0, high))))


def count_axis(label: str, high: float) -> Axis:
    """Return an axis from 0 for numbers that range from none to hundreds."""
    high = max(high, 3)
    ticks = [t for t in (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000) if t <= high]
    return Axis(label, 0, high, tuple(map(float, ticks)), counts=True)


def named_axis(label: str, names: Sequence[str]) -> Axis:
    """Return an axis for things with names, at 0, 1, ...; long names are cut, for there is little room.

    Example:
        >>> named_axis("plate", ["p1", "p2"]).place([0, 1]).tolist()
        [0.25, 0.75]
    """
    most = max(60 // max(len(names), 1), 3)
    shown = tuple(name if len(name) <= most else f"{name[: most - 1]}\u2026" for name in names)
    ticks = tuple(map(float, range(len(names))))
    return Axis(label, -0.5, max(len(names), 1) - 0.5, ticks, names=shown)


def area_axis(label: str, edges: np.ndarray) -> Axis:
    """Return a logarithmic axis for areas, over the edges of their bins (of ratio about equal, from 1 on)."""
    low, high = float(edges[0]), float(edges[-1])
    decades = [float(m * 10**e) for e in range(7) for m in (1, 3)]
    ticks = tuple(tick for tick in decades if low <= tick <= high)
    # Areas that differ by little may lie between two of those.
    return Axis(
        label, low, high, ticks if len(ticks) > 2 else _round_numbers(low, high), counts=True
    )


def area_bins(areas: np.ndarray) -> np.ndarray:
    """Return the edges of bins of equal ratio that hold all areas (N,) of at least one pixel."""
    areas = areas[areas > 0]
    low, high = (areas.min(), areas.max() + 1) if len(areas) else (1, 10)
    return np.geomspace(low, max(high, low * 1.5), _NUM_AREA_BINS + 1)


def series_of(names: Iterable[str]) -> dict[str, int]:
    """Return the series of each group, such as a cell type, in the order given; series 0 is left for all together."""
    return {name: 1 + index % (NUM_SERIES - 1) for index, name in enumerate(names)}


def _round_numbers(low: float, high: float) -> tuple[float, ...]:
    """Return about five numbers, a round step apart."""
    magnitude = 10.0 ** np.floor(np.log10((high - low) / 5))
    step = next(s * magnitude for s in _NICE_STEPS if (high - low) / (s * magnitude) <= 6)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return tuple((np.arange(first, last + 1) * step + 0.0).tolist())


class Chart:
    """A chart with two axes; drawn on by its methods, in their order.

    Args:
        description: what the chart shows, in a sentence, for those who do not see it.
    """

    def __init__(self, description: str, x: Axis, y: Axis) -> None:
        self.x, self.y = x, y
        self._description = description
        self._marks: list[str] = []
        self._legend: list[tuple[int, str, str]] = []

    def line(
        self,
        x: Sequence[float] | np.ndarray,
        y: Sequence[float] | np.ndarray,
        series: int,
        label: str = "",
        *,
        kind: str = "line",
    ) -> None:
        """Draw a line through points; ``kind`` is 'line', 'dashed', or 'thin' (no more than a guide)."""
        self._marks.append(f'<path class="{kind} s{series}" d="{self._path(x, y)}"/>')
        self._name(series, label, kind)

    def band(
        self,
        x: Sequence[float] | np.ndarray,
        low: Sequence[float] | np.ndarray,
        high: Sequence[float] | np.ndarray,
        series: int,
        label: str = "",
    ) -> None:
        """Fill what lies between two lines."""
        outline = self._path([*x, *x[::-1]], [*low, *high[::-1]])
        self._marks.append(f'<path class="band s{series}" d="{outline}Z"/>')
        self._name(series, label, "band")

    def histogram(
        self, edges: np.ndarray, heights: np.ndarray, series: int, label: str = "", *, kind: str
    ) -> None:
        """Draw bins, N + 1 edges and N heights, as 'band' (filled) or 'line' (their outline)."""
        x = np.repeat(edges, 2)
        y = np.concatenate([[self.y.low], np.repeat(heights, 2), [self.y.low]])
        self._marks.append(f'<path class="{kind} s{series}" d="{self._path(x, y)}"/>')
        self._name(series, label, kind)

    def points(
        self,
        x: Sequence[float] | np.ndarray,
        y: Sequence[float] | np.ndarray,
        series: int,
        label: str,
        titles: Sequence[str],
    ) -> None:
        """Draw a dot at each point, with a title that shows where the pointer rests on it."""
        for (cx, cy), title in zip(self._positions(x, y), titles, strict=True):
            self._marks.append(
                f'<circle class="dot s{series}" cx="{cx:.1f}" cy="{cy:.1f}" r="4">'
                f"<title>{escape(title)}</title></circle>"
            )
        self._name(series, label, "dot")

    def mark_x(self, value: float, series: int, label: str = "") -> None:
        """Draw a vertical line over the whole height."""
        self.line([value, value], [self.y.low, self.y.high], series, label, kind="thin")

    def render(self) -> str:
        """Return the chart and its legend as HTML."""
        drawing = (
            f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
            f'aria-label="{escape(self._description)}">{self._grid()}{"".join(self._marks)}</svg>'
        )
        entries = "".join(
            f'<li><svg viewBox="0 0 22 10" aria-hidden="true">{_sample(kind, series)}</svg>{escape(label)}</li>'
            for series, label, kind in self._legend
        )
        return drawing + (f'<ul class="legend">{entries}</ul>' if entries else "")

    def _grid(self) -> str:
        parts = []
        for text, place in zip(self.x.texts(), self.x.place(self.x.ticks), strict=True):
            at = _LEFT + place * (_WIDTH - _LEFT - _RIGHT)
            parts.append(f'<path class="grid" d="M{at:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
            parts.append(
                f'<text x="{at:.1f}" y="{_HEIGHT - _BOTTOM + 17}" text-anchor="middle">{escape(text)}</text>'
            )
        for text, place in zip(self.y.texts(), self.y.place(self.y.ticks), strict=True):
            at = _HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM)
            parts.append(f'<path class="grid" d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}"/>')
            parts.append(
                f'<text x="{_LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{escape(text)}</text>'
            )
        middle_x, middle_y = (_LEFT + _WIDTH - _RIGHT) / 2, (_TOP + _HEIGHT - _BOTTOM) / 2
        parts.append(
            f'<text class="label" x="{middle_x}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(self.x.label)}</text>'
            f'<text class="label" transform="translate(13 {middle_y}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y.label)}</text>"
        )
        return "".join(parts)

    def _name(self, series: int, label: str, kind: str) -> None:
        if label:
            self._legend.append((series, label, kind))

    def _positions(
        self, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray
    ) -> list[tuple[float, float]]:
        across = _LEFT + self.x.place(x) * (_WIDTH - _LEFT - _RIGHT)
        up = _HEIGHT - _BOTTOM - self.y.place(y) * (_HEIGHT - _TOP - _BOTTOM)
        return list(zip(across.tolist(), up.tolist(), strict=True))

    def _path(self, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> str:
        return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in self._positions(x, y))


def _sample(kind: str, series: int) -> str:
    """Return what stands before a legend's text."""
    if kind == "dot":
        return f'<circle class="dot s{series}" cx="11" cy="5" r="4"/>'
    if kind == "band":
        return f'<rect class="band s{series}" width="22" height="10" rx="2"/>'
    return f'<path class="{kind} s{series}" d="M1 5H21"/>'
