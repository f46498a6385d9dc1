"""From the files of a command line to what is tuned, and from the result to a config file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cellseg_mmdet.annotations.faults import OnError
from cellseg_mmdet.config_content import read_config
from cellseg_mmdet.config_files import as_base
from cellseg_mmdet.errors import DataError, UsageError
from cellseg_mmdet.evaluation.scoring import measure_image, records_by_image_id
from cellseg_mmdet.evaluation.sources import Context, known_sizes, read_source
from cellseg_mmdet.fileio import atomic_write, sha256_of
from cellseg_mmdet.pixel_codes import build_pixel_code
from cellseg_mmdet.postprocess.from_config import pipeline_from_config
from cellseg_mmdet.structures import ImagePrediction, ImageRecord
from cellseg_mmdet.tuning.result import Result
from cellseg_mmdet.tuning.space import Steps, find_parameters, split_code
from cellseg_mmdet.tuning.tune import Task

PathLike = str | os.PathLike[str]

# The first words of a file that may be written anew.
_WRITTEN_BY = "Written by cellseg tune"


def read_task(
    predictions: Sequence[PathLike],
    annotations: Sequence[PathLike],
    config: PathLike,
    *,
    only: Collection[str] = (),
    per_class: bool = True,
    on_error: OnError = "stop",
) -> Task:
    """Read what is to be tuned; needs mmengine, but no model.

    Args:
        predictions: dumps of raw predictions, of different images.
        annotations: files or folders of any kind of `evaluation.sources` but dumps, of at least these images, which
            are matched by file name.
        config: its `postprocess` list and class names.
        only: see `find_parameters`.
        per_class: see `find_parameters`.
        on_error: 'skip' leaves entries out that cannot be used, of annotations and COCO results, and logs their number.

    Raises:
        FileNotFoundError: if a file does not exist.
        UsageError: if there is nothing to tune, or not what ``only`` names; if predictions are final cells.
        DataError: if a file is damaged, images are in two of the dumps or of the annotation files,
            or are not annotated, or of another size.
    """
    pipeline = pipeline_from_config(config)
    steps = _steps_of(config)
    found = _read_predictions(predictions)
    code = _code_of(config)
    has_maps = all(one.maps is not None for one in found)
    if code is not None and has_maps:
        steps = [code, *steps]
    try:
        parameters = find_parameters(steps, pipeline.classes, only=only, per_class=per_class)
    except UsageError as error:
        hint = "" if code is None or has_maps else f". {_without_maps(code)}"
        raise UsageError(f"{config}: {error}{hint}") from error
    if code is not None and has_maps and all(parameter.step for parameter in parameters):
        # No number of the code is searched for: the cells are those of the dump.
        steps = steps[1:]
        parameters = [replace(parameter, step=parameter.step - 1) for parameter in parameters]
    records = _read_records(annotations, found, on_error)
    source = ", ".join(map(str, annotations))
    for prediction in found:
        measure_image(prediction, records, {}, source=source)  # measures nothing, but checks all
    return Task(
        predictions=found,
        records=[records[prediction.image_id] for prediction in found],
        steps=steps,
        classes=pipeline.classes,
        parameters=parameters,
        note="" if code is None or has_maps else _without_maps(code),
        about={
            "predictions": sorted(map(sha256_of, predictions)),
            "annotations": sorted(map(_digest, annotations)),
            "classes": pipeline.classes,
            "post-processing": steps,
            "numbers to search for": {
                parameter.name: (parameter.low, parameter.high, parameter.log)
                for parameter in parameters
            },
        },
    )


def check_out(out: PathLike, config: PathLike) -> None:
    """Raise UsageError unless the config file for the result can be written there."""
    path = Path(out)
    if path.suffix != ".py":
        raise UsageError(f"{out}: the name of a config file ends with .py")
    if path.exists() and not path.read_text(encoding="utf-8").startswith(f"# {_WRITTEN_BY}"):
        raise UsageError(f"{out} exists, and this tool did not write it: choose another --out")
    # The text names every file that a config inherits from, in a line of its own.
    inherited = read_config(config).text.splitlines()
    if any(Path(line).resolve() == path.resolve() for line in inherited if path.name in line):
        raise UsageError(f"{config} inherits from {out}: choose another --out")


def write_config(out: PathLike, config: PathLike, result: Result, source: str) -> None:
    """Write a config file that inherits from another, with the numbers found.

    Args:
        out: see `check_out`.
        config: what it inherits from.
        source: what the numbers were searched on, for the comment at its top.
    """
    base = as_base(config, Path(out).parent)
    about = f"{_WRITTEN_BY}: the best numbers of {result.num_trials} tried on\n{source}."
    tables = f"{result.score_table()}\n{result.verdict()}\n\n{result.number_table()}"
    comment = [f"# {line}".rstrip() for line in f"{about}\n\n{tables}".splitlines()]
    with atomic_write(out) as temporary:
        code, steps = split_code(result.steps)
        lines = [*comment, "", f"_base_ = {_literal(base)}", "", *_as_source(steps)]
        if code is not None:
            names = [one.name for one in build_pixel_code(code).tunable if one.name in code]
            numbers = ", ".join(f"{name}={_literal(code[name])}" for name in names)
            lines += ["", f"model = dict(code=dict({numbers}))"]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _code_of(config: PathLike) -> dict[str, Any] | None:
    """Return the pixel code of the config's model; None where it has none."""
    model = read_config(config).to_dict().get("model") or {}
    return model.get("code")


def _without_maps(code: Mapping[str, Any]) -> str:
    names = ", ".join(tunable.name for tunable in build_pixel_code(code).tunable)
    return (
        f"the numbers of {code['type']} ({names}) are searched for in dumps with maps: "
        "cellseg test CONFIG CHECKPOINT --out val.pkl --maps"
    )


def _steps_of(config: PathLike) -> Steps:
    return read_config(config).to_dict()["postprocess"]


def _as_source(steps: Steps) -> list[str]:
    """Return the lines of Python source that assign the list, one per step."""
    calls = [", ".join(f"{key}={_literal(value)}" for key, value in step.items()) for step in steps]
    return ["postprocess = [", *(f"    dict({call})," for call in calls), "]"]


def _digest(path: PathLike) -> str:
    """Return the SHA-256 of a file, or of the names and contents in a folder."""
    if not os.path.isdir(path):
        return sha256_of(path)
    digest = hashlib.sha256()
    for inner in sorted(Path(path).rglob("*")):
        if inner.is_file():
            digest.update(f"{inner.relative_to(path)} {sha256_of(inner)}\n".encode())
    return digest.hexdigest()


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        items = ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items())
        return f"{{{items}}}"
    if isinstance(value, str) and '"' not in value and "'" not in value:
        return '"' + repr(value)[1:-1] + '"'
    return repr(value)


def _read_predictions(paths: Sequence[PathLike]) -> list[ImagePrediction]:
    """Read all dumps; images sorted by name."""
    found: dict[str, ImagePrediction] = {}
    source: dict[str, PathLike] = {}
    for path in paths:
        dump = read_source(path)
        if not dump.is_raw:
            raise UsageError(
                f"{path} holds {dump.title}: final cells, which no number of a post-processing is searched on. "
                f"Make a dump of raw predictions: cellseg test CONFIG CHECKPOINT --out val.pkl"
            )
        for prediction in dump.predictions(Context()):
            image = prediction.image_id
            if image in found:
                raise DataError(
                    f"image {image!r} is in {source[image]} and in {path}: one prediction of each "
                    "image is needed, by a model that was not trained on it"
                )
            found[image], source[image] = prediction, path
    if not found:
        raise DataError(f"{', '.join(map(str, paths))}: no image is predicted")
    return [found[image] for image in sorted(found)]


def _read_records(
    paths: Sequence[PathLike], predictions: Sequence[ImagePrediction], on_error: OnError
) -> dict[str, ImageRecord]:
    """Read all annotations; records by image name."""
    # A submission does not say the sizes of its images.
    sizes = {image.image_id: (image.height, image.width) for image in predictions}
    found: dict[str, ImageRecord] = {}
    source: dict[str, PathLike] = {}
    for path in paths:
        true = read_source(path, on_error=on_error)
        if true.is_raw:
            raise UsageError(f"{path} holds raw predictions, which are no annotations")
        records = true.records(known_sizes(Context(sizes), true))
        for image, record in records_by_image_id(records, os.fspath(path)).items():
            if image in found:
                raise DataError(f"image {image!r} is annotated in {source[image]} and in {path}")
            found[image], source[image] = record, path
    return found
