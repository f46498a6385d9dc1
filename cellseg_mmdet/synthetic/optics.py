"""From a settled scene to gray levels, the way a phase-contrast microscope does it.

The scene becomes a map of optical thickness. Phase contrast shows thickness as darkness, loses its
slow changes and surrounds every step with a halo; both come from one band-pass filter, a narrow
Gaussian (the focus) minus a wide one (the phase ring). Widths and amplitudes were fitted to the
power spectrum and the gray levels of the competition's images.
"""

from __future__ import annotations

import cv2
import numpy as np

from cellseg_mmdet.synthetic.scene import SHIFT, fixed_point
from cellseg_mmdet.synthetic.shapes import Cell, wander
from cellseg_mmdet.synthetic.styles import REFERENCE_HEIGHT_PX, REFERENCE_WIDTH_PX, Style

MEAN_GRAY = 128.0
FOCUS_SIGMA_PX = (0.42, 0.6)
HALO_SIGMA_PX = 1.8
NOISE_SIGMA = 1.0
# Thickness is drawn on a grid this much finer: processes are narrower than a pixel.
FINE = 2
RIM_GLARE = 0.3  # share of the thickness
_RIM = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * FINE + 1, 2 * FINE + 1))


def render(
    style: Style, cells: list[Cell], label_map: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The image uint8 (H, W) of the settled `cells`."""
    shape = label_map.shape
    crowd = label_map.size / (REFERENCE_HEIGHT_PX * REFERENCE_WIDTH_PX)
    litter = rng.lognormal(0, 0.4)  # some cultures are cleaner than others
    thickness = _bodies(cells, shape)
    drawing = np.zeros(thickness.shape, np.uint8)  # the only depth cv2 draws anti-aliased on
    _draw_nuclei(drawing, cells, rng)
    _draw_fibres(drawing, rng.poisson(style.fibres * crowd), rng)
    glare = np.zeros(thickness.shape, np.uint8)
    _draw_specks(drawing, glare, rng.poisson(style.specks * crowd * litter), rng)
    _draw_clumps(drawing, glare, style, rng.poisson(style.clumps * crowd * litter), cells, rng)
    thickness += drawing
    thickness -= glare
    thickness = cv2.resize(thickness, shape[::-1], interpolation=cv2.INTER_AREA)
    return _expose(thickness + _grain(cells, label_map, rng), rng)


def _expose(thickness: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    focus = cv2.GaussianBlur(thickness, (0, 0), rng.uniform(*FOCUS_SIGMA_PX))
    halo = cv2.GaussianBlur(thickness, (0, 0), HALO_SIGMA_PX)
    gray = MEAN_GRAY - (focus - halo) + _background(thickness.shape, rng)
    noise = _white(thickness.shape, rng) * NOISE_SIGMA
    return np.clip(np.rint(gray + noise), 0, 255).astype(np.uint8)


def _white(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def _background(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Uneven illumination and faint interference fringes, less than one gray level each."""
    height, width = shape
    y, x = np.ogrid[:height, :width]
    wave_x, wave_y = rng.normal(0, 5, 2) / max(shape)
    glow = 0.25 * np.sin(wave_x * x + wave_y * y + rng.uniform(0, 2 * np.pi))
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(4, 7)
    across = (np.cos(angle) * x + np.sin(angle) * y) * (2 * np.pi / pitch)
    return (glow + rng.uniform(0, 0.6) * np.sin(across)).astype(np.float32)


def _bodies(cells: list[Cell], shape: tuple[int, int]) -> np.ndarray:
    """Thickness of the cells on the fine grid: it rises from the rim of a cell to a plateau."""
    owner = np.zeros((shape[0] * FINE, shape[1] * FINE), np.int32)
    # Neurites lie under all bodies; of two bodies the one settled first lies on top, as in the
    # label map.
    for index, cell in enumerate(cells, start=1):
        for outline in cell.neurites:
            cv2.fillPoly(owner, [_fine(outline)], index, shift=SHIFT)
    for index, cell in zip(range(len(cells), 0, -1), reversed(cells), strict=True):
        for outline in cell.bodies:
            cv2.fillPoly(owner, [_fine(outline)], index, shift=SHIFT)
    depth_px = cv2.distanceTransform(_inner(owner), cv2.DIST_L2, 3) / FINE
    heights = np.array([0.0, *(cell.height for cell in cells)], np.float32)
    per_px = np.array([0.0, *(1 / cell.edge_px for cell in cells)], np.float32)
    thickness = heights[owner] * (1 - np.exp(-depth_px * per_px[owner]))
    # A steep rim refracts light outwards: it is brighter than the band-pass alone would have it.
    return (1 + RIM_GLARE) * thickness - RIM_GLARE * cv2.dilate(thickness, _RIM)


def _inner(owner: np.ndarray) -> np.ndarray:
    """uint8 mask of the pixels whose right and lower neighbours are of the same cell.

    It keeps cells apart even where they touch.
    """
    inner = owner > 0
    inner[:, :-1] &= owner[:, :-1] == owner[:, 1:]
    inner[:-1] &= owner[:-1] == owner[1:]
    return inner.astype(np.uint8)


def _fine(points: np.ndarray) -> np.ndarray:
    return fixed_point(points * FINE)


def _random_points(shape: tuple[int, int], count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` points (x, y) in image pixels, anywhere on a fine drawing of `shape`."""
    return rng.random((count, 2)) * (shape[1] / FINE, shape[0] / FINE)


def _draw_disc(
    drawing: np.ndarray, centre: np.ndarray, radius_px: float, level: float, thickness: int = -1
) -> None:
    corner = _fine(centre[None])[0, 0].tolist()
    radius = int(radius_px * FINE * (1 << SHIFT))
    cv2.circle(drawing, corner, radius, min(int(level), 255), thickness, cv2.LINE_AA, SHIFT)


def _draw_fibres(drawing: np.ndarray, count: int, rng: np.random.Generator) -> None:
    """A web of long thin neurites from cells out of view, with beads along them."""
    for start in _random_points(drawing.shape, count, rng):
        path = wander(rng, start, rng.uniform(0, 2 * np.pi), rng.uniform(20, 200), 0.8)
        level = int(rng.gamma(2.5, 20))
        cv2.polylines(drawing, [_fine(path)], False, level, 1, cv2.LINE_AA, SHIFT)
        beads = path[rng.random(len(path)) < rng.uniform(0, 0.4)] + rng.normal(0, 0.5, 2)
        for bead in beads:
            _draw_disc(drawing, bead, rng.uniform(0.3, 0.9), level + rng.uniform(0, 90))


def _draw_specks(
    drawing: np.ndarray, glare: np.ndarray, count: int, rng: np.random.Generator
) -> None:
    """Round debris: dark points with a bright ring, from hardly seen to saturated."""
    for centre in _random_points(drawing.shape, count, rng):
        radius, level = rng.uniform(0.3, 1.5), rng.gamma(3.0, 80)
        _draw_disc(glare, centre, radius + 1.2, 0.35 * level)
        _draw_disc(drawing, centre, radius, 1.35 * level)


def _draw_clumps(
    drawing: np.ndarray,
    glare: np.ndarray,
    style: Style,
    count: int,
    cells: list[Cell],
    rng: np.random.Generator,
) -> None:
    """Dead, rounded cells in clumps: dark rings around a bright core, mostly on living cells."""
    for middle in _random_points(drawing.shape, count, rng):
        if cells and rng.random() < 0.6:
            middle = cells[rng.integers(len(cells))].bodies[0][0]
        size = int(rng.integers(1, style.clump_size + 1))
        for centre in middle + rng.normal(0, 1.2 * np.sqrt(size), (size, 2)):
            radius, level = rng.uniform(1.0, 3.0), rng.uniform(80, 255)
            _draw_disc(glare, centre, radius + 1.0, 0.3 * level)
            _draw_disc(drawing, centre, radius, level, FINE)
            for grain in centre + rng.normal(0, 2.0, (2, 2)):
                _draw_disc(drawing, grain, rng.uniform(0.4, 1.0), rng.uniform(0, 255))


def _draw_nuclei(drawing: np.ndarray, cells: list[Cell], rng: np.random.Generator) -> None:
    """The outline of each nucleus and the nucleoli in it."""
    for cell in cells:
        middle = cell.bodies[0].mean(axis=0) + rng.normal(0, 0.2 * cell.nucleus_px, 2)
        _draw_disc(drawing, middle, cell.nucleus_px, 0.2 * cell.height, 1)
        for nucleolus in middle + rng.normal(0, 0.4 * cell.nucleus_px, (rng.integers(1, 4), 2)):
            _draw_disc(
                drawing, nucleolus, rng.uniform(0.3, 0.9), rng.uniform(0.1, 0.7) * cell.height
            )


def _grain(cells: list[Cell], label_map: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Organelles inside the labelled cells: sparse dark granules."""
    grains = np.array([0.0, *(cell.grain for cell in cells)], np.float32)
    field = cv2.GaussianBlur(_white(label_map.shape, rng), (0, 0), 0.6)
    return grains[label_map] * np.square(np.maximum(field, 0))
