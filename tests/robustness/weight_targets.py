from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellseg_mmdet.engine.checkpoint import read_checkpoint
from cellseg_mmdet.engine.safetensors_file import write_safetensors
from cellseg_mmdet.engine.weights import load_weights
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.fields import FieldError
from cellseg_mmdet.shipped import ModelCard, find_model
from tests.robustness.fuzzing import mutated, target
from tests.robustness.pickle_targets import change_field

SUFFIXES = (".safetensors", ".pth")


def model() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


@functools.cache
def corpus() -> bytes:
    """Return the weights of a small model."""
    torch.manual_seed(0)
    path = Path("corpus.safetensors").absolute()
    try:
        meta = {"dataset_meta": {"classes": ["cell"]}}
        write_safetensors(path, model().state_dict(), meta, half=True)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


def load(folder: Path, rng: np.random.Generator, content: bytes) -> None:
    """Read weights and load them, as inference does; what is accepted is used."""
    path = folder / f"weights{rng.choice(SUFFIXES)}"
    path.write_bytes(content)
    loaded = model().eval()
    load_weights(loaded, read_checkpoint(path), str(path))
    assert torch.isfinite(torch.cat([one.flatten() for one in loaded.parameters()])).all()
    loaded(torch.ones(1, 3))


@target
def safetensors_bytes(rng: np.random.Generator, folder: Path) -> None:
    """Damaged weights in safetensors."""
    load(folder, rng, mutated(rng, corpus()))


@target
def safetensors_headers(rng: np.random.Generator, folder: Path) -> None:
    """Weights whose header says anything; its length may be another."""
    content = corpus()
    length = int.from_bytes(content[:8], "little")
    header: Any = json.loads(content[8 : 8 + length])
    for _ in range(int(rng.integers(1, 3))):
        place = header if rng.random() < 0.1 else header[str(rng.choice(list(header)))]
        change_field(rng, place)
    # A number may have become one that JSON does not know, or bytes.
    text = json.dumps(header, default=repr).encode(errors="surrogatepass")
    said = len(text)
    if rng.random() < 0.1:
        said = int(rng.choice([0, 1, said - 1, said + 1, 2**31, 2**63 - 1, 10**8]))
    load(folder, rng, said.to_bytes(8, "little") + text + content[8 + length :])


@target
def model_cards(rng: np.random.Generator, folder: Path) -> None:
    """Cards of models, and the facts that they are made of, with any value in any field, or damaged."""
    path = folder / "card.json"
    content = json.loads((find_model("nuclei").folder / "card.json").read_text(encoding="utf-8"))
    for _ in range(int(rng.integers(1, 3))):
        change_field(rng, content)
    data = json.dumps(content, default=repr).encode(errors="surrogatepass")
    path.write_bytes(mutated(rng, data) if rng.random() < 0.3 else data)
    card = ModelCard.read(path)
    assert card.as_markdown(1)
    card.write(folder / "again.json")
    try:
        ModelCard.from_dict(content)
    except FieldError as error:
        raise DataError(error.cause) from error
