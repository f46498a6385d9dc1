"""What one cell type looks like as a population; fitted to the competition's images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.synthetic.shapes import Cell, branched, round_soma, spindle

# The field of view the counts below refer to: the competition's image size.
REFERENCE_HEIGHT_PX, REFERENCE_WIDTH_PX = 520, 704


@dataclass(frozen=True)
class Style:
    """How many cells, how they stand to each other, and what lies between them.

    Attributes:
        draw_cell: draws one cell, given how flat (0..1) the cells of this image are.
        sample_name: how the competition's sample ids of this type begin.
        cells_median: cells per 520 x 704 pixels; so are `specks`, `clumps` and `fibres`.
        cells_sigma: spread of the logarithm of the number of cells per image.
        crowding: share of the cells that settle beside another one.
        disorder: spread of the orientations around their local direction, in radians.
        flatness: range of the share of thin, faint cells in an image.
        links: share of the cells with a neurite that reaches a neighbour.
        specks: round debris.
        clumps: groups of dead cells.
        clump_size: largest number of dead cells in a clump.
        fibres: neurites of cells out of view.
    """

    draw_cell: Callable[[np.random.Generator, float], Cell]
    sample_name: str
    cells_median: float
    cells_sigma: float
    crowding: float
    disorder: float
    flatness: tuple[float, float]
    links: float
    specks: float
    clumps: float
    clump_size: int
    fibres: float


STYLES: dict[str, Style] = {
    "shsy5y": Style(
        draw_cell=spindle,
        sample_name="shsy5y[diff]",
        cells_median=255,
        cells_sigma=0.5,
        crowding=0.6,
        disorder=0.7,
        flatness=(0.2, 1.0),
        links=1.0,
        specks=60,
        clumps=30,
        clump_size=14,
        fibres=12,
    ),
    "astro": Style(
        draw_cell=branched,
        sample_name="astros[cereb]",
        cells_median=63,
        cells_sigma=0.48,
        crowding=0.65,
        disorder=0.45,
        flatness=(0.1, 0.65),
        links=0.0,
        specks=30,
        clumps=8,
        clump_size=5,
        fibres=0,
    ),
    "cort": Style(
        draw_cell=round_soma,
        sample_name="cort[pre-treat]",
        cells_median=31,
        cells_sigma=0.45,
        crowding=0.35,
        disorder=1.5,
        flatness=(0.0, 0.8),
        links=0.5,
        specks=500,
        clumps=70,
        clump_size=3,
        fibres=650,
    ),
}
CELL_TYPES: tuple[str, ...] = tuple(STYLES)


def style_of(cell_type: str) -> Style:
    """The style of a cell type; raises ValueError that names the known ones."""
    if cell_type not in STYLES:
        raise UsageError(f"unknown cell type {cell_type!r}: known are {', '.join(CELL_TYPES)}")
    return STYLES[cell_type]
