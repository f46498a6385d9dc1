"""Loading checkpoints without running the code that they may name.

A checkpoint is a pickle, and a pickle may name any function to be called while it is read.
PyTorch's ``weights_only=True`` refuses every name outside an allow-list, but mmengine does not
insist on it: one family of its releases falls back to the unsafe way without asking, the other
cannot read its own checkpoints with PyTorch 2.6 or later. :func:`register_checkpoint_loaders`
therefore takes over all of mmengine's checkpoint schemes through its published hook,
``CheckpointLoader.register_scheme``. Whatever mmengine or mmdet load afterwards (``load_from``,
resume, ``init_cfg`` with ``Pretrained``) is read by :func:`read_checkpoint`. A ``.safetensors`` file
is a checkpoint as well, and the weights of a model that ships are ``shipped://<name>``.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import mmengine
import numpy as np
import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.fileio import load
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import (
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
)

from cellseg_mmdet.config_files import MODEL_WEIGHTS, shipped_models
from cellseg_mmdet.engine.packaged_weights import packaged_weights
from cellseg_mmdet.engine.safetensors_file import is_safetensors, read_safetensors
from cellseg_mmdet.engine.weights import check_resumable, weights_of
from cellseg_mmdet.errors import CheckpointError, UnsafeCheckpointError

ZIP_MAGIC, PICKLE_MAGIC = b"PK\x03\x04", b"\x80"


def _history_buffer_method(owner: object, name: str) -> Any:
    """Stand in for ``getattr``, by which a ``HistoryBuffer`` names its statistics (``mean``, ...).

    The real ``getattr`` would let a file reach any attribute of any object that it may name.
    """
    if owner is not HistoryBuffer or name.startswith("_"):
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL getattr({owner!r}, {name!r})")
    return getattr(HistoryBuffer, name)


@cache
def allowed_globals() -> tuple[Any, ...]:
    """Return what a checkpoint may name beyond PyTorch's own list, for ``safe_globals``.

    That is what mmengine's ``MessageHub`` keeps: history buffers and the numpy numbers and arrays
    in them.
    """
    reconstruct, scalar = np.array(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    # numpy 2 renamed the module that old checkpoints name, and the other way round.
    by_name = [
        (function, f"{package}.multiarray.{name}")
        for package in ("numpy.core", "numpy._core")
        for function, name in ((reconstruct, "_reconstruct"), (scalar, "scalar"))
    ]
    dtypes = dict.fromkeys(type(np.dtype(code)) for code in "?bBhHiIlLqQefd")
    return (
        HistoryBuffer,
        (_history_buffer_method, "builtins.getattr"),
        np.ndarray,
        np.dtype,
        *by_name,
        *dtypes,
    )


def read_checkpoint(
    path: str | os.PathLike[str],
    map_location: Any = None,
    *,
    trust: bool = False,
    source: str | None = None,
) -> Any:
    """Load a local checkpoint file, of torch or safetensors, without running any code in it.

    ``source`` is the name the user gave where it is not the path (a URL). ``trust`` allows the file
    to run code.

    Raises:
        FileNotFoundError: there is no such file.
        UnsafeCheckpointError: the file names functions or classes outside the allow-list; none of
            them was called.
        CheckpointError: the file is cut off, or no checkpoint.
    """
    path = Path(path).expanduser()
    name = str(path) if source in (None, str(path)) else f"{source} (downloaded to {path})"
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {name}: {'is a folder' if path.is_dir() else 'there is no such file'}"
        )
    if is_safetensors(path):
        return read_safetensors(path, map_location, name=name)
    _check_magic(path, name)
    try:
        if trust:
            return torch.load(path, map_location=map_location, weights_only=False)
        with torch.serialization.safe_globals(list(allowed_globals())):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        if trust:
            raise CheckpointError(f"checkpoint {name} cannot be read: {error}") from error
        raise UnsafeCheckpointError(_refusal(path, name, str(error))) from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(
            f"checkpoint {name} ({path.stat().st_size} bytes) cannot be read, it is probably "
            f"incomplete: {reason[0]}. Remove it and copy or download it again."
        ) from error


def newest_checkpoint(work_dir: str | os.PathLike[str]) -> str | None:
    """Return the checkpoint that a training in a work dir goes on from; None where there is none.

    That is the one that ``last_checkpoint`` names, and where that is missing, empty, or names one that is gone or
    damaged, the last written ``.pth`` file from which a training can go on. The log says which, and why.

    Raises:
        CheckpointError: a training did write checkpoints here, but none can be resumed from.
    """
    folder = Path(work_dir)
    pointer = folder / "last_checkpoint"
    others = sorted(folder.glob("*.pth"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    candidates: list[Path] = []
    if pointer.is_file():
        named = pointer.read_text(encoding="utf-8", errors="replace").strip()
        if named:
            # A work dir that was moved still has what its last_checkpoint names by the old path.
            candidates = [Path(named), folder / Path(named).name]
        else:
            _say(f"{pointer} is empty: looking for the newest checkpoint")
    elif others:
        _say(f"{pointer} is missing: looking for the newest checkpoint")
    for path in dict.fromkeys([*candidates, *others]):
        try:
            content = CheckpointLoader.load_checkpoint(str(path), "cpu", logger="silent")
            check_resumable(content, str(path))
        except (CheckpointError, FileNotFoundError) as error:
            _say(f"not resumed: {error}")
        else:
            _say(f"resuming from {path}")
            return str(path)
    if pointer.is_file():
        raise CheckpointError(
            f"{folder} holds a training, but no checkpoint that it can go on from ({len(others)} files were looked at, "
            "see above): name one with --resume CHECKPOINT, or choose another --work-dir to start anew"
        )
    _say(f"{folder} has no checkpoint to resume from: training starts anew")
    return None


def _say(text: str) -> None:
    print_log(text, logger="current")


def _check_magic(path: Path, name: str) -> None:
    """Refuse files that are something else, such as a web page or a Git LFS pointer."""
    with path.open("rb") as file:
        head = file.read(24)
    if not head.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
        found = f"it starts with {head!r}" if head else "it is empty"
        raise CheckpointError(
            f"checkpoint {name} is not a file that torch.save wrote, nor safetensors: {found}."
        )


def _refusal(path: Path, name: str, message: str) -> str:
    forbidden = _forbidden_globals(path, message)
    # Torch wraps its reason into advice on weights_only=False, which is not ours to give.
    reason = message.split("WeightsUnpickler error:")[-1].strip().splitlines()[0]
    wants = f"it asks for {', '.join(forbidden)}" if forbidden else f"its content is odd: {reason}"
    return (
        f"checkpoint {name} is refused: {wants}. A checkpoint may hold weights, optimizer state "
        "and mmengine's records; anything more can run code on this machine while it is loaded. "
        "Nothing of it was run. If you trust whoever made the file, give --trust-checkpoint; "
        "else ask them for the weights alone (torch.save of the state_dict)."
    )


def _forbidden_globals(path: Path, message: str) -> list[str]:
    """Name all that the file asks for beyond the allow-list; only the first where it is no zip."""
    try:
        with torch.serialization.safe_globals(list(allowed_globals())):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (RuntimeError, ValueError, pickle.UnpicklingError):
        return re.findall(r"GLOBAL (\S+)", message)[:1]


def download(url: str) -> Path:
    """Return the cached file of a URL, which one process of each machine fetches."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlparse(url).path).name
    _, world_size = get_dist_info()
    local_rank = int(os.environ.get("LOCAL_RANK", 0)) if world_size > 1 else 0
    if local_rank == 0:
        _fetch(url, path)
    barrier()
    if local_rank:
        _fetch(url, path)  # only where the machines' first processes do not share this cache
    return path


def _fetch(url: str, path: Path) -> None:
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    print_log(f"Downloading {url} to {path}", logger="current")
    try:
        torch.hub.download_url_to_file(url, str(path))
    except OSError as error:
        raise CheckpointError(f"checkpoint {url} cannot be downloaded: {error}") from error


def _look_up(table: dict[str, str], name: str, model: str) -> str:
    if model not in table:
        raise CheckpointError(
            f"checkpoint {name}: no such model, known are {', '.join(sorted(table))}."
        )
    return table[model]


def _from_shipped(name: str) -> Path:
    models = shipped_models()
    return (
        Path(
            _look_up({key: str(one) for key, one in models.items()}, name, name.partition("://")[2])
        )
        / MODEL_WEIGHTS
    )


def _from_torchvision(name: str) -> Path:
    # mmengine imports torchvision for this, although it ships the table; nothing else needs it.
    table = load(Path(mmengine.__file__).parent / "hub" / "torchvision_0.12.json")
    return download(_look_up(table, name, name.partition("://")[2]))


def _from_openmmlab(name: str) -> Path:
    model = name.partition("://")[2]
    target = _look_up(get_external_models(), name, get_deprecated_model_names().get(model, model))
    if target.startswith(("http://", "https://")):
        return download(target)
    cache_home = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    folder = Path(os.environ.get("MMENGINE_HOME", cache_home / "mmengine"))
    return folder.expanduser() / target


def _from_mmcls(name: str) -> Path:
    return download(_look_up(get_mmcls_models(), name, name.partition("://")[2]))


def _from_local(name: str) -> Path:
    scheme, separator, _ = name.partition("://")
    if separator:
        known = ", ".join(p for p, resolve in _RESOLVERS.items() if p and resolve != _refuse_remote)
        raise CheckpointError(
            f"checkpoint {name}: {scheme}:// is not known. Give a path, or one of {known}."
        )
    return Path(name)


def _refuse_remote(name: str) -> Path:
    raise CheckpointError(
        f"checkpoint {name}: this storage is not supported, copy the file here and give its path."
    )


def _backbone_weights(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Take the backbone out of a classifier, as mmengine's ``mmcls://`` promises."""
    weights = checkpoint.get("state_dict", checkpoint)
    prefix = "backbone."
    return {
        "state_dict": {
            key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)
        }
    }


# By prefix, a regular expression as mmengine has it; '' takes what no other one does.
_RESOLVERS: dict[str, Callable[[str], Path]] = {
    "": _from_local,
    "http://": download,
    "https://": download,
    "modelzoo://": _from_torchvision,
    "torchvision://": _from_torchvision,
    "open-mmlab://": _from_openmmlab,
    "openmmlab://": _from_openmmlab,
    "mmcls://": _from_mmcls,
    "package://": packaged_weights,
    "shipped://": _from_shipped,
    "pavi://": _refuse_remote,
    r"(\S+\:)?s3://": _refuse_remote,
    r"(\S+\:)?petrel://": _refuse_remote,
}


def register_checkpoint_loaders(*, trust: bool = False) -> None:
    """Make mmengine load every checkpoint through :func:`read_checkpoint`, whatever its scheme.

    With ``trust``, files may run code from now on; without it (again) they may not.
    """
    for prefix, resolve in _RESOLVERS.items():
        CheckpointLoader.register_scheme(prefix, _loader(prefix, resolve, trust), force=True)


def _loader(prefix: str, resolve: Callable[[str], Path], trust: bool) -> Callable[..., Any]:
    def load_from(filename: str, map_location: Any = None) -> Any:
        path = resolve(filename)
        source = None if resolve is _from_local else filename
        checkpoint = read_checkpoint(path, map_location, trust=trust, source=source)
        weights_of(checkpoint, filename)
        return _backbone_weights(checkpoint) if prefix == "mmcls://" else checkpoint

    # mmengine logs what follows 'load_from_' as the backend that loads.
    load_from.__name__ = f"load_from_{'trusting' if trust else 'safe'}"
    return load_from
