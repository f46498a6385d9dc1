from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np

from cellseg_mmdet.converters.readers.label_images import load_label_image
from cellseg_mmdet.images import image_size_hw, read_image
from tests.images.written import plain_files, tiff_files
from tests.robustness.fuzzing import mutated, target


@functools.cache
def corpus() -> list[tuple[str, bytes]]:
    """Return the names and contents of one picture of each kind."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for file in [*plain_files(), *tiff_files()]:
            path = Path(folder) / file.name
            file.write(path)
            found.append((file.name, path.read_bytes()))
    return found


@target
def image_bytes(rng: np.random.Generator, folder: Path) -> None:
    """Damaged pictures of every kind, from a file and from bytes."""
    name, content = corpus()[rng.integers(len(corpus()))]
    content = mutated(rng, content)
    (folder / name).write_bytes(content)
    image_size_hw(folder / name)
    read_image(folder / name)
    read_image(content, name=name)


@target
def image_headers(rng: np.random.Generator, folder: Path) -> None:
    """Pictures damaged in their first and last bytes, where sizes and tables stand."""
    name, content = corpus()[rng.integers(len(corpus()))]
    head = int(rng.choice([32, 256]))
    if rng.integers(2):
        content = mutated(rng, content[:head]) + content[head:]
    else:
        content = content[:-head] + mutated(rng, content[-head:])
    (folder / name).write_bytes(content)
    read_image(folder / name)


@target
def label_images(rng: np.random.Generator, folder: Path) -> None:
    """Damaged label images."""
    name, content = corpus()[rng.integers(len(corpus()))]
    (folder / name).write_bytes(mutated(rng, content))
    load_label_image(folder / name)
