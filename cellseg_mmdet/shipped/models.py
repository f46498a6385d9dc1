"""The models that ship, by name; one is there if its weights are."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cellseg_mmdet.config_files import (
    MODEL_CARD,
    MODEL_CONFIG,
    MODEL_WEIGHTS,
    is_model_name,
    shipped_models,
)
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.shipped.card import ModelCard


@dataclass(frozen=True)
class ShippedModel:
    """A trained model in its folder.

    Attributes:
        name: by which it is loaded.
        folder: of its files.

    Example:
        >>> ShippedModel("nuclei", Path("models/nuclei")).config.as_posix()
        'models/nuclei/config.json'
    """

    name: str
    folder: Path

    @property
    def config(self) -> Path:
        """Its config: what inference needs, and no more."""
        return self.folder / MODEL_CONFIG

    @property
    def weights(self) -> Path:
        """Its weights, a checkpoint."""
        return self.folder / MODEL_WEIGHTS

    @cached_property
    def card(self) -> ModelCard:
        """What it is, what it was trained on, and how good it is.

        Raises:
            DataError: the card is damaged.
        """
        return ModelCard.read(self.folder / MODEL_CARD)


def list_models() -> list[ShippedModel]:
    """Return the models that are there, by name.

    Example:
        >>> all(model.card.name == model.name for model in list_models())
        True
    """
    return [ShippedModel(name, folder) for name, folder in shipped_models().items()]


def find_model(name: str) -> ShippedModel:
    """Return a model by its name.

    Raises:
        UsageError: there is none of this name; the message lists those there are.

    Example:
        >>> find_model("unheard of")
        Traceback (most recent call last):
        ...
        cellseg_mmdet.errors.UsageError: no model 'unheard of' ships; ...
    """
    models = {model.name: model for model in list_models()}
    if name not in models:
        raise UsageError(f"no model {name!r} ships; {_those_there_are(name)}")
    return models[name]


def model_files(
    config: str | os.PathLike[str], checkpoint: str | os.PathLike[str] | None = None
) -> tuple[str, str]:
    """Return config and checkpoint of a trained model.

    Args:
        config: a config file, the name of a shipped config, or of a model that ships.
        checkpoint: a file, a URL, or the name of a model that ships; may be left out where ``config`` is one.

    Raises:
        UsageError: there is no checkpoint, and no model of the name ships.

    Example:
        >>> model_files("my_config.py", "epoch_20.pth")
        ('my_config.py', 'epoch_20.pth')
    """
    config = os.fspath(config)
    if checkpoint is None:
        if Path(config).is_file() or config.endswith(".py"):
            raise UsageError(f"config {config} needs a checkpoint: give its weights as well")
        model = find_model(config)
        return str(model.config), str(model.weights)
    if is_model_name(checkpoint):
        checkpoint = find_model(os.fspath(checkpoint)).weights
    return config, os.fspath(checkpoint)


def _those_there_are(name: str) -> str:
    names = list(shipped_models())
    if not names:
        return "this installation has none: give a config and a checkpoint"
    alike = difflib.get_close_matches(name, names, 1)
    meant = f"; did you mean {alike[0]}?" if alike else ""
    return f"there are {', '.join(names)}{meant}. With a config, give a checkpoint as well"
