"""Cells of another size than those that a model was trained on: pictures are resized for it, and masks back.

A model's config says at which scale it was trained::

    cell_scale = dict(pixel_size_um=0.65, diameter_px=18.0)

``pixel_size_um`` is that of the training images, ``diameter_px`` the median diameter of their cells, that of a circle
of the same area; both as the images are stored, before the pipeline resizes them. Either may be left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np

from cellseg_mmdet.errors import ConfigError, UsageError
from cellseg_mmdet.fields import is_number
from cellseg_mmdet.images.image import Image
from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.structures.image_prediction import ImagePrediction

# Beyond it a number was given in the wrong unit.
_LEAST_FACTOR, _MOST_FACTOR = 1 / 32, 32.0
_KEYS = ("pixel_size_um", "diameter_px")
_ONE_OF = "give one of --scale, --pixel-size and --diameter (scale, pixel_size_um, diameter_px)"


@dataclass(frozen=True)
class ScaleChoice:
    """How the user says which size cells have; at most one of the three.

    Attributes:
        scale: factor by which pictures are resized.
        pixel_size_um: of a pixel of the pictures; 'file' for what each file says.
        diameter_px: median diameter of the cells in the pictures; 'auto' for what a first look at each shows.

    Raises:
        ConfigError: a value that is no positive number.
    """

    scale: float | None = None
    pixel_size_um: float | Literal["file"] | None = None
    diameter_px: float | Literal["auto"] | None = None

    def __post_init__(self) -> None:
        words = {"scale": None, "pixel_size_um": "file", "diameter_px": "auto"}
        for name, word in words.items():
            value = getattr(self, name)
            if value is None or value == word:
                continue
            if not is_number(value) or not 0 < value < float("inf"):
                allowed = f"a positive number, or {word!r}" if word else "a positive number"
                raise ConfigError(f"{name}={value!r}: must be {allowed}")

    @property
    def is_automatic(self) -> bool:
        """Whether the size of the cells is estimated, picture by picture."""
        return self.diameter_px == "auto"

    def trained_px(self, model: Mapping[str, Any] | None) -> float:
        """Return the median diameter of the cells that the model was trained on, for an estimate.

        Args:
            model: ``cell_scale`` of the model's config.

        Raises:
            UsageError: the config does not say it, or something else was said besides 'auto'.
            ConfigError: see `factors_yx`.
        """
        if self.scale or self.pixel_size_um:
            raise UsageError(_ONE_OF)
        return _of_model(model, "diameter_px", "--diameter auto")

    def factors_yx(
        self, model: Mapping[str, Any] | None, pixel_size_um: tuple[float, float] | None = None
    ) -> tuple[float, float]:
        """Return the factors by which height and width are resized before the network; (1, 1) if nothing was said.

        Args:
            model: ``cell_scale`` of the model's config.
            pixel_size_um: (height, width) of a pixel as the file says, or None.

        Raises:
            UsageError: more than one was said, the model or the file lacks the other half, or the factor is absurd.
            ConfigError: ``cell_scale`` has other keys, or a value that is no positive number.

        Example:
            >>> ScaleChoice(diameter_px=40).factors_yx({"diameter_px": 20.0})
            (0.5, 0.5)
            >>> ScaleChoice(pixel_size_um="file").factors_yx({"pixel_size_um": 0.5}, (0.25, 0.25))
            (0.5, 0.5)
        """
        said = [value for value in (self.scale, self.pixel_size_um, self.diameter_px) if value]
        if not said:
            return 1.0, 1.0
        if len(said) > 1:
            raise UsageError(_ONE_OF)
        if self.scale:
            return _checked(self.scale, self.scale)
        if self.diameter_px == "auto":  # the first look is at the picture as it is
            return 1.0, 1.0
        if self.diameter_px:
            factor = _of_model(model, "diameter_px", "--diameter") / self.diameter_px
            return _checked(factor, factor)
        trained_um = _of_model(model, "pixel_size_um", "--pixel-size")
        if self.pixel_size_um != "file":
            assert self.pixel_size_um is not None
            return _checked(self.pixel_size_um / trained_um, self.pixel_size_um / trained_um)
        if pixel_size_um is None:
            raise UsageError(
                "--pixel-size file: the file does not say how large its pixels are; give the number"
            )
        return _checked(pixel_size_um[0] / trained_um, pixel_size_um[1] / trained_um)


def add_scale_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--scale --pixel-size --diameter`` to a command."""
    group = parser.add_argument_group(
        "size of cells", "pictures are resized to what the model was trained on, and masks back"
    )
    one_of = group.add_mutually_exclusive_group()
    one_of.add_argument("--scale", type=_positive, help="factor by which pictures are resized")
    group.add_argument(
        "--pixel-size",
        type=lambda text: "file" if text == "file" else _positive(text),
        metavar="UM|file",
        help="of a pixel in micrometres, or file for what each file says: pictures are resized by it if the model "
        "knows that of its training (cell_scale.pixel_size_um of the config) and neither of the others is given; the "
        "number is also what tables, label images and scale bars say",
    )
    one_of.add_argument(
        "--diameter",
        type=lambda text: "auto" if text == "auto" else _positive(text),
        metavar="PX|auto",
        help="median diameter of the cells in pixels, or auto to estimate it for each image, as is done for models "
        "that ship; the config needs cell_scale.diameter_px",
    )


def scale_from(args: argparse.Namespace) -> ScaleChoice:
    """Return the choice that the arguments of `add_scale_arguments` make."""
    said = args.scale or args.diameter
    return ScaleChoice(args.scale, None if said else args.pixel_size, args.diameter)


def resized_size(size_hw: tuple[int, int], factors_yx: tuple[float, float]) -> tuple[int, int]:
    """Return height and width of a picture of ``size_hw`` that is resized by factors.

    Example:
        >>> resized_size((100, 3), (0.5, 0.1))
        (50, 1)
    """
    height, width = (
        max(1, round(side * factor)) for side, factor in zip(size_hw, factors_yx, strict=True)
    )
    return height, width


def resizable_dtype(dtype: np.dtype) -> np.dtype:
    """Return the type that values of a picture are resized in: those that OpenCV does not know become float32."""
    known = (np.uint8, np.uint16, np.int16, np.float32, np.float64)
    return dtype if dtype in known else np.dtype(np.float32)


def resized_image(
    image: Image, factors_yx: tuple[float, float], *, out: np.ndarray | None = None
) -> Image:
    """Return a picture resized by factors for height and width; what shrinks is averaged over areas.

    Values of types that OpenCV does not resize become float32. By factors of 1 the picture itself is returned.

    Args:
        image: the whole picture.
        factors_yx: of height and width.
        out: what the pixels are written to, (height, width, C) of the right type, as a memory map for a large picture.
    """
    height, width = resized_size(image.size_hw, factors_yx)
    if (height, width) == image.size_hw:
        return image
    pixels = image.pixels.astype(resizable_dtype(image.pixels.dtype), copy=False)
    shrinks = height * width < image.size_hw[0] * image.size_hw[1]
    resized = cv2.resize(
        np.ascontiguousarray(pixels),
        (width, height),
        dst=out if out is None or out.shape[2] > 1 else out[..., 0],
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC,
    )
    size = image.pixel_size_um
    return replace(
        image,
        pixels=resized.reshape(height, width, -1),
        pixel_size_um=size
        and (size[0] * image.size_hw[0] / height, size[1] * image.size_hw[1] / width),
    )


def resized_masks(masks: Runs, size_hw: tuple[int, int]) -> Runs:
    """Return masks at another size of their picture, with smooth outlines; one that gets too small is empty."""
    if (masks.height, masks.width) == tuple(size_hw):
        return masks
    return RoIMasks.from_runs(masks).resize(size_hw, "bilinear").to_runs()


def resized_prediction(prediction: ImagePrediction, size_hw: tuple[int, int]) -> ImagePrediction:
    """Return a prediction on a resized picture as one on the picture of ``size_hw``: boxes, masks and size.

    Instances keep their number and order; soft masks are over their boxes and stay.
    """
    if (prediction.height, prediction.width) == tuple(size_hw):
        return prediction
    y_factor, x_factor = size_hw[0] / prediction.height, size_hw[1] / prediction.width
    boxes = prediction.boxes * np.array([x_factor, y_factor, x_factor, y_factor])
    return replace(
        prediction,
        height=size_hw[0],
        width=size_hw[1],
        boxes=boxes.astype(prediction.boxes.dtype),
        masks=resized_masks(prediction.masks, size_hw),
    )


def _of_model(model: Mapping[str, Any] | None, key: str, option: str) -> float:
    unknown = set(model or {}) - set(_KEYS)
    if unknown:
        raise ConfigError(
            f"cell_scale has {', '.join(map(repr, sorted(unknown)))}; allowed are {', '.join(_KEYS)}"
        )
    value = (model or {}).get(key)
    if value is None:
        raise UsageError(
            f"{option} needs the scale of the training: cell_scale = dict({key}=...) in the model's config; "
            "--scale 1 takes pictures as they are"
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"cell_scale: {key} must be a positive number; got {value!r}")
    return float(value)


def _checked(y_factor: float, x_factor: float) -> tuple[float, float]:
    for factor in (y_factor, x_factor):
        if not _LEAST_FACTOR <= factor <= _MOST_FACTOR:
            raise UsageError(
                f"pictures would be resized by {factor:g}: allowed are {_LEAST_FACTOR:g} to {_MOST_FACTOR:g}; "
                "is the number in the right unit?"
            )
    return float(y_factor), float(x_factor)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: must be a positive number")
    return value
