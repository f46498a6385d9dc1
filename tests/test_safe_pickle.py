from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.safe_pickle import load_pickle


def save(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_data_comes_back(tmp_path: Path, protocol: int) -> None:
    content = {
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "scalar": np.int64(3),
        "tensor": torch.arange(4.0),
        "mask": torch.tensor([True, False]),
        "rle": {"size": [2, 3], "counts": b"06"},
        "list": [(1, 2.5, None, "text")],
    }
    loaded = load_pickle(save(tmp_path / "a.pkl", content, protocol))
    assert np.array_equal(loaded["array"], content["array"])
    assert loaded["scalar"] == 3
    assert torch.equal(loaded["tensor"], content["tensor"])
    assert torch.equal(loaded["mask"], content["mask"])
    assert loaded["rle"] == content["rle"]
    assert loaded["list"] == content["list"]


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_code_is_not_run(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pkl", [Payload(tmp_path / "ran.txt")])
    with pytest.raises(DataError, match=r"a\.pkl .* allowed are"):
        load_pickle(path)
    assert not (tmp_path / "ran.txt").exists()


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps({"a": [1, 2]})[:-5]])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.pkl"):
        load_pickle(tmp_path / "a.pkl")
