"""Weights as a ``.safetensors`` file: tensors by name and nothing else, so that reading one cannot run code.

Half of the numbers' bytes may be left out: a weight that is stored as float16 is float32 again when it is read. The
same tensors always give the same bytes.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from cellseg_mmdet.errors import CheckpointError, shown
from cellseg_mmdet.fileio import atomic_write

SUFFIX = ".safetensors"
# A thousand tensors take 0.1 MB; of more than this, reading the header alone would fill the memory.
_LARGEST_HEADER = 1 << 24
# The only entry of the file's metadata: several are written in an order that changes from run to run.
_META = "cellseg_mmdet"


def is_safetensors(path: Path) -> bool:
    """Return whether a file is of this kind: by its name, or by its begin, the length of a header and the header."""
    if path.suffix.lower() == SUFFIX:
        return True
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") + 8 <= path.stat().st_size


def read_safetensors(
    path: str | os.PathLike[str], map_location: Any = None, *, name: str | None = None
) -> dict[str, Any]:
    """Return ``state_dict`` and ``meta`` of a file, as those of a checkpoint; half precision becomes float32.

    Args:
        path: the file.
        map_location: device of the tensors; the CPU by default.
        name: of the file, for errors.

    Raises:
        CheckpointError: the file is cut off or no safetensors, or its metadata are damaged.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    name = name or str(path)
    try:
        meta = _checked_meta(path)
        tensors = load(path.read_bytes())
    except (
        SafetensorError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        MemoryError,
    ) as error:
        raise CheckpointError(
            f"checkpoint {name} ({path.stat().st_size} bytes) cannot be read as safetensors, it is probably "
            f"incomplete: {_reason(error)}. Remove it and copy or download it again."
        ) from error
    device = map_location if isinstance(map_location, str | torch.device) else "cpu"
    weights = OrderedDict((key, _as_used(tensors[key]).to(device)) for key in sorted(tensors))
    return {"state_dict": weights, "meta": meta}


def write_safetensors(
    path: str | os.PathLike[str],
    weights: Mapping[str, torch.Tensor],
    meta: Mapping[str, Any] | None = None,
    *,
    half: bool = False,
) -> None:
    """Write weights, whole or not at all.

    Args:
        path: the file.
        weights: by name.
        meta: what else the file says, as JSON can write it: ``dataset_meta`` with the classes.
        half: store matrices and kernels as float16; what has one dimension, such as the statistics of a batch norm,
            keeps its precision, as it is small and its range large.

    Raises:
        CheckpointError: a weight is too large for half precision.
        OSError: the file cannot be written.
    """
    stored = {}
    for key, value in weights.items():
        value = value.detach().cpu().contiguous()
        if half and value.dtype == torch.float32 and value.dim() > 1:
            value = value.half()
            if not torch.isfinite(value).all():
                raise CheckpointError(
                    f"weight {key} holds values beyond {torch.finfo(torch.half).max:g}, or none that are finite: "
                    "it cannot be stored in half precision"
                )
        stored[key] = value
    text = json.dumps(dict(meta or {}), sort_keys=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(stored, metadata={_META: text}))


def _as_used(value: torch.Tensor) -> torch.Tensor:
    # Also of 8 bits: most of torch cannot calculate with them.
    return value.float() if value.is_floating_point() and value.element_size() < 4 else value


def _checked_meta(path: Path) -> dict[str, Any]:
    """Return our entry of the metadata, {} of a file of others, after a look at the header alone.

    A damaged file may be of any size, and is not read before it is known to hold what its header says.

    Raises:
        ValueError, LookupError, TypeError, AttributeError, RecursionError: the header is damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(_LARGEST_HEADER, size - 8):
            raise ValueError(f"its header would have {length} bytes")
        header = json.loads(file.read(length))
    meta = header.pop("__metadata__", None) or {}
    end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if end != size:
        raise ValueError(f"its header says {shown(end)} bytes")
    meta = json.loads(meta.get(_META, "{}"))
    if not isinstance(meta, dict):
        raise ValueError(f"its metadata {_META} are no object")
    return meta


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (
        lines[0].removeprefix("Error while deserializing header: ")
        if lines
        else type(error).__name__
    )
