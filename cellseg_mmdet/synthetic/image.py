"""One synthetic image and its label map."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.synthetic.optics import render
from cellseg_mmdet.synthetic.scene import settle_cells
from cellseg_mmdet.synthetic.styles import (
    REFERENCE_HEIGHT_PX,
    REFERENCE_WIDTH_PX,
    style_of,
)

MIN_SIDE_PX = 32
MAX_CELLS = np.iinfo(np.uint16).max


def generate_image(
    cell_type: str, height: int, width: int, num_cells: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a phase-contrast-like image of `num_cells` cells, or of as many as find room.

    Cells are as large as in the real images, whatever the size of the image.

    Returns:
        The image, uint8 (height, width), background at 128; and the label map, uint16 (height,
        width), 0 where there is no cell and 1..N inside the cells. Each cell is one 4-connected
        component of at least `MIN_AREA_PX` pixels.

    Raises:
        UsageError: for an unknown cell type, a side below 32 pixels, or more cells than a label
            map can number.

    Example:
        >>> image, label_map = generate_image("cort", 64, 64, 2, np.random.default_rng(0))
        >>> image.shape, image.dtype, int(label_map.max())
        ((64, 64), dtype('uint8'), 2)
    """
    style = style_of(cell_type)
    check_size(height, width)
    if not 0 <= num_cells <= MAX_CELLS:
        raise UsageError(f"num_cells is {num_cells}: it must be from 0 to {MAX_CELLS}")
    cells, label_map = settle_cells(style, height, width, num_cells, rng)
    return render(style, cells, label_map, rng), label_map.astype(np.uint16)


def draw_num_cells(
    cell_type: str, height: int, width: int, density: float, rng: np.random.Generator
) -> int:
    """How many cells an image gets: as the real ones vary, times `density`, at least one."""
    style = style_of(cell_type)
    share = height * width / (REFERENCE_HEIGHT_PX * REFERENCE_WIDTH_PX)
    drawn = style.cells_median * rng.lognormal(0, style.cells_sigma) * share * density
    return int(np.clip(round(drawn), 1, MAX_CELLS))


def check_size(height: int, width: int) -> None:
    """Raise ValueError for an image too small to hold a cell."""
    if min(height, width) < MIN_SIDE_PX:
        raise UsageError(
            f"image size {height} x {width}: each side must be at least {MIN_SIDE_PX} pixels"
        )
