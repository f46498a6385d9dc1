"""`ModelSpec`: what names a trained model, for whoever has to load it in another process or go on with its run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cellseg_mmdet.engine import load_config
from cellseg_mmdet.engine.config import check_model, enable_tta
from cellseg_mmdet.errors import CheckpointError
from cellseg_mmdet.fileio import sha256_of
from cellseg_mmdet.images import Image
from cellseg_mmdet.inference.predictor import Predictor, array_pipeline
from cellseg_mmdet.shipped import model_files
from cellseg_mmdet.structures import ImagePrediction


class ImagePredictor(Protocol):
    """A loaded model, as a run needs it; `Predictor` is one."""

    classes: tuple[str, ...]
    cell_scale: Mapping[str, Any] | None
    cap: tuple[str, int] | None

    def predict(self, images: Mapping[str, Image]) -> list[ImagePrediction]:
        """Return the raw predictions of a batch, in the order of the images."""

    def postprocess(self, prediction: ImagePrediction) -> ImagePrediction:
        """Return the final instances of an image."""


class ModelSource(Protocol):
    """Names a model and loads it; it can be pickled. `ModelSpec` is one."""

    @property
    def device(self) -> str | None:
        """Where it shall compute; None for the first accelerator there is."""

    def load(self, device: str | None = None) -> ImagePredictor:
        """Return the model, on a device if one is given."""

    def identity(self) -> dict[str, str]:
        """Return all that results depend on, by what it is; equal for equal results."""


@dataclass(frozen=True)
class ModelSpec:
    """A trained model by its config, its checkpoint and how it is used.

    Attributes:
        config: config file, the name of a shipped one, or of a model that ships.
        checkpoint: checkpoint file or URL, or the name of a model that ships; None where ``config`` is one.
        device: such as ``cpu`` or ``cuda:1``; by default the first accelerator there is.
        cfg_options: settings that override those of the config, by keys with dots.
        trust_checkpoint: allow the checkpoint to run code while it is loaded.
        tta: predict several views of each image and merge what is found.

    Example:
        >>> ModelSpec("my_config.py", "epoch_20.pth", tta=True)
        ModelSpec(config='my_config.py', checkpoint='epoch_20.pth', tta=True)
    """

    config: str
    checkpoint: str | None = None
    device: str | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    trust_checkpoint: bool = False
    tta: bool = False

    def __repr__(self) -> str:
        given = {
            name: value for name, value in vars(self).items() if value not in (None, False, {})
        }
        return f"ModelSpec({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def load(self, device: str | None = None) -> Predictor:
        """Return the model, on ``device`` if it is given; see `Predictor` for the errors."""
        return Predictor(
            *model_files(self.config, self.checkpoint),
            device=device or self.device,
            cfg_options=self.cfg_options,
            trust_checkpoint=self.trust_checkpoint,
            tta=self.tta,
        )

    def identity(self) -> dict[str, str]:
        """Return digests of what results depend on: the weights, and of the config what predicts.

        A config whose schedule or data sets were edited is the same; a checkpoint that was moved is the same.

        Raises:
            UsageError: the config cannot be read, or has no views although ``tta`` is asked for.
            CheckpointError: there is no such checkpoint.
        """
        config, checkpoint = model_files(self.config, self.checkpoint)
        cfg = load_config(config, self.cfg_options)
        check_model(cfg)
        if self.tta:
            enable_tta(cfg)
        parts = {
            "model": cfg.model,
            "pipeline": array_pipeline(cfg),
            "post-processing": cfg.get("postprocess") or [],
            "size of cells": cfg.get("cell_scale") or {},
        }
        digests = {name: _digest(repr(part)) for name, part in parts.items()}
        return {
            "checkpoint": _checkpoint_digest(checkpoint),
            **digests,
            "device": _kind(self.device),
        }


def _checkpoint_digest(checkpoint: str) -> str:
    if "://" in checkpoint:
        return _digest(checkpoint)
    if not Path(checkpoint).is_file():
        raise CheckpointError(f"checkpoint {checkpoint}: there is no such file")
    return sha256_of(checkpoint)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _kind(device: str | None) -> str:
    """``cpu`` or ``cuda``, without the number: the results of one GPU are those of the next."""
    from mmengine.device import get_device

    return (device or get_device()).partition(":")[0]
