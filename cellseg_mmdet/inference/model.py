"""`load_model` and `Model`: from a picture in memory to its cells, in two calls."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.images import Image, ImageSource, read_image
from cellseg_mmdet.images.scale import ScaleChoice, resized_image, resized_prediction
from cellseg_mmdet.images.tile_choice import TileChoice
from cellseg_mmdet.inference.cells import Cells
from cellseg_mmdet.inference.predictor import Predictor
from cellseg_mmdet.inference.size_estimate import find_at_estimated_size
from cellseg_mmdet.inference.tiled import TiledPredictor
from cellseg_mmdet.shipped import model_files
from cellseg_mmdet.structures import ImagePrediction

_CHANNELS = (1, 3, 4)
_AS_IT_IS = ScaleChoice()


def load_model(
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    device: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    trust_checkpoint: bool = False,
    tta: bool = False,
    diameter_px: float | Literal["auto"] | None = None,
    pixel_size_um: float | Literal["file"] | None = None,
    scale: float | None = None,
) -> Model:
    """Load a trained model: one that ships, ``load_model("nuclei")``, or that of a config and a checkpoint.

    Args:
        config: config file, the name of a shipped one, or of a model that ships.
        checkpoint: checkpoint file or URL, or the name of a model that ships; left out where ``config`` is one.
        device: such as ``cpu`` or ``cuda:1``; by default the first accelerator there is.
        cfg_options: settings that override those of the config, by keys with dots.
        trust_checkpoint: allow the checkpoint to run code while it is loaded.
        tta: predict several views of each image and merge what is found.
        diameter_px: median diameter of the cells in the images, or 'auto' to estimate it for each, which is the default
            for a model that ships by its name alone.
        pixel_size_um: of a pixel in micrometres, or 'file' for what each image says.
        scale: factor by which images are resized; at most one of the last three is given, and a call may differ.

    Raises:
        UsageError: no such model ships, the config is missing or lacks something, or the device is not there.
        FileNotFoundError: there is no such checkpoint.
        CheckpointError: the checkpoint is refused, damaged, or of another model.

    Example:
        >>> load_model("mask-rcnn_r18_fpn_cpu_sartorius", "no_such_file.pth", device="cpu")
        Traceback (most recent call last):
        ...
        FileNotFoundError: checkpoint no_such_file.pth: there is no such file
    """
    chosen = ScaleChoice(scale, pixel_size_um, diameter_px)
    if checkpoint is None and chosen == ScaleChoice():
        chosen = ScaleChoice(diameter_px="auto")
    return Model(
        Predictor(
            *model_files(config, checkpoint),
            device=device,
            cfg_options=cfg_options,
            trust_checkpoint=trust_checkpoint,
            tta=tta,
        ),
        chosen,
    )


class Model:
    """A trained model: call it with an image and get its `Cells`.

    An image is what `read_image` returns, or an array of numbers of any type:

    - (H, W) or (H, W, 1) is gray;
    - (H, W, 3) is RGB;
    - (H, W, 4) is RGB and alpha, which is dropped.

    How stored values become what the network sees is the model's ``intensity``, the same as in training. Booleans are
    black and white. Channels first, (C, H, W), is refused.

    What is found goes through the config's ``postprocess`` list, as in ``cellseg infer``. Where cells are of another
    size than in training, images are resized for the network, and masks back.

    Args:
        predictor: the model; `load_model` makes both.
        scale: size of the cells, unless a call says another; images are taken as they are by default.

    Attributes:
        predictor: see there for the config and mmdet's model.

    Example:
        With a stand-in for the network, which takes each gray value for a cell:

        >>> from cellseg_mmdet.masks import Runs
        >>> from cellseg_mmdet.structures import ImagePrediction
        >>> class GrayValues:
        ...     classes = ("cell",)
        ...     def predict(self, images):
        ...         ((name, array),) = images.items()
        ...         masks = Runs.from_label_map(array[..., 0])
        ...         scores, labels = np.ones(len(masks)), np.zeros(len(masks), int)
        ...         return [ImagePrediction(name, 1, *array.shape[:2], masks.boxes, scores, labels, masks)]
        ...     def postprocess(self, prediction):
        ...         return prediction
        >>> Model(GrayValues())(np.array([[0, 90, 0, 200], [0, 90, 0, 200]], np.uint8))
        Cells(2 cells in 2 x 4 pixels: 2 cell)
    """

    def __init__(self, predictor: Predictor, scale: ScaleChoice = _AS_IT_IS) -> None:
        self.predictor = predictor
        self.scale = scale
        self._tiled: dict[TileChoice, TiledPredictor] = {}

    def __repr__(self) -> str:
        return f"Model(classes={', '.join(self.classes)}; on {self.device})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        return self.predictor.classes

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.predictor.device

    def __call__(
        self,
        image: Image | ImageSource | np.ndarray,
        *,
        name: str = "image",
        diameter_px: float | Literal["auto"] | None = None,
        pixel_size_um: float | Literal["file"] | None = None,
        scale: float | None = None,
        tile: int | Literal["auto", "off"] = "auto",
        memory_gb: float | None = None,
    ) -> Cells:
        """Find the cells of one image.

        Args:
            image: see the class; or what `open_image` returns, which is read by window where tiles are cut.
            name: by which `Cells` and errors call it.
            diameter_px: median diameter of the cells in the image, or 'auto' to estimate it.
            pixel_size_um: of a pixel in micrometres, or 'file' for what the image says.
            scale: factor by which the image is resized; 1 takes it as it is.
            tile: 'auto' cuts pictures that would not fit the memory into tiles; or the side of the tiles; or 'off'.
            memory_gb: what a picture may take, in 10^9 bytes; by default half of what is free on the device.

        Raises:
            ImageError: the array is no picture: it has other axes, no pixels, or holds no numbers.
            UsageError: more than one size was given, or the config does not say that of the training.
            ConfigError: ``tile`` or ``memory_gb`` is out of its range.
        """
        said = ScaleChoice(scale, pixel_size_um, diameter_px)
        choice = self.scale if said == _AS_IT_IS else said
        picture = image if isinstance(image, Image | ImageSource) else _picture(image, name)
        if choice != _AS_IT_IS and isinstance(picture, np.ndarray):
            picture = read_image(picture, name=name)
        size_hw = picture.shape[:2] if isinstance(picture, np.ndarray) else picture.size_hw
        tiled = self._tiles(TileChoice(tile, memory_gb))
        predict = partial(self._predict, picture, size_hw, f"{name}.image", tiled)
        if choice == _AS_IT_IS:
            final = self.predictor.postprocess(predict((1.0, 1.0)))
            return Cells.from_prediction(final, self.classes)
        assert not isinstance(picture, np.ndarray)
        cell_scale = self.predictor.cell_scale
        if choice.is_automatic:
            is_tiled = tiled is not None and tiled.applies(size_hw)
            estimate = find_at_estimated_size(
                self.predictor,
                size_hw,
                predict,
                choice.trained_px(cell_scale),
                window=picture.part if is_tiled else None,
            )
            found, factor = estimate.look.found.final, estimate.factor
        else:
            factors_yx = choice.factors_yx(cell_scale, picture.pixel_size_um)
            found = self.predictor.postprocess(predict(factors_yx))
            factor = float(np.sqrt(np.prod(factors_yx)))
        final = resized_prediction(found, size_hw)
        return replace(Cells.from_prediction(final, self.classes), scale=factor)

    def _tiles(self, choice: TileChoice) -> TiledPredictor | None:
        if not hasattr(self.predictor, "tiled"):  # a stand-in
            return None
        if choice not in self._tiled:
            self._tiled = {choice: self.predictor.tiled(choice)}
        return self._tiled[choice]

    def _predict(
        self,
        picture: Image | ImageSource | np.ndarray,
        size_hw: tuple[int, int],
        file_name: str,
        tiled: TiledPredictor | None,
        factors_yx: tuple[float, float],
    ) -> ImagePrediction:
        """Return the raw prediction of a picture resized by factors, in tiles where it would be too large."""
        if tiled is not None and tiled.applies(size_hw, factors_yx):
            if isinstance(picture, np.ndarray):
                picture = read_image(picture, name=file_name)
            return tiled.predict(picture, file_name, factors_yx)
        if isinstance(picture, ImageSource):
            picture = picture.read()
        if isinstance(picture, Image):
            picture = resized_image(picture, factors_yx)
        (raw,) = self.predictor.predict({file_name: picture})
        return raw


def _picture(image: np.ndarray, name: str) -> np.ndarray:
    """Return an array (H, W, 1) or (H, W, 3) RGB of numbers."""
    if isinstance(image, str | bytes | os.PathLike):
        raise ImageError(f"{name}: {image!r} is no array: give read_image({image!r})")
    image = np.asarray(image)
    if image.dtype.kind not in "buif":
        raise ImageError(f"{name}: an array of {image.dtype} is no picture: give numbers")
    if image.ndim == 2:
        image = image[..., None]
    allowed = "(H, W), (H, W, 1), (H, W, 3) RGB and (H, W, 4) RGBA"
    if image.ndim != 3 or image.shape[2] not in _CHANNELS:
        hint = ""
        if image.ndim == 3 and image.shape[0] in _CHANNELS:
            hint = "; if channels come first, give np.moveaxis(image, 0, -1)"
        raise ImageError(f"{name}: an array of shape {image.shape}; allowed are {allowed}{hint}")
    if not image.size:
        raise ImageError(f"{name}: an array of shape {image.shape} has no pixels")
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    return image[..., :3]
