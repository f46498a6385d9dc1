"""What a network sees: the filters of its first convolution, and what its layers make of an image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.images import Image
from cellseg_mmdet.inference.predictor import Predictor
from cellseg_mmdet.visualization.draw import write_picture
from cellseg_mmdet.visualization.draw.sheets import sheet

Kept = TypeVar("Kept")

_TILE_PX = 160
_COLUMNS = 8
_TITLE_SIZE = 0.45
_CONTRAST_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """The output of one layer for one image.

    Attributes:
        name: of the layer; of several outputs with their number behind it.
        channels: (C, H, W) float32; of a layer that is applied to many regions, those of the first.
    """

    name: str
    channels: np.ndarray


def list_layers(predictor: Predictor, image: Image) -> list[tuple[str, str, str]]:
    """Return name, type and output shapes of each layer that has feature maps of an image, in the order of the model.

    Args:
        image: as `read_image` gives it.
    """
    modules = {name: module for name, module in _modules(predictor).items() if name}
    shapes = _run(predictor, image, modules, lambda output: str(tuple(output.shape)))
    return [
        (name, type(module).__name__, ", ".join(shapes[name]))
        for name, module in modules.items()
        if shapes[name]
    ]


def feature_maps(
    predictor: Predictor, image: Image, layers: Sequence[str] = ()
) -> list[FeatureMap]:
    """Predict an image and return what the named layers made of it.

    Args:
        image: as `read_image` gives it.
        layers: names of modules of the model; by default the parts of its backbone, or of its only network.

    Raises:
        UsageError: a layer does not exist, is not used, or has no feature maps.
    """
    modules = _modules(predictor)
    layers = layers or _default_layers(modules)
    for name in layers:
        if name not in modules:
            raise UsageError(f"the model has no layer {name!r}; --list-layers shows its layers")
    outputs = _run(
        predictor,
        image,
        {name: modules[name] for name in layers},
        lambda output: output[0].detach().float().cpu().numpy().copy(),
    )
    found = []
    for name in layers:
        if not outputs[name]:
            raise UsageError(
                f"layer {name!r} has no feature maps, channels x height x width, of this image: "
                "--list-layers shows those that have"
            )
        for number, output in enumerate(outputs[name]):
            full_name = name if len(outputs[name]) == 1 else f"{name}.{number}"
            found.append(FeatureMap(full_name, output))
    return found


def first_filters(predictor: Predictor) -> tuple[str, np.ndarray]:
    """Return the name and the weights (filters, input channels, height, width) of the first 2D convolution.

    Of three channels, the first one is that of blue, as in our images.

    Raises:
        UsageError: the model has none.
    """
    is_rgb = predictor.cfg.model.get("data_preprocessor", {}).get("bgr_to_rgb", False)
    for name, module in _modules(predictor).items():
        if isinstance(module, torch.nn.Conv2d):
            weights = module.weight.detach().float().cpu().numpy()
            return name, weights[:, ::-1] if is_rgb and weights.shape[1] == 3 else weights
    raise UsageError("the model has no convolution")


def draw_filters(name: str, weights: np.ndarray) -> np.ndarray:
    """Draw each filter as a tile, zero as middle gray and the largest weight of all as black or white.

    Filters of three channels are drawn in colour; of any other number, a row holds the channels of one filter, eight at
    most.

    Args:
        weights: (filters, input channels, height, width); of three channels, in the order BGR.

    Returns:
        uint8 BGR.
    """
    scaled = 127.5 + 127.5 * weights / max(float(np.abs(weights).max()), 1e-12)
    pixels = scaled.round().astype(np.uint8)
    if weights.shape[1] == 3:
        tiles = [
            (f"{number}", _enlarged(kernel.transpose(1, 2, 0)))
            for number, kernel in enumerate(pixels)
        ]
        return _titled(f"filters of {name}", sheet(tiles, columns=_COLUMNS, font_size=_TITLE_SIZE))
    columns = min(weights.shape[1], _COLUMNS)
    tiles = [
        (f"{number}, channel {channel}", _enlarged(pixels[number, channel]))
        for number in range(len(pixels))
        for channel in range(columns)
    ]
    return _titled(f"filters of {name}", sheet(tiles, columns=columns, font_size=_TITLE_SIZE))


def draw_feature_map(feature_map: FeatureMap, *, max_channels: int = 64) -> np.ndarray:
    """Draw each channel as a tile, small values dark and large ones bright; a channel of one value alone is black.

    Returns:
        uint8 BGR.
    """
    num_channels, height, width = feature_map.channels.shape
    flat = np.ptp(feature_map.channels, axis=(1, 2)) == 0
    tiles = [
        (f"{number}", _enlarged(_colored(channel)))
        for number, channel in enumerate(feature_map.channels[:max_channels])
    ]
    shown = f", the first {max_channels} of" if num_channels > max_channels else ","
    title = f"{feature_map.name}: {height} x {width}{shown} {num_channels} channels, {flat.sum()} without contrast"
    return _titled(title, sheet(tiles, columns=_COLUMNS, font_size=_TITLE_SIZE))


def write_sheets(
    predictor: Predictor,
    image: Image,
    out_dir: str | os.PathLike[str],
    *,
    layers: Sequence[str] = (),
    max_channels: int = 64,
) -> tuple[str, int]:
    """Write ``filters.png`` and a sheet for each layer, numbered, and return the first convolution and how many layers.

    Args:
        image: as `read_image` gives it.
        layers: see `feature_maps`.
        max_channels: tiles of a sheet; the first channels are drawn.

    Raises:
        UsageError: see `feature_maps` and `first_filters`.
    """
    folder = Path(out_dir)
    name, weights = first_filters(predictor)
    write_picture(folder / "filters.png", draw_filters(name, weights))
    maps = feature_maps(predictor, image, layers)
    for number, one in enumerate(maps, start=1):
        drawn = draw_feature_map(one, max_channels=max_channels)
        write_picture(folder / f"{number:02d}_{one.name}.png", drawn)
    return name, len(maps)


def _modules(predictor: Predictor) -> dict[str, torch.nn.Module]:
    return dict(predictor.model.named_modules())


def _run(
    predictor: Predictor,
    image: Image,
    modules: Mapping[str, torch.nn.Module],
    keep: Callable[[torch.Tensor], Kept],
) -> dict[str, list[Kept]]:
    """Predict an image and return what ``keep`` makes of the (N, C, H, W) outputs of modules, call by call, by name."""
    kept: dict[str, list[Kept]] = {name: [] for name in modules}

    def hook_of(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: kept[name].extend(map(keep, _maps_in(output)))

    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_hook(hook_of(name)).remove)
        predictor.predict({"image.png": image})
    return kept


def _maps_in(output: Any) -> Iterator[torch.Tensor]:
    """Yield the (N, C, H, W) tensors of an output, which may be nested; N is one at least."""
    if isinstance(output, torch.Tensor):
        if output.ndim == 4 and output.numel():
            yield output
    elif isinstance(output, Mapping):
        yield from _maps_in(list(output.values()))
    elif isinstance(output, list | tuple):
        for part in output:
            yield from _maps_in(part)


def _default_layers(modules: Mapping[str, torch.nn.Module]) -> list[str]:
    """Return the parts of the backbone, or of a model without one, that hold a convolution."""
    whole = "backbone" if "backbone" in modules else ""
    parts = _parts_of(whole, modules[whole])
    # A model that is one network has no parts but that one: its own are meant.
    return _parts_of(parts[0], modules[parts[0]]) or parts if len(parts) == 1 else parts


def _parts_of(name: str, whole: torch.nn.Module) -> list[str]:
    """Return the names of the children with a convolution; in place of a list, which is never called, its members."""
    found = []
    for child_name, child in whole.named_children():
        path = f"{name}.{child_name}".lstrip(".")
        if isinstance(child, torch.nn.ModuleList):
            found += _parts_of(path, child)
        elif any(isinstance(module, torch.nn.Conv2d) for module in child.modules()):
            found.append(path)
    return found


def _colored(channel: np.ndarray) -> np.ndarray:
    low, high = float(channel.min()), float(channel.max())
    if high == low:
        return np.zeros((*channel.shape, 3), dtype=np.uint8)
    # A few extreme values would leave all others dark.
    inner_low, inner_high = np.percentile(channel, _CONTRAST_PERCENTILES).tolist()
    low, high = (inner_low, inner_high) if inner_high > inner_low else (low, high)
    gray = ((channel.clip(low, high) - low) * (255 / (high - low))).round().astype(np.uint8)
    return cv2.applyColorMap(gray, cv2.COLORMAP_VIRIDIS)


def _enlarged(tile: np.ndarray) -> np.ndarray:
    """Return the tile with its longer side at `_TILE_PX`; a small one in blocks, so that its values are seen."""
    scale = _TILE_PX / max(tile.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    height, width = (max(1, round(side * scale)) for side in tile.shape[:2])
    return cv2.resize(np.ascontiguousarray(tile), (width, height), interpolation=interpolation)


def _titled(title: str, picture: np.ndarray) -> np.ndarray:
    return sheet([(title, picture)], columns=1)
