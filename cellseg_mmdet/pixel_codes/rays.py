"""Rays from a pixel to the edge of its cell, and the polygons that end in them."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.kernels import kernel


def ray_directions(num_rays: int) -> np.ndarray:
    """Return unit vectors (num_rays, 2) float64, y and x, at angles 2 pi k / num_rays from +x towards +y.

    A multiple of 4 of them. Directions that are mirrored or turned into each other have the same digits.
    """
    quarter = num_rays // 4
    directions = np.zeros((num_rays, 2))
    for ray in range(quarter):
        # Of the two components the smaller angle gives both, so that 45 degrees are on the diagonal.
        angle, other = 2 * np.pi * ray / num_rays, 2 * np.pi * (quarter - ray) / num_rays
        y, x = (np.sin(angle), np.cos(angle)) if angle < other else (np.cos(other), np.sin(other))
        if 2 * ray == quarter:
            y = x = np.sqrt(0.5)
        for _ in range(4):
            directions[ray] = y, x
            y, x = x, -y
            ray = (ray + quarter) % num_rays
    return directions


def ray_lengths(label_map: np.ndarray, num_rays: int, out: np.ndarray | None = None) -> np.ndarray:
    """Return how far it is from the middle of each pixel to the edge of its cell, along its pixels' sides, in pixels.

    (num_rays, H, W) float32, 0 in the background. A ray ends where it first leaves the cell or the image; one that
    passes a corner goes on in the pixel on the diagonal. The time goes with the area of the cells times the length of
    the rays.

    Args:
        label_map: (H, W) int32, 0 for background.
        num_rays: a multiple of 4.
        out: (num_rays, H, W) float32, C-contiguous and 0, to be filled and returned.

    Example:
        >>> ray_lengths(np.array([[1, 1, 1, 0]], dtype=np.int32), 4)[:, 0, 0]
        array([2.5, 0.5, 0.5, 0.5], dtype=float32)
    """
    if out is None:
        out = np.zeros((num_rays, *label_map.shape), dtype=np.float32)
    # A border of background ends every ray, so that a step need not ask whether it is still in the image.
    bordered = np.pad(label_map, 1)
    width = bordered.shape[1]
    places, pixels = np.flatnonzero(bordered), np.flatnonzero(label_map)
    path = np.empty(sum(bordered.shape), np.int64)
    lengths = np.empty(len(path), np.float32)
    counts = np.zeros(bordered.size, np.int32)
    for direction, plane in zip(ray_directions(num_rays), out.reshape(num_rays, -1), strict=True):
        _trace(direction, width, path, lengths)
        if (path == path[1] * np.arange(len(path))).all():
            _measure_straight(bordered.ravel(), places, pixels, path[1], lengths, counts, plane)
        else:
            _measure(bordered.ravel(), places, pixels, path, lengths, plane)
    return out


@kernel
def _trace(direction: np.ndarray, width: int, path: np.ndarray, lengths: np.ndarray) -> None:
    """Write the pixels that a ray passes, which are the same from every pixel, and how long it is where it leaves each.

    Args:
        direction: y and x.
        width: of the image in which the pixels are counted.
        path: (P,) int64, flat index of each pixel, that of the first one is 0.
        lengths: (P,) float32.
    """
    along_y, along_x = direction
    step_y, step_x = int(np.sign(along_y)) * width, int(np.sign(along_x))
    # Lengths between two sides that a ray crosses.
    per_y, per_x = 1.0 / abs(along_y), 1.0 / abs(along_x)
    at, crossed_y, crossed_x = 0, 0, 0
    for number in range(len(path)):
        to_y, to_x = (crossed_y + 0.5) * per_y, (crossed_x + 0.5) * per_x
        path[number], lengths[number] = at, min(to_y, to_x)
        if to_y <= to_x:
            at += step_y
            crossed_y += 1
        if to_x <= to_y:
            at += step_x
            crossed_x += 1


@kernel
def _measure(
    bordered: np.ndarray,
    places: np.ndarray,
    pixels: np.ndarray,
    path: np.ndarray,
    lengths: np.ndarray,
    plane: np.ndarray,
) -> None:
    """Write the length of one ray of each pixel, which is at ``places`` with the border and at ``pixels`` without."""
    for index in range(len(places)):
        place = places[index]
        label = bordered[place]
        number = 1
        while bordered[place + path[number]] == label:
            number += 1
        plane[pixels[index]] = lengths[number - 1]


@kernel
def _measure_straight(
    bordered: np.ndarray,
    places: np.ndarray,
    pixels: np.ndarray,
    step: int,
    lengths: np.ndarray,
    counts: np.ndarray,
    plane: np.ndarray,
) -> None:
    """Do what `_measure` does for a ray that repeats one step: it is that of the next pixel and one more.

    Args:
        counts: (size of ``bordered``,) int32, overwritten: how many pixels the ray of each pixel passes.
    """
    for turn in range(len(places)):
        index = len(places) - 1 - turn if step > 0 else turn
        place = places[index]
        goes_on = bordered[place + step] == bordered[place]
        counts[place] = counts[place + step] + 1 if goes_on else 1
        plane[pixels[index]] = lengths[counts[place] - 1]


@kernel
def suppress(
    order: np.ndarray,
    rays: np.ndarray,
    directions: np.ndarray,
    regions: np.ndarray,
    overlap_thr: float,
    labels: np.ndarray,
) -> int:
    """Paint the polygons of pixels, in their order, unless they overlap one that is there; return how many there are.

    A pixel that is painted is suppressed. The polygon of another one is cut to its region, and suppressed where the
    pixels that it shares with one painted polygon are more than ``overlap_thr`` of the smaller of the two; else it gets
    its pixels that are free.

    Args:
        order: flat indices of pixels (K,) int64, best first.
        rays: (num_rays, H, W) float32.
        directions: of the rays, (num_rays, 2) y and x.
        regions: (H, W) int32.
        overlap_thr: see above.
        labels: (H, W) int32, 0, written: 1 and up.
    """
    height, width = regions.shape
    num_rays = len(directions)
    corner_y, corner_x = np.empty(num_rays + 1), np.empty(num_rays + 1)
    areas = np.zeros(order.size + 1, np.int64)  # of the polygons
    shared = np.zeros(order.size + 1, np.int64)
    inside = np.empty(height * width, np.int64)
    touched = np.empty(order.size + 1, np.int64)
    per_angle = num_rays / (2 * np.pi)
    count = 0
    for place in range(order.size):
        y, x = order[place] // width, order[place] % width
        if labels[y, x] != 0:
            continue
        region = regions[y, x]
        for ray in range(num_rays):
            length = max(float(rays[ray, y, x]), 0.0)
            corner_y[ray] = length * directions[ray, 0]
            corner_x[ray] = length * directions[ray, 1]
        corner_y[num_rays], corner_x[num_rays] = corner_y[0], corner_x[0]
        top, left = max(y + corner_y.min(), 0.0), max(x + corner_x.min(), 0.0)
        bottom = min(y + corner_y.max(), height - 1.0)
        right = min(x + corner_x.max(), width - 1.0)
        size, num_touched = 0, 0
        for at_y in range(int(np.floor(top)), int(np.ceil(bottom)) + 1):
            for at_x in range(int(np.floor(left)), int(np.ceil(right)) + 1):
                if regions[at_y, at_x] != region:
                    continue
                off_y, off_x = at_y - y, at_x - x
                if off_y != 0 or off_x != 0:
                    angle = np.arctan2(off_y, off_x) * per_angle
                    ray = int(np.floor(angle)) % num_rays
                    # On the side of the edge between two corners where the pixel of the rays is.
                    edge_y = corner_y[ray + 1] - corner_y[ray]
                    edge_x = corner_x[ray + 1] - corner_x[ray]
                    side = edge_x * (off_y - corner_y[ray]) - edge_y * (off_x - corner_x[ray])
                    if side < 0.0 or (corner_y[ray] == 0.0 and corner_x[ray] == 0.0):
                        continue
                inside[size] = at_y * width + at_x
                size += 1
                label = labels[at_y, at_x]
                if label > 0:
                    if shared[label] == 0:
                        touched[num_touched] = label
                        num_touched += 1
                    shared[label] += 1
        is_new = True
        for turn in range(num_touched):
            label = touched[turn]
            is_new &= shared[label] <= overlap_thr * min(size, areas[label])
            shared[label] = 0
        if is_new:
            count += 1
            areas[count] = size
            for turn in range(size):
                pixel = inside[turn]
                if labels[pixel // width, pixel % width] == 0:
                    labels[pixel // width, pixel % width] = count
    return count
