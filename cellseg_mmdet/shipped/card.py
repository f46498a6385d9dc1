"""`ModelCard`: what a model that ships is, as ``card.json`` says it, and the same for people to read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.fields import FieldError, is_number, names, required, text, whole
from cellseg_mmdet.fileio import atomic_write, load_json
from cellseg_mmdet.shipped import card_text


@dataclass(frozen=True)
class DataSource:
    """Data that a model learned from, or that its weights began with.

    Attributes:
        name: of the data set.
        url: where it is from.
        licence: its SPDX identifier.
        notice: what has to travel with whatever is made of it; '' for nothing.
        what: in a few words: how many images and cells, of what kind.
        groups: how images that belong together were kept on one side, and which were held out.
    """

    name: str
    url: str
    licence: str
    notice: str
    what: str
    groups: str


@dataclass(frozen=True)
class Training:
    """How the weights were made.

    Attributes:
        command: of the training.
        config: that it was trained with.
        seed: of all randomness.
        iterations: until the checkpoint.
        averaged: whether the weights are the moving average of those of the training.
        checkpoint_sha256: of the file that they were packed from.
    """

    command: str
    config: str
    seed: int
    iterations: int
    averaged: bool
    checkpoint_sha256: str


@dataclass(frozen=True)
class Weights:
    """The file of the weights.

    Attributes:
        sha256: of its bytes.
        num_bytes: its size.
        parameters: numbers in it that were learned or counted.
        precision: 'float16' or 'float32', of kernels and matrices.
    """

    sha256: str
    num_bytes: int
    parameters: int
    precision: str


@dataclass(frozen=True)
class Score:
    """Scores of some images.

    Attributes:
        images: how many.
        cells: annotated ones in them.
        kaggle_map: the competition mAP, [0, 1].
        f1_50: F1 at an IoU of 0.5, [0, 1].
    """

    images: int
    cells: int
    kaggle_map: float
    f1_50: float


@dataclass(frozen=True)
class Picture:
    """A picture of what the model makes of one of the images of its scores.

    Attributes:
        file: its name in the folder of the model.
        caption: what it shows, a sentence.
    """

    file: str
    caption: str


@dataclass(frozen=True)
class Scores:
    """Scores of images that the model did not learn from.

    Attributes:
        data: which images.
        command: that shows them.
        overall: of all images.
        by_modality: of the images of each kind.
        by_size: of the images by the median diameter of their cells.
        pictures: of those that it predicts best, and of those that it predicts worst.
    """

    data: str
    command: str
    overall: Score
    by_modality: Mapping[str, Score]
    by_size: Mapping[str, Score]
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class ModelCard:
    """What a model is.

    Attributes:
        name: by which it is loaded.
        summary: what it finds, in a line.
        classes: names of what it finds.
        licence: of the weights, an SPDX identifier.
        trained_on: where they come from.
        training: how they were made.
        weights: their file.
        diameter_px: median diameter of the cells that it was trained on, to which pictures are resized.
        pixel_size_um: of a pixel in micrometres at that size; None where the data do not say.
        fails: where it fails, a sentence each.
        scores: on images that it did not learn from; None before `tools/models/evaluate.py`.
    """

    name: str
    summary: str
    classes: tuple[str, ...]
    licence: str
    trained_on: tuple[DataSource, ...]
    training: Training
    weights: Weights
    diameter_px: float | None
    pixel_size_um: float | None
    fails: tuple[str, ...]
    scores: Scores | None = None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ModelCard:
        """Read ``card.json``.

        Raises:
            DataError: it is damaged, or a key is missing or of another kind; file and key are named.
            OSError: it cannot be read.
        """
        try:
            return cls.from_dict(load_json(path))
        except FieldError as error:
            raise DataError(f"{path}: {error.cause}") from error

    @classmethod
    def from_dict(cls, entry: Any) -> ModelCard:
        """Return the card that a JSON object says.

        Raises:
            FieldError: a key is missing, unknown or of another kind.
        """
        entry = _checked(cls, entry, "the card", optional=("scores",))
        scores = entry.get("scores")
        return cls(
            name=text(entry["name"], "name"),
            summary=text(entry["summary"], "summary"),
            classes=names(entry["classes"], "classes"),
            licence=text(entry["licence"], "licence"),
            trained_on=tuple(
                _of(DataSource, one, f"trained_on.{number}", _SOURCE)
                for number, one in enumerate(_listed(entry["trained_on"], "trained_on"))
            ),
            training=_of(Training, entry["training"], "training", _TRAINING),
            weights=_of(Weights, entry["weights"], "weights", _WEIGHTS),
            diameter_px=_length(entry["diameter_px"], "diameter_px"),
            pixel_size_um=_length(entry["pixel_size_um"], "pixel_size_um"),
            fails=tuple(
                _prose(one, "a sentence of fails") for one in _listed(entry["fails"], "fails")
            ),
            scores=None if scores is None else _scores(scores),
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write ``card.json``, whole or not at all; the same card gives the same bytes."""
        with atomic_write(path) as temporary:
            content = json.dumps(asdict(self), indent=1, ensure_ascii=False)
            temporary.write_text(content + "\n", encoding="utf-8")

    def as_markdown(self, level: int = 2, folder: str | None = None) -> str:
        """Return the card as a chapter of Markdown, with its headline at a level.

        Args:
            level: of the headline.
            folder: of the model, as links name it; without it there are no pictures.
        """
        return card_text.as_markdown(self, level, folder)

    def score_lines(self) -> list[str]:
        """Return the lines of the card that say the scores."""
        return card_text.score_lines(self)


_Reader = Callable[[Any, str], Any]


def _prose(value: Any, name: str) -> str:
    """Return a text of any length and of several lines."""
    if isinstance(value, str):
        return value
    raise FieldError(f"{name} is no text", f"{name} is {value!r}; it must be a text")


def _truth(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    raise FieldError(f"{name} is no flag", f"{name} is {value!r}; it must be true or false")


def _share(value: Any, name: str) -> float:
    if is_number(value) and 0 <= value <= 1:
        return float(value)
    raise FieldError(f"{name} is no score", f"{name} is {value!r}; it must be a number from 0 to 1")


def _length(value: Any, name: str) -> float | None:
    if value is None or (is_number(value) and 0 < value < float("inf")):
        return None if value is None else float(value)
    raise FieldError(
        f"{name} is no length", f"{name} is {value!r}; it must be a positive number or null"
    )


def _listed(value: Any, name: str) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    raise FieldError(f"{name} is no list", f"{name} is {value!r}; it must be a list")


_SOURCE: dict[str, _Reader] = {
    "name": text, "url": text, "licence": text, "notice": _prose, "what": text, "groups": text,
}  # fmt: skip
_TRAINING: dict[str, _Reader] = {
    "command": _prose, "config": text, "seed": whole, "iterations": whole, "averaged": _truth,
    "checkpoint_sha256": text,
}  # fmt: skip
_WEIGHTS: dict[str, _Reader] = {
    "sha256": text, "num_bytes": whole, "parameters": whole, "precision": text,
}  # fmt: skip
_PICTURE: dict[str, _Reader] = {"file": text, "caption": text}
_SCORE: dict[str, _Reader] = {
    "images": whole, "cells": whole, "kaggle_map": _share, "f1_50": _share,
}  # fmt: skip


def _scores(value: Any) -> Scores:
    entry = _checked(Scores, value, "scores", optional=("pictures",))
    groups = {
        key: {
            text(name, f"a name of scores.{key}"): _of(Score, one, f"scores.{key}.{name}", _SCORE)
            for name, one in _checked(None, entry[key], f"scores.{key}").items()
        }
        for key in ("by_modality", "by_size")
    }
    return Scores(
        data=text(entry["data"], "scores.data"),
        command=_prose(entry["command"], "scores.command"),
        overall=_of(Score, entry["overall"], "scores.overall", _SCORE),
        pictures=tuple(
            _of(Picture, one, f"scores.pictures.{number}", _PICTURE)
            for number, one in enumerate(_listed(entry.get("pictures", ()), "scores.pictures"))
        ),
        **groups,
    )


def _of(kind: type, value: Any, name: str, readers: Mapping[str, _Reader]) -> Any:
    entry = _checked(kind, value, name)
    return kind(**{key: read(entry[key], f"{name}.{key}") for key, read in readers.items()})


def _checked(
    kind: type | None, value: Any, name: str, optional: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    """Return an object that has the keys of a dataclass, all of them and no other."""
    if not isinstance(value, Mapping):
        raise FieldError(f"{name} is no object", f"{name} is {value!r}; it must be an object")
    if kind is not None:
        allowed = [field.name for field in fields(kind)]
        for key in allowed:
            if key not in optional:
                _there(value, key, name)
        unknown = sorted(set(map(str, value)) - set(allowed))
        if unknown:
            raise FieldError(
                f"{name} has a key of no meaning",
                f"{name} has {', '.join(map(repr, unknown))}; allowed are {', '.join(allowed)}",
            )
    return value


def _there(entry: Mapping[str, Any], key: str, name: str) -> None:
    try:
        required(entry, key)
    except FieldError as error:
        raise FieldError(error.reason, f"{name} has {error.cause}") from None
