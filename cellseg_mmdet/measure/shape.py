"""The shape of each mask, from its own box."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.masks import RoIMasks
from cellseg_mmdet.measure import hull, moments, outline


def shapes_of(
    masks: RoIMasks, spacing_yx: tuple[float, float] = (1.0, 1.0)
) -> dict[str, np.ndarray]:
    """Return what is measured of the shape of N masks, name -> (N,) values; docs/measurements.md defines each.

    Each mask is measured as if it were alone. Lengths are in the unit of ``spacing_yx``, areas in its square. A mask
    without a pixel has an area of 0, and NaN where nothing can be measured.

    Args:
        masks: in tight boxes.
        spacing_yx: height and width of a pixel.

    Example:
        A rectangle of 2 x 4 pixels, at the left border of the image:

        >>> label_map = np.zeros((5, 6), int)
        >>> label_map[1:3, :4] = 1
        >>> from cellseg_mmdet.masks import Runs
        >>> shape = shapes_of(RoIMasks.from_runs(Runs.from_label_map(label_map)))
        >>> float(shape["area"][0]), float(shape["extent"][0]), bool(shape["touches_border"][0])
        (8.0, 1.0, True)
        >>> round(float(shape["feret_max"][0]), 3), float(shape["feret_min"][0])
        (4.472, 2.0)
    """
    stored = masks.boxes, masks.bitmaps, masks.offsets
    size_hw = masks.height, masks.width
    of_moments = moments.moments_of(*stored, size_hw, spacing_yx)
    of_outline = outline.outlines_of(*stored, spacing_yx)
    of_hull = hull.hulls_of(*stored, spacing_yx)
    area, perimeter = of_moments[:, moments.AREA], of_outline[:, outline.PERIMETER]
    x1, y1, x2, y2 = masks.boxes.T
    box_area = ((x2 - x1) * (y2 - y1)).astype(np.float64) * spacing_yx[0] * spacing_yx[1]
    return {
        "area": area,
        "perimeter": perimeter,
        "perimeter_crofton": of_outline[:, outline.CROFTON],
        "equivalent_diameter": np.sqrt(4 * area / np.pi),
        "major_axis": of_moments[:, moments.MAJOR],
        "minor_axis": of_moments[:, moments.MINOR],
        "orientation": of_moments[:, moments.ORIENTATION],
        "eccentricity": of_moments[:, moments.ECCENTRICITY],
        "solidity": ratio(area, of_hull[:, hull.CONVEX_AREA]),
        "extent": ratio(area, box_area),
        "circularity": ratio(4 * np.pi * area, perimeter**2),
        "feret_max": of_hull[:, hull.FERET_MAX],
        "feret_min": of_hull[:, hull.FERET_MIN],
        "centroid_x": of_moments[:, moments.CENTROID_X],
        "centroid_y": of_moments[:, moments.CENTROID_Y],
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "touches_border": of_moments[:, moments.BORDER] > 0,
        "pieces": of_outline[:, outline.PIECES].astype(np.int64),
        "holes": of_outline[:, outline.HOLES].astype(np.int64),
    }


def ratio(numbers: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Return quotients (N,), NaN where the divisor is 0 or NaN.

    Example:
        >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0]))
        array([0.5, nan])
    """
    return np.divide(numbers, by, out=np.full(len(by), np.nan), where=by != 0)
