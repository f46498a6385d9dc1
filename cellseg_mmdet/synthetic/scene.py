"""Placing cells in a field of view: where each one lies, and which pixels belong to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from cellseg_mmdet.synthetic.shapes import Cell, ribbon
from cellseg_mmdet.synthetic.styles import Style

MIN_AREA_PX = 40
# A cell that would be hidden further than this finds another place.
MIN_VISIBLE_SHARE = 0.6
TRIES_PER_CELL = 12
MIN_TRIES = 100
MAX_LINK_PX = 90
# cv2 takes fixed-point polygon corners: 4 fractional bits, 1/16 of a pixel.
SHIFT = 4
# Annotators draw one pixel outside the dark rim, on the halo.
_MARGIN = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def fixed_point(outline: np.ndarray, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
    """`outline` (K, 2) relative to `origin` (x, y) as cv2's corners, int32 (K, 1, 2)."""
    return np.round((outline - origin) * (1 << SHIFT)).astype(np.int32)[:, None, :]


def settle_cells(
    style: Style, height: int, width: int, num_cells: int, rng: np.random.Generator
) -> tuple[list[Cell], np.ndarray]:
    """Place up to `num_cells` cells; fewer where no room is left.

    Returns:
        The placed cells, and the label map int32 (height, width) in which cell i has the label
        i + 1: one 4-connected component of at least MIN_AREA_PX pixels each.
    """
    label_map = np.zeros((height, width), np.int32)
    flow = _flow(height, width, rng)
    flatness = rng.uniform(*style.flatness)
    cells: list[Cell] = []
    for _ in range(max(num_cells * TRIES_PER_CELL, MIN_TRIES)):
        if len(cells) == num_cells:
            break
        spot = _spot(cells, style.crowding, height, width, rng)
        angle = flow(*spot.point) + rng.normal(0, style.disorder)
        cell = style.draw_cell(rng, flatness).turned(angle)
        # Beside another cell, its outline and ours should just about meet.
        reach = np.max(cell.bodies[0] @ -spot.outward) * rng.uniform(0.8, 1.1)
        cell = cell.moved(spot.point + spot.outward * reach)
        if _claim_pixels(label_map, cell.bodies, len(cells) + 1):
            cells.append(cell)
    _link_neighbours(cells, style.links, rng)
    return cells, label_map


def _flow(height: int, width: int, rng: np.random.Generator) -> Callable[[float, float], float]:
    """A smooth field of directions: neighbouring cells stretch along each other."""
    base, phase, strength = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.2)
    wave_x, wave_y = rng.normal(0, 4, 2) / max(height, width)

    def direction(x: float, y: float) -> float:
        return base + strength * np.sin(wave_x * x + wave_y * y + phase)

    return direction


class _Spot(NamedTuple):
    """A point (x, y) to settle at, and the unit vector from there to the free side, or zeros."""

    point: np.ndarray
    outward: np.ndarray


def _spot(
    cells: list[Cell], crowding: float, height: int, width: int, rng: np.random.Generator
) -> _Spot:
    """A point on the rim of an earlier cell with probability `crowding`, else anywhere."""
    if cells and rng.random() < crowding:
        rim = cells[rng.integers(len(cells))].bodies[0]
        away = rim - rim.mean(axis=0)
        distance = np.hypot(*away.T)
        # The outermost of a few: cells line up end to end more often than side by side.
        chosen = max(rng.integers(len(rim), size=3), key=lambda vertex: distance[vertex])
        return _Spot(rim[chosen], away[chosen] / max(distance[chosen], 1e-6))
    return _Spot(rng.random(2) * (width, height), np.zeros(2))


def _link_neighbours(cells: list[Cell], links: float, rng: np.random.Generator) -> None:
    """Give a share `links` of the cells a neurite that ends in one of the nearest neighbours."""
    if len(cells) < 2:
        return
    centres = np.array([cell.bodies[0].mean(axis=0) for cell in cells])
    for start in np.flatnonzero(rng.random(len(cells)) < links):
        away = np.hypot(*(centres - centres[start]).T)
        near = np.argsort(away)[1:6]
        end = near[rng.integers(len(near))]
        if away[end] > MAX_LINK_PX:
            continue
        along = np.linspace(0, 1, 12)[:, None]
        path = centres[start] + along * (centres[end] - centres[start])
        sideways = (centres[end] - centres[start])[::-1] * (1, -1)
        path = path + sideways * rng.normal(0, 0.08) * np.sin(np.pi * along)
        half_width = rng.uniform(0.5, 0.9) + rng.uniform(1, 3) * np.abs(2 * along[:, 0] - 1) ** 3
        cells[start].neurites.append(ribbon(path, half_width))


def _claim_pixels(label_map: np.ndarray, outlines: list[np.ndarray], label: int) -> bool:
    """Write `label` on the free pixels inside `outlines`, if enough are free; False if not."""
    height, width = label_map.shape
    corners = np.vstack(outlines)
    left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 2, 0)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 3, (width, height))
    if right <= left or bottom <= top:
        return False
    window = label_map[top:bottom, left:right]
    mask: np.ndarray = np.zeros(window.shape, np.uint8)
    for outline in outlines:  # one call each: a single call would leave holes where outlines cross
        cv2.fillPoly(mask, [fixed_point(outline, (left, top))], 1, shift=SHIFT)
    mask = cv2.dilate(mask, _MARGIN)
    area = cv2.countNonZero(mask)
    mask[window > 0] = 0
    if cv2.countNonZero(mask) < max(MIN_AREA_PX, MIN_VISIBLE_SHARE * area):
        return False
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    if stats[largest, cv2.CC_STAT_AREA] < max(MIN_AREA_PX, MIN_VISIBLE_SHARE * area):
        return False
    window[parts == largest] = label
    return True
