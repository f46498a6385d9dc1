"""Pickles of tensors and arrays, read without running code that the file names."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

from cellseg_mmdet.errors import DataError

_NUMPY_NAMES = {
    ("multiarray", "_reconstruct"),
    ("multiarray", "scalar"),
    ("numeric", "_frombuffer"),
}
_ALLOWED = {
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in _NUMPY_NAMES
    ),
    ("torch", "Size"),
    ("torch._utils", "_rebuild_tensor_v2"),
}


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _load_storage  # torch's own would unpickle whatever the bytes hold
        if (module, name) in _ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(
            f"it holds a {module}.{name}; allowed are tensors, numpy arrays, lists, tuples, dicts, strings and numbers"
        )


def _load_storage(content: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def load_pickle(path: str | os.PathLike[str]) -> Any:
    """Read a pickle of tensors, arrays, plain containers, strings and numbers; tensors come to the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if it is no pickle, is cut off, or holds an object of another kind.
    """
    with Path(path).open("rb") as file:
        try:
            return _TensorUnpickler(file).load()
        except Exception as error:  # damaged bytes raise nearly anything: IndexError, KeyError, UnicodeDecodeError, ...
            cause = (
                "the file is cut off"
                if isinstance(error, EOFError)
                else str(error) or type(error).__name__
            )
            raise DataError(
                f"{path} is not a pickle of plain data that can be read: {cause}"
            ) from error
