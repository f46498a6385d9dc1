"""`FlowCode`: each pixel of a cell points towards its middle (Stringer et al., Cellpose, Nature Methods 2021)."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.ops.kernels import kernel
from cellseg_mmdet.pixel_codes.code import PIXEL_CODES, ChannelGroup, Decoded, PixelCode, Targets
from cellseg_mmdet.pixel_codes.heat import heat_flows
from cellseg_mmdet.pixel_codes.regions import connected_parts, renumbered, sort_pixels
from cellseg_mmdet.postprocess import Tunable
from cellseg_mmdet.postprocess.parameters import check_number

# Positions are integers in 1 / 2^SHIFT of a pixel: sums of them are exact, wherever in the image a region lies.
SHIFT = 12
ONE = 1 << SHIFT
# A step shorter than this many pixels along both axes is none.
SLOW = np.float32(1 / 1024)


@PIXEL_CODES.register("FlowCode")
class FlowCode(PixelCode):
    """Probability of foreground, and unit vectors (y, x) towards the middle of the pixel's cell.

    The vectors are those of `heat_flows`. Each connected part of a cell is encoded as a cell of its own.

    Decoding: each pixel of the foreground follows the vectors for ``num_steps`` Euler steps of one pixel, with
    bilinear interpolation between the pixels of its region, and goes on from the pixel that it comes to as that one
    does. Where pixels come to rest are sinks; sinks at most ``join_px`` apart along both axes are one. A cell are the
    connected pixels that end in one sink. Its own vectors are then compared with the predicted ones.

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

    tunable = (Tunable("mask_thr", 0.1, 0.9), Tunable("flow_thr", 0.1, 2.0))

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
        sinks = _sinks(landings, pixels, regions)
        joined = _join(sinks, regions, self.join_px)
        cells, num_cells = connected_parts(_ends(landings, pixels, sinks, joined))
        middles = _middles(cells, num_cells, sinks)
        own = heat_flows(cells)
        areas, probabilities, errors, cosines = _compare(cells, num_cells, maps, own)
        with np.errstate(invalid="ignore"):
            scores = probabilities / areas * (cosines / areas).clip(0, 1)
        kept = (middles[:, 0] > 0) & (areas >= self.min_px) & (errors <= self.flow_thr * areas)
        return Decoded(renumbered(cells, kept), scores[kept].clip(0, 1).astype(np.float32))


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
            if sinks[y, x] != 0:
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
