"""`FlowCode`: each pixel of a cell points towards its middle (Stringer et al., Cellpose, Nature Methods 2021)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.pixel_codes.code import (
    MIN_PX,
    PIXEL_CODES,
    ChannelGroup,
    Decoded,
    PixelCode,
    Targets,
)
from cellseg_mmdet.pixel_codes.heat import heat_flows
from cellseg_mmdet.pixel_codes.pixel_steps import next_pixels
from cellseg_mmdet.pixel_codes.regions import (
    connected_parts,
    in_several,
    renumbered,
    sort_pixels,
)
from cellseg_mmdet.postprocess import Tunable
from cellseg_mmdet.postprocess.parameters import check_number

# Positions are integers in 1 / 2^SHIFT of a pixel: sums of them are exact, wherever in the image a region lies.
SHIFT = 12
ONE = 1 << SHIFT
# A step shorter than this many pixels along both axes is none.
SLOW = np.float32(1 / 1024)
# The mean squared difference of unit vectors that are more at odds than not.
NOISE = 1.0
# Cells of no more pixels are looked at again together with those that are lost.
SPECK_PX = 9


@PIXEL_CODES.register("FlowCode")
class FlowCode(PixelCode):
    """Probability of foreground, and unit vectors (y, x) towards the middle of the pixel's cell.

    The vectors are those of `heat_flows`. Each connected part of a cell is encoded as a cell of its own.

    Decoding: each pixel of the foreground follows the vectors for ``num_steps`` Euler steps of one pixel, with
    bilinear interpolation between the pixels of its region, and goes on from the pixel that it comes to as that one
    does. Where pixels come to rest are sinks; sinks at most ``join_px`` apart along both axes are one. A cell are the
    connected pixels that end in one sink. Its own vectors are then compared with the predicted ones.

    Interpolated vectors may lead past a thin cell into the one that it lies along, a ring into the nucleus in it: the
    two are found as one, whose own vectors are others. What such cells are made of, and specks beside them, is decoded
    once more, from pixel to pixel without interpolation (`next_pixels`): what agrees with the vectors then is a cell.

    The score is the mean probability of foreground times the mean cosine between own and predicted vectors, or 0.

    Args:
        mask_thr: foreground is above this probability.
        flow_thr: cells whose own vectors differ from the predicted ones by more are dropped: the mean of the squared
            length of the difference, 0.4 in Cellpose.
        min_px: smaller cells are dropped.
        num_steps: Euler steps between two looks at where a pixel has come to.
        join_px: see above.
        flow_scale: what the network learns is this times the vectors, 5 in Cellpose.

    Raises:
        ConfigError: a number is out of its range.
    """

    tunable = (Tunable("mask_thr", 0.1, 0.9), Tunable("flow_thr", 0.1, 2.0), MIN_PX)

    def __init__(
        self,
        mask_thr: float = 0.5,
        flow_thr: float = 0.4,
        min_px: int = 1,
        num_steps: int = 20,
        join_px: int = 2,
        flow_scale: float = 5.0,
    ) -> None:
        check_number("mask_thr", mask_thr, 0, 1)
        check_number("flow_thr", flow_thr, 0)
        check_number("min_px", min_px, 1, integer=True)
        check_number("num_steps", num_steps, 1, integer=True)
        check_number("join_px", join_px, 1, integer=True)
        check_number("flow_scale", flow_scale, 1e-3)
        self.mask_thr = mask_thr
        self.flow_thr = flow_thr
        self.min_px = min_px
        self.num_steps = num_steps
        self.join_px = join_px
        self.flow_scale = flow_scale

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """Foreground and flow."""
        return (
            ChannelGroup("foreground", 1, "sigmoid", "bce"),
            ChannelGroup("flow", 2, "identity", "mse", scale=self.flow_scale, turning="vector_yx"),
        )

    def encode_labels(self, label_map: np.ndarray) -> Targets:
        """Return foreground and vectors; background learns vectors of length 0."""
        maps = np.empty((3, *label_map.shape), dtype=np.float32)
        maps[0] = label_map > 0
        maps[1:] = heat_flows(label_map)
        return Targets(maps, np.ones((2, *label_map.shape), dtype=np.float32))

    def foreground(self, maps: np.ndarray) -> np.ndarray:
        """Return where the probability is above ``mask_thr``."""
        return maps[0] > self.mask_thr

    def _decode(self, maps: np.ndarray) -> Decoded:
        regions, num_regions = connected_parts(self.foreground(maps))
        pixels, _ = sort_pixels(regions, num_regions)
        landings = _land(maps[1:], regions, pixels, self.num_steps)
        cells, num_cells, sinks = _gathered(landings, pixels, regions, self.join_px)
        first = self._judged(maps, cells, num_cells, sinks)
        if first.strays.any():
            return self._looked_again(maps, cells, first)
        return Decoded(renumbered(cells, first.kept[1:]), first.scores[1:][first.kept[1:]])

    def _looked_again(self, maps: np.ndarray, cells: np.ndarray, first: _Judged) -> Decoded:
        """Decode what strays are made of from pixel to pixel, and return all cells."""
        # A speck may be the middle of a ring, all others of whose pixels are lost.
        is_open = np.bincount(cells.ravel(), minlength=len(first.kept)) <= SPECK_PX
        is_open |= ~first.kept
        is_open[0] = False
        open_parts, num_parts = connected_parts(is_open[cells])
        pixels = np.flatnonzero(open_parts)
        has_strays = np.zeros(num_parts + 1, dtype=bool)
        has_strays[open_parts.ravel()[pixels[first.strays[cells.ravel()[pixels]]]]] = True
        pixels = pixels[has_strays[open_parts.ravel()[pixels]]]
        # All that follows looks at these few pixels, and at the rows and columns that hold them.
        width = cells.shape[1]
        y, x = pixels // width, pixels % width
        window = slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1)
        regions = np.zeros_like(cells[window])
        y, x = y - window[0].start, x - window[1].start
        regions[y, x] = open_parts.ravel()[pixels]
        # Contiguous as the whole is: kernels are compiled once for both.
        maps = np.ascontiguousarray(maps[:, window[0], window[1]])
        inside = y * regions.shape[1] + x
        landings = next_pixels(maps[1:], regions, inside)
        # A step from pixel to pixel is exact: sinks that do not touch are those of two cells.
        second, num_second, sinks = _gathered(landings, inside, regions, join_px=1)
        old, new = cells.ravel()[pixels], second[y, x]
        is_kept = first.kept[old]
        is_better = 2 * np.bincount(new, is_kept, num_second + 1) < np.bincount(
            new, minlength=num_second + 1
        )
        is_better[new[is_kept & in_several(old, new)]] = False
        # The other ones need no vectors of their own.
        second = renumbered(second, is_better[1:])
        found = self._judged(maps, second, int(is_better[1:].sum()), sinks)
        new = second[y, x]
        # Of a speck in a cell that is found nothing is left.
        kept = first.kept.copy()
        kept[old[found.kept[new]]] = False
        joined = np.where(kept[cells], cells, 0)
        is_found = found.kept[new]
        joined.ravel()[pixels[is_found]] = new[is_found] + len(first.kept)
        # Both are in reading order, and so are the numbers of both together.
        parts, num_parts = connected_parts(joined)
        number = np.zeros(len(found.kept), dtype=np.int64)
        number[new[is_found]] = parts.ravel()[pixels[is_found]] - 1
        scores = np.empty(num_parts, dtype=np.float32)
        is_old = np.ones(num_parts, dtype=bool)
        is_old[number[found.kept]] = False
        scores[is_old] = first.scores[kept]
        scores[number[found.kept]] = found.scores[found.kept]
        return Decoded(parts, scores)

    def _judged(
        self, maps: np.ndarray, cells: np.ndarray, num_cells: int, sinks: np.ndarray
    ) -> _Judged:
        """Compare the cells of a label map with the vectors."""
        middles = _middles(cells, num_cells, sinks)
        own = heat_flows(cells)
        areas, probabilities, errors, cosines = _compare(cells, num_cells, maps, own)
        with np.errstate(invalid="ignore"):
            scores = probabilities / areas * (cosines / areas).clip(0, 1)
        is_large, agrees = areas >= self.min_px, errors <= self.flow_thr * areas
        kept = (middles[:, 0] > 0) & is_large & agrees
        return _Judged(
            np.concatenate([[False], kept]),
            np.concatenate([[False], is_large & ~agrees & (errors <= NOISE * areas)]),
            np.concatenate([[0], scores]).clip(0, 1).astype(np.float32),
        )


class _Judged(NamedTuple):
    """What becomes of N cells: (N + 1,) each, of label i, and of background at 0.

    Attributes:
        kept: whether it is a cell.
        strays: whether its own vectors are others than the predicted ones, but not all of them.
        scores: float32.
    """

    kept: np.ndarray
    strays: np.ndarray
    scores: np.ndarray


def _gathered(
    landings: np.ndarray, pixels: np.ndarray, regions: np.ndarray, join_px: int
) -> tuple[np.ndarray, int, np.ndarray]:
    """Return the connected pixels whose ways end in one sink, (H, W) int32, their number, and where sinks are."""
    sinks = _sinks(landings, pixels, regions)
    joined = _join(sinks, regions, join_px)
    cells, num_cells = connected_parts(_ends(landings, pixels, sinks, joined))
    return cells, num_cells, sinks


@kernel
def _land(flows: np.ndarray, regions: np.ndarray, pixels: np.ndarray, num_steps: int) -> np.ndarray:
    """Return the pixel (P,) int64 that each pixel comes to; no way leaves its region."""
    height, width = regions.shape
    # In a border of background every pixel has four neighbours; y and x of a vector side by side, as they are read.
    own = np.zeros((height + 2, width + 2), np.int32)
    vectors = np.zeros((height + 2, width + 2, 2), np.float32)
    for y in range(height):
        for x in range(width):
            own[y + 1, x + 1] = regions[y, x]
            # No step is longer than two pixels along an axis, whatever was predicted.
            vectors[y + 1, x + 1, 0] = min(max(flows[0, y, x], np.float32(-2)), np.float32(2))
            vectors[y + 1, x + 1, 1] = min(max(flows[1, y, x], np.float32(-2)), np.float32(2))
    landings = np.empty(pixels.size, np.int64)
    half, unit, one = ONE // 2, np.float32(1.0 / ONE), np.float32(1)
    for place in range(pixels.size):
        row, column = pixels[place] // width + 1, pixels[place] % width + 1
        region = own[row, column]
        y, x = row << SHIFT, column << SHIFT
        for _ in range(num_steps):
            top, left = y >> SHIFT, x >> SHIFT
            down, right = np.float32(y & (ONE - 1)) * unit, np.float32(x & (ONE - 1)) * unit
            along_y, along_x = np.float32(0), np.float32(0)
            if own[top, left] == region:
                share = (one - down) * (one - right)
                along_y += share * vectors[top, left, 0]
                along_x += share * vectors[top, left, 1]
            if own[top, left + 1] == region:
                share = (one - down) * right
                along_y += share * vectors[top, left + 1, 0]
                along_x += share * vectors[top, left + 1, 1]
            if own[top + 1, left] == region:
                share = down * (one - right)
                along_y += share * vectors[top + 1, left, 0]
                along_x += share * vectors[top + 1, left, 1]
            if own[top + 1, left + 1] == region:
                share = down * right
                along_y += share * vectors[top + 1, left + 1, 0]
                along_x += share * vectors[top + 1, left + 1, 1]
            if abs(along_y) < SLOW and abs(along_x) < SLOW:
                break
            to_y = y + np.int64(np.rint(along_y * ONE))
            to_x = x + np.int64(np.rint(along_x * ONE))
            if _is_of(own, (to_y + half) >> SHIFT, (to_x + half) >> SHIFT, region):
                y, x = to_y, to_x
                continue
            # Past a corner: on to the neighbour that the vector of the pixel points at.
            row, column = (y + half) >> SHIFT, (x + half) >> SHIFT
            to_y = row + np.int64(np.rint(min(max(vectors[row, column, 0], -one), one)))
            to_x = column + np.int64(np.rint(min(max(vectors[row, column, 1], -one), one)))
            if own[to_y, to_x] != region:
                break
            y, x = to_y << SHIFT, to_x << SHIFT
        row, column = (y + half) >> SHIFT, (x + half) >> SHIFT
        landings[place] = (row - 1) * width + column - 1
    return landings


@kernel
def _is_of(own: np.ndarray, y: int, x: int, region: int) -> bool:
    return 0 <= y < own.shape[0] and 0 <= x < own.shape[1] and own[y, x] == region


@kernel
def _sinks(landings: np.ndarray, pixels: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Return for each pixel of the image, (H, W) int32, 1 where way after way comes back to it."""
    height, width = regions.shape
    place_of = np.empty(height * width, np.int64)
    for place in range(pixels.size):
        place_of[pixels[place]] = place
    sinks = np.zeros((height, width), np.int32)
    seen = np.zeros(pixels.size, np.int64)  # number of the way that came by
    for start in range(pixels.size):
        place = start
        while seen[place] == 0:
            seen[place] = start + 1
            place = place_of[landings[place]]
        if seen[place] == start + 1:  # this way met itself: a cycle
            first = place
            while True:
                sinks[pixels[place] // width, pixels[place] % width] = 1
                place = place_of[landings[place]]
                if place == first:
                    break
    return sinks


@kernel
def _join(sinks: np.ndarray, regions: np.ndarray, join_px: int) -> np.ndarray:
    """Number the sinks (H, W) int32; those of one region that are close are one."""
    height, width = sinks.shape
    joined = np.zeros((height, width), np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            count += sinks[y, x]
    stack = np.empty(count, np.int64)
    count = 0
    for y in range(height):
        for x in range(width):
            if sinks[y, x] == 0 or joined[y, x] > 0:
                continue
            count += 1
            joined[y, x] = count
            stack[0] = y * width + x
            size = 1
            while size > 0:
                size -= 1
                at_y, at_x = stack[size] // width, stack[size] % width
                for to_y in range(max(at_y - join_px, 0), min(at_y + join_px + 1, height)):
                    for to_x in range(max(at_x - join_px, 0), min(at_x + join_px + 1, width)):
                        if (
                            sinks[to_y, to_x] != 0
                            and joined[to_y, to_x] == 0
                            and regions[to_y, to_x] == regions[y, x]
                        ):
                            joined[to_y, to_x] = count
                            stack[size] = to_y * width + to_x
                            size += 1
    return joined


@kernel
def _ends(
    landings: np.ndarray, pixels: np.ndarray, sinks: np.ndarray, joined: np.ndarray
) -> np.ndarray:
    """Return the number of the sink (H, W) int32 that each pixel ends in, 0 for background."""
    width = sinks.shape[1]
    ends = joined.copy()
    way = np.empty(pixels.size, np.int64)
    next_of = np.empty(sinks.size, np.int64)
    for place in range(pixels.size):
        next_of[pixels[place]] = landings[place]
    for place in range(pixels.size):
        pixel, size = pixels[place], 0
        while ends[pixel // width, pixel % width] == 0:
            way[size] = pixel
            size += 1
            pixel = next_of[pixel]
        end = ends[pixel // width, pixel % width]
        for step in range(size):
            ends[way[step] // width, way[step] % width] = end
    return ends


@kernel
def _middles(cells: np.ndarray, count: int, sinks: np.ndarray) -> np.ndarray:
    """Return for each cell (N, 3) int64 the number of its sink's pixels, and the sums of their y and x."""
    middles = np.zeros((count, 3), np.int64)
    height, width = cells.shape
    for y in range(height):
        for x in range(width):
            if sinks[y, x] != 0 and cells[y, x] > 0:
                cell = cells[y, x] - 1
                middles[cell, 0] += 1
                middles[cell, 1] += y
                middles[cell, 2] += x
    return middles


@kernel
def _compare(
    cells: np.ndarray, count: int, maps: np.ndarray, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return for each cell (N,) float64 its area and the sums of probability, squared difference and cosine."""
    areas, probabilities = np.zeros(count), np.zeros(count)
    errors, cosines = np.zeros(count), np.zeros(count)
    height, width = cells.shape
    for y in range(height):
        for x in range(width):
            cell = cells[y, x] - 1
            if cell < 0:
                continue
            own_y, own_x = np.float64(own[0, y, x]), np.float64(own[1, y, x])
            flow_y, flow_x = np.float64(maps[1, y, x]), np.float64(maps[2, y, x])
            areas[cell] += 1.0
            probabilities[cell] += maps[0, y, x]
            errors[cell] += (own_y - flow_y) ** 2 + (own_x - flow_x) ** 2
            length = np.sqrt(flow_y * flow_y + flow_x * flow_x)
            if own_y == 0.0 and own_x == 0.0:
                cosines[cell] += 1.0  # the middle points nowhere, and says nothing
            elif length > 0.0:
                cosines[cell] += (own_y * flow_y + own_x * flow_x) / length
    return areas, probabilities, errors, cosines
