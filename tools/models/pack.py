#!/usr/bin/env python
"""Make a model that ships of a checkpoint and its config: config, weights and card in a folder of the package.

The same checkpoint, config and facts give the same bytes. What cannot be computed stands in a file of facts
(tools/models/facts/NAME.json). Scores are kept as long as weights and config are the same; tools/models/evaluate.py
writes them. A change of the config alone is packed with the weights that ship in place of the checkpoint: the card goes
on to say of which checkpoint they are.

    tools/models/pack.py work_dirs/nuclei/iter_60000.pth my_config.py nuclei --half
    tools/models/pack.py cellseg_mmdet/shipped/nuclei/weights.safetensors my_config.py nuclei --half
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from cellseg_mmdet.config_content import class_names, dataset_of
from cellseg_mmdet.config_files import MODEL_CARD, MODEL_CONFIG, MODEL_WEIGHTS, MODELS
from cellseg_mmdet.engine import load_config
from cellseg_mmdet.engine.checkpoint import read_checkpoint
from cellseg_mmdet.engine.safetensors_file import write_safetensors
from cellseg_mmdet.engine.weights import check_finite, weights_of
from cellseg_mmdet.errors import ConfigError, DataError, UsageError
from cellseg_mmdet.fields import FieldError
from cellseg_mmdet.fileio import atomic_write, load_json, sha256_of
from cellseg_mmdet.inference import Predictor
from cellseg_mmdet.shipped import ModelCard
from cellseg_mmdet.terminal import run_tool

# Run as a file, it is not in a package.
sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.models.pictures import remove_pictures

MAX_BYTES = 12_000_000
FACTS = Path(__file__).parent / "facts"
# What predicts; all else of a config is of trainings and data sets.
_KEPT = ("default_scope", "cell_scale", "postprocess", "tta_model", "tta_pipeline")
_IMPORTS = ["cellseg_mmdet.datasets", "cellseg_mmdet.engine", "cellseg_mmdet.models"]
# Keys that only training reads, anywhere in the model: a backbone would look for the weights that it began with.
_OF_TRAINING = ("init_cfg", "pretrained")
_NAME = re.compile("[a-z][a-z0-9-]*")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    parser.add_argument("config", metavar="CONFIG", help="that it was trained with")
    parser.add_argument("name", metavar="NAME", help="of the model")
    parser.add_argument("--half", action="store_true", help="store kernels in half precision")
    parser.add_argument(
        "--facts",
        metavar="JSON",
        help="what the card says and cannot be computed (default: tools/models/facts/NAME.json)",
    )
    parser.add_argument("--out-dir", default=MODELS, type=Path, help="(default: the package's)")
    args = parser.parse_args()
    run_tool(lambda: print(_told(args)))


def _told(args: argparse.Namespace) -> str:
    folder = pack(
        args.checkpoint,
        args.config,
        args.name,
        facts=args.facts or FACTS / f"{args.name}.json",
        half=args.half,
        out_dir=args.out_dir,
    )
    card = ModelCard.read(folder / MODEL_CARD)
    return f"{folder}: {card.weights.num_bytes:,} bytes, SHA-256 {card.weights.sha256}"


def pack(
    checkpoint: str | Path,
    config: str | Path,
    name: str,
    *,
    facts: str | Path,
    half: bool = False,
    out_dir: str | Path = MODELS,
) -> Path:
    """Write the folder of a model and return it; nothing is written if a part of it cannot be.

    Raises:
        UsageError: the name is none, or the weights are too large.
        CheckpointError: the checkpoint cannot be read, is not finite, or does not fit the config.
        DataError: a fact is missing or of another kind.
        ConfigError: the config holds what JSON cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"name {name!r}: give lower case letters, digits and -, a letter first")
    content = read_checkpoint(checkpoint)
    weights = inference_weights(content, str(checkpoint))
    cfg = load_config(config)
    flat = inference_config(cfg)
    if not (cfg.get("cell_scale") or {}).get("diameter_px"):
        raise UsageError(
            f"{config} has no cell_scale.diameter_px: a model that ships estimates the size of cells against it"
        )
    meta = content.get("meta") or {}
    classes = (meta.get("dataset_meta") or {}).get("classes") or class_names(cfg)
    folder = Path(out_dir) / name
    is_same_config = _text(folder / MODEL_CONFIG) == _written(flat)
    with (
        atomic_write(folder / MODEL_CONFIG) as config_file,
        atomic_write(folder / MODEL_WEIGHTS) as weights_file,
    ):
        config_file.write_text(_written(flat), encoding="utf-8")
        about = {"dataset_meta": {"classes": list(classes)}}
        write_safetensors(weights_file, weights, about, half=half)
        num_bytes = weights_file.stat().st_size
        if num_bytes > MAX_BYTES:
            raise UsageError(
                f"the weights of {checkpoint} are {num_bytes:,} bytes, allowed are {MAX_BYTES:,}: "
                + ("take a smaller model" if half else "give --half, or take a smaller model")
            )
        Predictor(config_file, str(weights_file), device="cpu")  # they fit, and all is there
        computed = {
            "name": name,
            "classes": list(classes),
            "weights": {
                "sha256": sha256_of(weights_file),
                "num_bytes": num_bytes,
                "parameters": sum(value.numel() for value in weights.values()),
                "precision": "float16" if half else "float32",
            },
            "diameter_px": (cfg.get("cell_scale") or {}).get("diameter_px"),
            "pixel_size_um": (cfg.get("cell_scale") or {}).get("pixel_size_um"),
        }
        training = {
            "averaged": "ema_state_dict" in content,
            "checkpoint_sha256": sha256_of(checkpoint),
            # What mmengine notes; facts say it where a checkpoint does not.
            **{
                name: int(meta[key])
                for name, key in (("iterations", "iter"), ("seed", "seed"))
                if isinstance(meta.get(key), int)
            },
        }
        earlier = _card_of(folder / MODEL_CARD, computed["weights"]["sha256"])
        if earlier is not None and sha256_of(checkpoint) == earlier.weights.sha256:
            training = asdict(earlier)["training"]
        card = _card(facts, computed, training)
        scores = asdict(earlier)["scores"] if earlier is not None and is_same_config else None
        if scores is None:
            remove_pictures(folder)  # of other weights, or of other settings
        ModelCard.from_dict(asdict(card) | {"scores": scores}).write(folder / MODEL_CARD)
    return folder


def inference_weights(content: Any, name: str) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint that inference needs.

    Where a training kept their moving average (mmengine's ``EMAHook``) that is what ``state_dict`` holds: the hook
    exchanges the two when it saves. Counts of batches are left out, as only training reads them.

    Raises:
        CheckpointError: there are none, or they are not finite.
    """
    weights = weights_of(content, name)
    check_finite(weights, name)
    return {key: one for key, one in weights.items() if not key.endswith("num_batches_tracked")}


def inference_config(cfg: Config) -> dict[str, Any]:
    """Return the part of a config that inference needs, as JSON can write it, without bases.

    Raises:
        ConfigError: a value cannot be written.
    """
    dataset = dataset_of(cfg, "test_dataloader")
    flat: dict[str, Any] = {"custom_imports": {"imports": _IMPORTS, "allow_failed_imports": False}}
    flat |= {key: cfg[key] for key in _KEPT if cfg.get(key) is not None}
    flat["model"] = {key: one for key, one in cfg.model.items() if key != "train_cfg"}
    flat["metainfo"] = {"classes": list(class_names(cfg) or ())}
    flat["test_dataloader"] = {"dataset": {"pipeline": dataset.get("pipeline")}}
    return _plain(flat, "")


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): _plain(one, f"{where}.{key}" if where else str(key))
            for key, one in value.items()
            if key not in _OF_TRAINING
        }
    if isinstance(value, list | tuple):
        return [_plain(one, f"{where}.{number}") for number, one in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(
        f"{where} is a {type(value).__name__}: allowed are text, numbers, true, false, null, lists and dicts; "
        "name a class by the name it is registered under"
    )


def _card(facts: str | Path, computed: Mapping[str, Any], training: Mapping[str, Any]) -> ModelCard:
    entry = load_json(facts)
    if not isinstance(entry, dict) or not isinstance(entry.get("training", {}), dict):
        raise DataError(
            f"{facts} holds no facts: it must be an object, and 'training' in it as well"
        )
    mixed = {**entry, **computed, "training": {**entry.get("training", {}), **training}}
    try:
        return ModelCard.from_dict(mixed)
    except FieldError as error:
        raise DataError(f"{facts}: {error.cause}") from error


def _card_of(card: Path, sha256: str) -> ModelCard | None:
    """Return an earlier card of the same weights; None if there is none."""
    if not card.is_file():
        return None
    earlier = ModelCard.read(card)
    return earlier if earlier.weights.sha256 == sha256 else None


def _written(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=1, sort_keys=True) + "\n"


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
