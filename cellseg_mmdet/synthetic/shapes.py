"""Outlines of single cells: the geometry that tells the three cell types apart.

Every outline is a polygon of shape (K, 2), (x, y) in pixels, around the cell's own centre with the
long axis along x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Cell:
    """One cell in its own frame: what is labelled, what is only seen, and how it meets the light.

    Attributes:
        bodies: outlines whose union is the labelled mask; the first one holds the centre.
        neurites: outlines that are drawn but not labelled, as the annotators of the real data did.
        height: optical thickness of the plateau, in gray levels.
        edge_px: distance from the rim over which the thickness rises.
        grain: amplitude of the granular interior, in gray levels.
        nucleus_px: radius of the nucleus in the middle.
    """

    bodies: list[np.ndarray]
    height: float
    edge_px: float
    grain: float
    nucleus_px: float
    neurites: list[np.ndarray] = field(default_factory=list)

    def turned(self, angle: float) -> Cell:
        """The same cell turned by `angle` in radians, from x towards y."""
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, sin], [-sin, cos]])
        return self._mapped(lambda outline: outline @ turn)

    def moved(self, shift_xy: np.ndarray) -> Cell:
        """The same cell moved by `shift_xy` pixels."""
        return self._mapped(lambda outline: outline + shift_xy)

    def _mapped(self, mapping: Callable[[np.ndarray], np.ndarray]) -> Cell:
        bodies, neurites = (list(map(mapping, part)) for part in (self.bodies, self.neurites))
        return replace(self, bodies=bodies, neurites=neurites)


_THETA = np.linspace(0, 2 * np.pi, 36, endpoint=False)
_ORDERS = np.arange(2, 7)[:, None]
_NO_TIPS = np.empty(0)


def blob(
    rng: np.random.Generator,
    length: float,
    width: float,
    *,
    tips: np.ndarray = _NO_TIPS,
    pull: float = 0.0,
    roughness: float = 0.05,
) -> np.ndarray:
    """A star-shaped outline: an ellipse, pulled out at the angles `tips`, with a wavy rim.

    `pull` is the relative gain in radius at a tip, `roughness` the relative amplitude of the waves.
    """
    radius = 1 / np.hypot(2 * np.cos(_THETA) / length, 2 * np.sin(_THETA) / width)
    apart = np.angle(np.exp(1j * (_THETA[:, None] - tips[None, :])))
    radius = radius * (1 + pull * np.exp(-((apart / 0.32) ** 2)).sum(axis=1))
    phases = rng.uniform(0, 2 * np.pi, _ORDERS.shape)
    gains = rng.normal(0, roughness, _ORDERS.shape) * 2 / _ORDERS
    radius = radius * np.maximum(1 + (gains * np.cos(_ORDERS * _THETA + phases)).sum(axis=0), 0.3)
    return np.stack([radius * np.cos(_THETA), radius * np.sin(_THETA)], axis=1)


def wander(
    rng: np.random.Generator, start: np.ndarray, angle: float, length: float, bend: float
) -> np.ndarray:
    """A curved path (K, 2) that leaves `start` at `angle`.

    `bend` is the spread in radians of its final direction around the first.
    """
    steps = max(int(length / 6), 4)
    headings = angle + np.cumsum(rng.normal(0, bend / np.sqrt(steps), steps))
    stride = length / steps * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    return np.vstack([start, start + np.cumsum(stride, axis=0)])


def ribbon(path: np.ndarray, half_width: np.ndarray) -> np.ndarray:
    """The outline (2K, 2) of a band along `path` (K, 2) with `half_width` (K,) on either side."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-6)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) * half_width[:, None]
    return np.vstack([path + normal, (path - normal)[::-1]])


def process(
    rng: np.random.Generator,
    angle: float,
    length: float,
    base: float,
    *,
    start: np.ndarray | None = None,
    tip: float = 0.3,
    bend: float = 0.6,
) -> np.ndarray:
    """A process that tapers from half-width `base` at `start` (the centre) to half-width `tip`."""
    path = wander(rng, np.zeros(2) if start is None else start, angle, length, bend)
    taper = np.linspace(1, 0, len(path)) ** 2.5
    return ribbon(path, tip + (base - tip) * taper)


def _lognormal(rng: np.random.Generator, median: float, sigma: float) -> float:
    return median * float(np.exp(rng.normal(0, sigma)))


def _corners(rng: np.random.Generator, extra: int) -> np.ndarray:
    """Angles of a stretched cell's corners: both ends and up to `extra` more."""
    tips = np.array([0.0, np.pi, *rng.uniform(0, 2 * np.pi, rng.integers(0, extra + 1))])
    return tips + rng.normal(0, 0.25, len(tips))


def spindle(rng: np.random.Generator, flatness: float) -> Cell:
    """shsy5y: a small spindle or kite with a neurite at each corner; only the soma is labelled."""
    length = _lognormal(rng, 14.6, 0.38)
    width = min(_lognormal(rng, 8.4, 0.3), length)
    tips = _corners(rng, 2)
    neurites = []
    for angle in tips[rng.random(len(tips)) < 0.6]:
        base = width * rng.uniform(0.2, 0.45)
        reach = length / 2 + _lognormal(rng, 30, 0.6)
        neurite = process(rng, angle, reach, base, tip=rng.uniform(0.3, 0.7), bend=0.5)
        neurites.append(neurite)
        if rng.random() < 0.2:
            fork = neurite[len(neurite) // 4]
            turn = angle + rng.normal(0, 0.7)
            neurites.append(
                process(rng, turn, rng.uniform(6, 20), 0.8, start=fork, tip=0.4, bend=0.6)
            )
    thinness = 1 - 0.6 * flatness * rng.random()
    return Cell(
        bodies=[blob(rng, length, width, tips=tips, pull=0.6, roughness=0.035)],
        neurites=neurites,
        height=rng.uniform(85, 190) * thinness,
        edge_px=rng.uniform(0.6, 1.6),
        grain=rng.uniform(30, 90) * thinness,
        nucleus_px=width * rng.uniform(0.2, 0.32),
    )


def branched(rng: np.random.Generator, flatness: float) -> Cell:
    """astro: a long cell with processes, a thin sheet, or rarely a rounded one; all labelled."""
    if rng.random() < 0.07:
        return _rounded(rng)
    return _sheet(rng) if rng.random() < flatness else _branched_spindle(rng)


def _branched_spindle(rng: np.random.Generator) -> Cell:
    length = _lognormal(rng, 76, 0.5)
    soma = _lognormal(rng, 11.5, 0.28)
    path = wander(rng, np.zeros(2), 0.0, length, 0.6)
    along = np.linspace(0, 1, len(path))
    centre = rng.uniform(0.3, 0.7)
    bump = np.exp(-(((along - centre) * length / (1.1 * soma)) ** 2))
    taper = np.clip(1 - np.abs(along - centre) / max(centre, 1 - centre), 0, 1)
    foot = rng.uniform(0, 1.5) * (np.abs(along - rng.integers(0, 2)) < 0.1)
    path = path - path[int(np.argmax(bump))]
    bodies = [ribbon(path, 0.5 + 1.1 * taper + foot + bump * (soma / 2 - 1.5))]
    for _ in range(rng.integers(0, 4)):
        angle = rng.uniform(0, 2 * np.pi)
        bodies.append(process(rng, angle, _lognormal(rng, 32, 0.45), soma * 0.2, tip=0.4))
    return Cell(
        bodies=bodies,
        height=rng.uniform(85, 195),
        edge_px=rng.uniform(0.6, 1.6),
        grain=rng.uniform(25, 80),
        nucleus_px=soma * rng.uniform(0.2, 0.32),
    )


def _sheet(rng: np.random.Generator) -> Cell:
    length = _lognormal(rng, 40, 0.38)
    width = min(_lognormal(rng, 22, 0.3), length)
    count = rng.integers(3, 7)
    tips = (np.arange(count) + rng.uniform(-0.4, 0.4, count)) * (2 * np.pi / count)
    spikes = rng.choice(tips, len(tips)) + rng.normal(0, 0.2, len(tips))
    return Cell(
        neurites=[
            process(rng, angle, length * rng.uniform(0.5, 1.1), 2.0, tip=0.5, bend=0.3)
            for angle in spikes
        ],
        bodies=[blob(rng, length, width, tips=tips, pull=0.8, roughness=0.1)],
        height=rng.uniform(20, 70),
        edge_px=rng.uniform(1.0, 5.0),
        grain=rng.uniform(8, 26),
        nucleus_px=rng.uniform(3.5, 6),
    )


def _rounded(rng: np.random.Generator) -> Cell:
    diameter = rng.uniform(10, 17)
    return Cell(
        bodies=[blob(rng, diameter * 1.08, diameter, roughness=0.04)],
        height=rng.uniform(150, 260),
        edge_px=0.8,
        grain=rng.uniform(60, 160),
        nucleus_px=0.2 * diameter,
    )


def round_soma(rng: np.random.Generator, flatness: float) -> Cell:
    """cort: a small, high, round soma, labelled, with thin radiating neurites, which are not."""
    width = _lognormal(rng, 11.7, 0.24)
    length = width * (1 + abs(rng.normal(0.3, 0.4)))
    tips = rng.uniform(0, 2 * np.pi, rng.integers(3, 16))
    neurites = [
        process(
            rng,
            angle,
            length / 2 + _lognormal(rng, 30, 0.7),
            rng.uniform(0.5, 1.4),
            tip=rng.uniform(0.3, 0.6),
            bend=0.45,
        )
        for angle in tips
    ]
    return Cell(
        bodies=[blob(rng, length, width, tips=tips[:3], pull=0.14, roughness=0.05)],
        neurites=neurites,
        height=rng.uniform(170, 330) * (1 - 0.5 * flatness),
        edge_px=rng.uniform(0.9, 2.0),
        grain=rng.uniform(40, 130),
        nucleus_px=width * rng.uniform(0.2, 0.3),
    )
