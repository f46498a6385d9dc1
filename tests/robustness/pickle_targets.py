from __future__ import annotations

import collections
import functools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellseg_mmdet.safe_pickle import load_pickle
from cellseg_mmdet.structures.prediction_dump import load_predictions
from tests.robustness.fuzzing import mutated, target

SCALARS = (str, bytes, bytearray, int, float, bool, type(None), np.generic)
NAMES = [
    "numpy ndarray",
    "numpy dtype",
    "numpy._core.multiarray _reconstruct",
    "numpy.core.multiarray scalar",
    "numpy._core.numeric _frombuffer",
    "torch._utils _rebuild_tensor_v2",
    "torch.storage _load_from_bytes",
    "torch Size",
    "torch FloatStorage",
    "collections OrderedDict",
    "_codecs encode",
    "builtins bytes",
    "builtins eval",
    "os system",
]


def check_plain(content: Any) -> None:
    """Look at everything that was read, and use it."""
    waiting, seen = [content], set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, list | tuple | set | frozenset | dict):
            if id(found) not in seen:
                seen.add(id(found))
                waiting += [*found, *found.values()] if isinstance(found, dict) else found
        elif isinstance(found, np.ndarray):
            assert type(found) is np.ndarray and not found.dtype.hasobject
            assert found.dtype.names is None and found.dtype.kind in "biufcSU"
            found.copy(), found.tolist(), np.nonzero(found), np.sort(found, axis=None)
        elif isinstance(found, torch.Tensor):
            found.clone(), found.nonzero(), found.numpy() if found.dtype != torch.bfloat16 else None
        else:
            assert isinstance(found, SCALARS), f"a {type(found)}"


@functools.cache
def corpus() -> list[bytes]:
    """Return pickles of everything that is admitted, in all protocols."""
    whole = torch.arange(12.0).reshape(3, 4)
    contents = [
        {"a": [1, -2, 2.5, True, None], "b": ("text", b"bytes", 1 << 70), 3: {}},
        [np.arange(6).astype(kind).reshape(2, 3) for kind in ("<f4", ">i2", "u1", "c8", "?")],
        [np.array(["ab", "c"]), np.array([b"ab"]), np.float32(1.5), np.bool_(True)],
        [np.asfortranarray(np.arange(6).reshape(2, 3)), np.zeros((0, 4))],
        [whole, whole.T, whole[1], torch.tensor([True]), torch.zeros(0, 4), torch.Size([2])],
        [torch.arange(3, dtype=torch.int16), torch.zeros(2, dtype=torch.bfloat16)],
        collections.OrderedDict(a=1, b=frozenset([1, 2])),
        {"metainfo": {"classes": ("cell",)}, "data_list": [{"img_path": "a.png", "height": 2}]},
    ]
    return [pickle.dumps(content, protocol) for content in contents for protocol in range(6)]


@target
def pickle_bytes(rng: np.random.Generator, folder: Path) -> None:
    """Damaged pickles of what is admitted."""
    path = folder / "a.pkl"
    path.write_bytes(mutated(rng, corpus()[rng.integers(len(corpus()))]))
    check_plain(load_pickle(path))


@target
def pickle_programs(rng: np.random.Generator, folder: Path) -> None:
    """Instructions in any order, and those that are known to do harm more often than others."""
    path = folder / "a.pkl"
    path.write_bytes(b"\x80\x04" + b"".join(_instructions(rng)) + b".")
    check_plain(load_pickle(path))


@target
def dumps(rng: np.random.Generator, folder: Path) -> None:
    """Damaged dumps of predictions."""
    path = folder / "dump.pkl"
    rle = {"size": [4, 6], "counts": b"06B"}
    instances = {
        "bboxes": torch.zeros(1, 4),
        "scores": torch.ones(1),
        "labels": torch.zeros(1, dtype=torch.int64),
        "masks": [rle],
    }
    entry = {"img_path": "a.png", "ori_shape": (4, 6), "img_id": 1, "pred_instances": instances}
    path.write_bytes(mutated(rng, pickle.dumps([entry], int(rng.integers(2, 6)))))
    load_pickle(path)
    if rng.random() < 0.0:  # the fields of a dump are not checked one by one yet
        load_predictions(path)


def _instructions(rng: np.random.Generator) -> list[bytes]:
    state = b"(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    pieces = [
        b"]", b"}", b")", b"(", b"N", b"\x88", b"\x8f", b"a", b"e", b"s", b"u", b"t", b"l", b"d", b"0", b"1", b"2",
        b"\x85", b"\x86", b"\x87", b"\x94", b"R", b"R", b"R", b"b", b"b", b"\x81", b"\x92", b"\x90", b"\x91", b"\x93",
        b"Q", b"P1\n", b"o", b"ios\nsystem\n",
        state,
        b"cnumpy\ndtype\n(\x8c\x02f4\x89\x88tR",
        b"cnumpy\ndtype\n(\x8c\x01O\x89\x88tR",
        b"cnumpy\ndtype\n(\x8c\x02V8\x89\x88tR",
        b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR",
    ]  # fmt: skip
    out = []
    for _ in range(int(rng.integers(1, 40))):
        kind = rng.random()
        if kind < 0.55:
            out.append(pieces[rng.integers(len(pieces))])
        elif kind < 0.65:
            out.append(f"c{NAMES[rng.integers(len(NAMES))]}\n".replace(" ", "\n").encode())
        elif kind < 0.75:
            number = int(rng.choice([0, 1, 2, 255, 2**31 - 1, 2**32 - 1]))
            out.append(bytes([rng.choice(list(b"rjJ"))]) + (number).to_bytes(4, "little"))
        elif kind < 0.8:
            length = int(rng.choice([0, 4, 2**31 - 1, 2**32 - 1, 2**63]))
            op = bytes([rng.choice(list(b"\x8e\x8d\x96\x95"))])
            out.append(op + length.to_bytes(8, "little") + rng.bytes(4))
        elif kind < 0.85:
            out.append(b"\x8a\x08" + rng.bytes(8))
        elif kind < 0.95:
            out.append(bytes([rng.choice(list(b"KhqM")), rng.integers(0, 4)]) + b"")
        else:
            text = str(rng.choice(["f4", "<", "latin1", "hex_codec", "numpy", "a" * 200])).encode()
            out.append(b"\x8c" + bytes([len(text)]) + text)
    if rng.random() < 0.1:
        out += [b"\x85"] * 100_000 + [b"N"]
    if rng.random() < 0.1:
        out = [b"}", b")", *[b"\x85"] * 200_000, b"K\x01s"]
    return out
