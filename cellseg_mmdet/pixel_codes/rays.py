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
    passes a corner goes on in the pixel on the diagonal. Time goes with the area of the cells' boxes times the length
    of the rays, and memory with that area, 4 bytes a pixel, besides the result.

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
    boxes = _boxes(label_map, label_map.max(initial=0))
    begins, total = _layout(boxes)
    bits = np.zeros(total // 64 + 2, np.uint64)
    places = np.empty(np.count_nonzero(label_map), np.uint32)
    _pack(label_map, boxes, begins, bits, places)
    pixels = np.flatnonzero(label_map).astype(np.uint32)
    counts = np.empty(total, np.int32)
    path = np.empty((sum(label_map.shape) + 2, 2), np.int64)
    lengths = np.empty(len(path), np.float32)
    for direction, plane in zip(ray_directions(num_rays), out.reshape(num_rays, -1), strict=True):
        _trace(direction, path, lengths)
        _count_steps(boxes, begins, bits, path, counts)
        _write(counts, places, pixels, lengths, plane)
    return out


@kernel
def _trace(direction: np.ndarray, path: np.ndarray, lengths: np.ndarray) -> None:
    """Write the pixels that a ray passes, which are the same from every pixel, and how long it is where it leaves each.

    Args:
        direction: y and x.
        path: (P, 2) int64, y and x of each pixel, those of the first one are 0.
        lengths: (P,) float32.
    """
    along_y, along_x = direction
    step_y, step_x = int(np.sign(along_y)), int(np.sign(along_x))
    # Lengths between two sides that a ray crosses.
    per_y, per_x = 1.0 / abs(along_y), 1.0 / abs(along_x)
    crossed_y, crossed_x = 0, 0
    for number in range(len(path)):
        to_y, to_x = (crossed_y + 0.5) * per_y, (crossed_x + 0.5) * per_x
        path[number] = crossed_y * step_y, crossed_x * step_x
        lengths[number] = min(to_y, to_x)
        if to_y <= to_x:
            crossed_y += 1
        if to_x <= to_y:
            crossed_x += 1


@kernel
def _boxes(labels: np.ndarray, count: int) -> np.ndarray:
    """Return top, left, bottom and right (exclusive) of each label, (count, 4) int64; an empty one where it is not."""
    boxes = np.zeros((count, 4), np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if labels[y, x] != 0:
                box = boxes[labels[y, x] - 1]
                if box[2] == 0:
                    box[0], box[1] = y, x
                box[1], box[2], box[3] = min(box[1], x), y + 1, max(box[3], x + 1)
    return boxes


def _layout(boxes: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the place of each box's first bit in `_pack`'s, (count,) int64, and how many bits there are.

    A row has one more than the box is wide, and there is one more row at each end: what a ray meets where it leaves.
    """
    height, width = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    sizes = (height + 2) * (width + 1)
    # A word at each end is for windows that reach beyond.
    ends = 64 + np.cumsum(sizes)
    return ends - sizes, int(ends[-1]) + 64 if len(ends) else 0


@kernel
def _pack(
    labels: np.ndarray,
    boxes: np.ndarray,
    begins: np.ndarray,
    bits: np.ndarray,
    places: np.ndarray,
) -> None:
    """Set the bit of each pixel of a cell in 64-bit words, and write the places of the bits, in order of the pixels."""
    height, width = labels.shape
    number = 0
    for y in range(height):
        for x in range(width):
            if labels[y, x] != 0:
                cell = labels[y, x] - 1
                top, left, _, right = boxes[cell]
                at = begins[cell] + (y - top + 1) * (right - left + 1) + x - left
                bits[at >> 6] |= np.uint64(1) << np.uint64(at & 63)
                places[number] = at
                number += 1


@kernel
def _window(bits: np.ndarray, at: int) -> np.uint64:
    """Return the 64 bits from ``at`` on."""
    word, shift = at >> 6, np.uint64(at & 63)
    # In two steps: shifting by 64 is not defined.
    return (bits[word] >> shift) | ((bits[word + 1] << np.uint64(1)) << (np.uint64(63) - shift))


@kernel
def _count_steps(
    boxes: np.ndarray,
    begins: np.ndarray,
    bits: np.ndarray,
    path: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Write how many steps of the path stay in the cell, for each bit that is set; 64 of a cell walk at a time.

    They are counted in binary: ``digits[k]`` holds bit k of the 64 numbers.
    """
    digits = np.zeros(63, np.uint64)
    for cell in range(len(boxes)):
        top, left, bottom, right = boxes[cell]
        stride = right - left + 1
        begin = begins[cell] + stride
        end = begin + (bottom - top) * stride
        for first in range(begin, end, 64):
            inside = _window(bits, first)
            if end - first < 64:
                inside &= (np.uint64(1) << np.uint64(end - first)) - np.uint64(1)
            number, used = 0, 0
            while inside != 0:
                number += 1
                inside &= _window(bits, first + path[number, 0] * stride + path[number, 1])
                carry, digit = inside, 0
                while carry != 0:
                    digits[digit], carry = digits[digit] ^ carry, digits[digit] & carry
                    digit += 1
                used = max(used, digit)
            counted = counts[first : first + 64]
            counted[:] = 0
            for digit in range(used):
                for bit in range(64):
                    counted[bit] += ((digits[digit] >> np.uint64(bit)) & np.uint64(1)) << np.uint64(
                        digit
                    )
                digits[digit] = 0


@kernel
def _write(
    counts: np.ndarray,
    places: np.ndarray,
    pixels: np.ndarray,
    lengths: np.ndarray,
    plane: np.ndarray,
) -> None:
    """Write the length that goes with the steps of each pixel."""
    for number in range(len(places)):
        plane[pixels[number]] = lengths[counts[places[number]]]


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
