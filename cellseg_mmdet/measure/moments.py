"""Area, centroid and the ellipse of equal second moments of each mask."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.kernels import kernel

AREA, CENTROID_Y, CENTROID_X, MAJOR, MINOR, ORIENTATION, ECCENTRICITY, BORDER = range(8)
_NUM_COLUMNS = 8
# What is less than this part of the second moments is rounding: such an ellipse is a circle, and points nowhere.
_ROUND = 1e-12


def moments_of(
    boxes: np.ndarray,
    bitmaps: np.ndarray,
    offsets: np.ndarray,
    size_hw: tuple[int, int],
    spacing_yx: tuple[float, float],
) -> np.ndarray:
    """Return (N, 8) float64: area, centroid y and x, major and minor axis, orientation, eccentricity, on the border.

    Axes are four times the root of the eigenvalues of the covariance of the pixels' centres; the orientation is the
    angle from the y axis to the major axis, counter-clockwise, in (-pi/2, pi/2]: the definitions of scikit-image.

    Args:
        boxes: (N, 4) int64 xyxy, as in `RoIMasks`.
        bitmaps: as in `RoIMasks`, uint8.
        offsets: as in `RoIMasks`.
        size_hw: of the image, in pixels.
        spacing_yx: height and width of a pixel; centroids and axes are in its unit, areas in its square.
    """
    out = np.full((len(boxes), _NUM_COLUMNS), np.nan)
    _moments(boxes, bitmaps, offsets, size_hw[0], size_hw[1], spacing_yx[0], spacing_yx[1], out)
    return out


@kernel
def _moments(
    boxes: np.ndarray,
    bitmaps: np.ndarray,
    offsets: np.ndarray,
    height: int,
    width: int,
    size_y: float,
    size_x: float,
    out: np.ndarray,
) -> None:
    for cell in range(boxes.shape[0]):
        x1, y1, x2, y2 = boxes[cell]
        count, sum_x, sum_y = 0, 0, 0
        sum_xx, sum_xy, sum_yy = 0.0, 0.0, 0.0
        on_border = False
        place = offsets[cell]
        for x in range(x2 - x1):
            for y in range(y2 - y1):
                if bitmaps[place]:
                    count += 1
                    sum_x += x
                    sum_y += y
                    sum_xx += x * x
                    sum_xy += x * y
                    sum_yy += y * y
                    if x + x1 == 0 or y + y1 == 0 or x + x1 == width - 1 or y + y1 == height - 1:
                        on_border = True
                place += 1
        out[cell, 0] = count * size_y * size_x
        out[cell, 7] = on_border
        if count == 0:
            continue
        out[cell, 1] = (y1 + sum_y / count) * size_y
        out[cell, 2] = (x1 + sum_x / count) * size_x
        # From the box's corner, so that the sums are small whole numbers, and their differences exact.
        square = float(count) * count
        var_y = (count * sum_yy - float(sum_y) * sum_y) / square * size_y * size_y
        var_x = (count * sum_xx - float(sum_x) * sum_x) / square * size_x * size_x
        both = (count * sum_xy - float(sum_x) * sum_y) / square * size_y * size_x
        middle = 0.5 * (var_y + var_x)
        spread = np.sqrt((0.5 * (var_y - var_x)) ** 2 + both * both)
        large, small = middle + spread, max(middle - spread, 0.0)
        out[cell, 3] = 4.0 * np.sqrt(large)
        out[cell, 4] = 4.0 * np.sqrt(small)
        out[cell, 6] = np.sqrt(1.0 - small / large) if large > 0.0 else 0.0
        if spread > _ROUND * middle:
            out[cell, 5] = 0.5 * np.arctan2(2.0 * both, var_y - var_x)
