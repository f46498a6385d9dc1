"""What a pixel code is: how cells become maps that a network learns, and how maps become cells again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from cellseg_mmdet.errors import ConfigError, DataError
from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.pixel_codes.regions import connected_parts, sort_pixels
from cellseg_mmdet.pixel_codes.turns import Turn
from cellseg_mmdet.postprocess import Tunable
from cellseg_mmdet.registry import Registry

Activation = Literal["sigmoid", "softmax", "identity"]
Loss = Literal["bce", "ce", "mse", "mae"]
Turning = Literal["scalar", "vector_yx", "rays"]

# What each loss compares: 'bce' and 'ce' are binary and categorical cross entropy of the network's logits.
LOSSES: tuple[str, ...] = ("bce", "ce", "mse", "mae")
ACTIVATIONS: tuple[str, ...] = ("sigmoid", "softmax", "identity")
TURNINGS: tuple[str, ...] = ("scalar", "vector_yx", "rays")


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are learnt and turned together.

    With z what the network gives, the map is ``activation(z) / scale``; an 'identity' group with 'mse' or 'mae' learns
    ``scale`` times the map, so that its loss has the size of the others.

    Attributes:
        name: such as 'foreground'; unique in a code.
        channels: how many.
        activation: 'sigmoid' for each channel, 'softmax' over the channels of the group, or 'identity'.
        loss: 'bce' goes with 'sigmoid', 'ce' with 'softmax' (the target is a probability for each channel), 'mse' and
            'mae' with any; each pixel weighs what `Targets.weights` says.
        loss_weight: factor of the loss.
        scale: see above; 1 unless the activation is 'identity'.
        turning: what happens to values when the picture is flipped or turned: nothing ('scalar'); 'vector_yx' is two
            channels, the y and the x component; 'rays' are lengths along the directions 2 pi k / channels, counted
            from +x to +y, a multiple of 4 of them.

    Raises:
        ConfigError: for a value that is not allowed.
    """

    name: str
    channels: int
    activation: Activation
    loss: Loss
    loss_weight: float = 1.0
    scale: float = 1.0
    turning: Turning = "scalar"

    def __post_init__(self) -> None:
        for key, allowed in (
            ("activation", ACTIVATIONS),
            ("loss", LOSSES),
            ("turning", TURNINGS),
        ):
            if getattr(self, key) not in allowed:
                raise ConfigError(
                    f"channel group {self.name!r}: {key}={getattr(self, key)!r}; allowed are {', '.join(allowed)}"
                )
        if {"bce": "sigmoid", "ce": "softmax"}.get(self.loss, self.activation) != self.activation:
            raise ConfigError(
                f"channel group {self.name!r}: the loss 'bce' goes with 'sigmoid' and 'ce' with 'softmax'; "
                f"got {self.loss!r} with {self.activation!r}"
            )
        if self.turning == "vector_yx" and self.channels != 2:
            raise ConfigError(
                f"channel group {self.name!r}: a vector (y, x) is 2 channels, not {self.channels}"
            )
        if self.channels < 1 or (self.turning == "rays" and self.channels % 4):
            raise ConfigError(
                f"channel group {self.name!r}: channels={self.channels}; at least 1, and of rays a multiple of 4"
            )

    def turned(self, turn: Turn) -> tuple[np.ndarray, np.ndarray]:
        """Return which channel each channel is taken from, (channels,) int, and its sign (channels,) float32."""
        index, sign = np.arange(self.channels), np.ones(self.channels, dtype=np.float32)
        if self.turning == "vector_yx":
            index = np.abs(turn.matrix).argmax(axis=1)
            sign = turn.matrix.sum(axis=1).astype(np.float32)
        elif self.turning == "rays":
            # The ray that points along u afterwards pointed along M^-1 u before; directions are exact in quarters.
            num_quarter = self.channels // 4
            if turn.flips_x:
                index = 2 * num_quarter - index
            if turn.flips_y:
                index = -index
            if turn.transposes:
                index = num_quarter - index
            index %= self.channels
        return index, sign


@dataclass(frozen=True, eq=False)
class Targets:
    """What a network is to give for one image.

    Attributes:
        maps: (C, H, W) float32, the channels of all groups in their order.
        weights: (G, H, W) float32 of at least 0, what each pixel weighs in the loss of each group.
    """

    maps: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class Decoded:
    """The cells of one image.

    Attributes:
        label_map: (H, W) int32, 0 for background and the N cells from 1 on, none of them empty.
        scores: (N,) float32 in [0, 1], of cell i + 1.
    """

    label_map: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def masks(self) -> Runs:
        """The N cells as runs."""
        return Runs.from_label_map(self.label_map)


class PixelCode(ABC):
    """How cells are written as maps of H x W pixels, and read from them.

    A code is one module of this package with a subclass that `PIXEL_CODES` registers. What a constructor takes are
    plain numbers, so that a config can give them; thresholds of `decode` among them are listed in ``tunable``.

    Where annotated cells overlap, a pixel belongs to the smaller one, and of two of one area to the later one
    (`owners`): the smaller cell loses the larger share of itself otherwise. Of a cell in several pieces, as another one
    on top may leave it, the largest is encoded; the others are background in the maps, and weigh 0.

    Regions are the connected parts (8 neighbours) of `foreground`. Each is decoded by itself, from its own pixels
    alone: `decode` of a window that holds a region, and the pixels next to it where the image has them, gives the cells
    and scores of this region bit for bit as `decode` of the whole image does, whatever other regions are in it. Cells
    are numbered by their first pixel in reading order.

    Attributes:
        tunable: the arguments of the constructor that are worth a search over decoded cells.

    Example:
        >>> code = build_pixel_code(dict(type="FlowCode"))
        >>> [(group.name, group.channels) for group in code.groups]
        [('foreground', 1), ('flow', 2)]
        >>> cells = Runs.from_label_map(np.array([[1, 1, 0, 2], [1, 1, 0, 2]]))
        >>> targets = code.encode(cells)
        >>> targets.maps.shape, targets.weights.shape
        ((3, 2, 4), (2, 2, 4))
        >>> code.decode(targets.maps).label_map
        array([[1, 1, 0, 2],
               [1, 1, 0, 2]], dtype=int32)
    """

    tunable: ClassVar[tuple[Tunable, ...]] = ()

    @property
    @abstractmethod
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The groups of channels, in the order of the maps."""

    @property
    def channels(self) -> int:
        """The number of maps, C."""
        return sum(group.channels for group in self.groups)

    def channels_of(self, name: str) -> slice:
        """Return where the channels of a group are among all.

        Raises:
            KeyError: there is no such group.
        """
        begin = 0
        for group in self.groups:
            if group.name == name:
                return slice(begin, begin + group.channels)
            begin += group.channels
        raise KeyError(f"no group {name!r}; there are {[group.name for group in self.groups]}")

    # ---------------------------------------------------------------- to maps

    def encode(self, masks: RoIMasks | Runs, ignored: RoIMasks | Runs | None = None) -> Targets:
        """Return the maps of the cells of one image.

        Args:
            masks: the cells; they may overlap, be empty, and be in several pieces. H and W are theirs.
            ignored: places where what is there is not known: their pixels weigh 0 in every group, and are background
                where no cell is.

        Raises:
            ValueError: the two are of different image sizes.
        """
        label_map = owners(masks)
        whole = largest_pieces(label_map)
        targets = self.encode_labels(whole)
        targets.weights[:, whole != label_map] = 0
        if ignored is not None and len(ignored):
            if (ignored.height, ignored.width) != (masks.height, masks.width):
                raise ValueError(
                    f"ignored masks are of {ignored.height} x {ignored.width} pixels, "
                    f"the cells of {masks.height} x {masks.width}"
                )
            targets.weights[:, _runs(ignored).to_label_map() > 0] = 0
        return targets

    @abstractmethod
    def encode_labels(self, label_map: np.ndarray) -> Targets:
        """Return the maps of the cells of a label map (H, W) int32; ids from 1 on, not all need to occur."""

    # ---------------------------------------------------------------- to cells

    def decode(self, maps: np.ndarray) -> Decoded:
        """Return the cells of one image.

        Args:
            maps: (C, H, W) float, after activation and scale, as `encode` gives them.

        Raises:
            DataError: maps of another shape, or with values that are NaN or infinite.
        """
        maps = np.ascontiguousarray(maps, dtype=np.float32)
        if maps.ndim != 3 or len(maps) != self.channels:
            raise DataError(
                f"{type(self).__name__} reads maps ({self.channels}, H, W); got shape {maps.shape}"
            )
        finite = np.isfinite(maps)
        if not finite.all():
            channel, y, x = (int(index) for index in np.argwhere(~finite)[0])
            raise DataError(
                f"{type(self).__name__}: the maps have {np.count_nonzero(~finite)} values that are not finite, the "
                f"first {maps[channel, y, x]} in channel {channel} at row {y}, column {x}"
            )
        return self._decode(maps)

    @abstractmethod
    def _decode(self, maps: np.ndarray) -> Decoded:
        """Return the cells of finite maps (C, H, W) float32."""

    @abstractmethod
    def foreground(self, maps: np.ndarray) -> np.ndarray:
        """Return the pixels (H, W) bool whose connected parts are decoded each by itself."""

    # ---------------------------------------------------------------- views

    def turned_channels(self, turn: Turn) -> tuple[np.ndarray, np.ndarray]:
        """Return what a turn does to the channels, besides moving the pixels, for whoever holds them as tensors.

        Returns:
            index (C,) int and sign (C,) float32: ``turned = sign[:, None, None] * pixels_moved[index]``.
        """
        indices, signs, begin = [], [], 0
        for group in self.groups:
            index, sign = group.turned(turn)
            indices.append(begin + index)
            signs.append(sign)
            begin += group.channels
        return np.concatenate(indices), np.concatenate(signs)

    def turn(self, maps: np.ndarray, turn: Turn) -> np.ndarray:
        """Return the maps (C, H', W') of the turned picture for those of the picture (C, H, W)."""
        index, sign = self.turned_channels(turn)
        return sign[:, None, None] * turn(maps)[index]

    def resized_channels(self, scale_yx: tuple[float, float]) -> np.ndarray:
        """Return the factors (C,) float32 of maps that were resized by ``scale_yx``: lengths grow with the picture."""
        factors = []
        for group in self.groups:
            if group.turning == "rays":
                angle = 2 * np.pi * np.arange(group.channels) / group.channels
                factors.append(np.hypot(scale_yx[0] * np.sin(angle), scale_yx[1] * np.cos(angle)))
            else:
                factors.append(np.ones(group.channels))
        return np.concatenate(factors).astype(np.float32)


PIXEL_CODES: Registry[PixelCode] = Registry("pixel code")
# Of every code: what is smaller is no cell, or no seed of one.
MIN_PX = Tunable("min_px", 1, 100, log=True, integer=True)


def build_pixel_code(config: Mapping[str, Any]) -> PixelCode:
    """Build a code from its config, ``type`` and the arguments of its constructor.

    Raises:
        ConfigError: no such code, an argument that it does not have, or a value that is not allowed.

    Example:
        >>> build_pixel_code(dict(type="FlowCode", mask_thr=0.4)).mask_thr
        0.4
    """
    arguments = dict(config)
    if "type" not in arguments:
        raise ConfigError(f"pixel code {config}: no 'type'; there are {PIXEL_CODES.names()}")
    name = arguments.pop("type")
    try:
        return PIXEL_CODES.get(name)(**arguments)
    except TypeError as error:
        raise ConfigError(f"pixel code {name!r}: {error}") from error


def owners(masks: RoIMasks | Runs) -> np.ndarray:
    """Return the label map (H, W) int32 of cells that may overlap; instance i is id i + 1.

    A pixel belongs to the smallest cell that has it, and of several of one area to the last.

    Example:
        >>> large, small = np.array([[1, 1, 1, 0]]), np.array([[0, 0, 1, 1]])
        >>> owners(Runs.concatenate([Runs.from_label_map(small), Runs.from_label_map(large)]))
        array([[2, 2, 1, 1]], dtype=int32)
    """
    runs = _runs(masks)
    order = np.argsort(-runs.areas, kind="stable")
    ids = np.concatenate([[0], order + 1]).astype(np.int32)
    return ids[runs[order].to_label_map()]


def largest_pieces(label_map: np.ndarray) -> np.ndarray:
    """Return a label map (H, W) int32 with the largest connected piece of each cell (8 neighbours), or those that tie.

    Example:
        >>> largest_pieces(np.array([[5, 5, 0, 5]]))
        array([[5, 5, 0, 0]], dtype=int32)
    """
    parts, count = connected_parts(label_map)
    pixels, offsets = sort_pixels(parts, count)
    cells, areas = label_map.ravel()[pixels[offsets[:-1]]], np.diff(offsets)
    largest = np.zeros(label_map.max(initial=0) + 1, dtype=np.int64)
    np.maximum.at(largest, cells, areas)
    table = np.zeros(count + 1, dtype=np.int32)
    table[1:] = np.where(areas == largest[cells], cells, 0)
    return table[parts]


def _runs(masks: RoIMasks | Runs) -> Runs:
    return masks if isinstance(masks, Runs) else masks.to_runs()


def cell_means(label_map: np.ndarray, num_cells: int, values: np.ndarray) -> np.ndarray:
    """Return the mean of a map (H, W) in each cell, (N,) float64; summed in reading order, so of each cell alone."""
    flat = label_map.ravel()
    areas = np.bincount(flat, minlength=num_cells + 1)[1:]
    return np.bincount(flat, values.ravel(), num_cells + 1)[1:] / np.maximum(areas, 1)


def class_probabilities(
    label_map: np.ndarray, class_maps: np.ndarray, num_cells: int
) -> np.ndarray:
    """Return the mean probability of each class in each cell, (N, K) float32; a cell's class is the argmax.

    Args:
        label_map: (H, W) int, 0 for background and the cells from 1 on.
        class_maps: (K, H, W) float, probability of each class in each pixel.
        num_cells: N.

    Example:
        >>> maps = np.array([[[0.9, 0.1, 0.2]], [[0.1, 0.9, 0.8]]], dtype=np.float32)
        >>> class_probabilities(np.array([[1, 1, 2]]), maps, 2)
        array([[0.5, 0.5],
               [0.2, 0.8]], dtype=float32)
    """
    means = [cell_means(label_map, num_cells, values) for values in class_maps]
    return np.stack(means, axis=1).astype(np.float32)
