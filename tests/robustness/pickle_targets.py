from __future__ import annotations

import collections
import contextlib
import copy
import functools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellseg_mmdet.postprocess import build_pipeline
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
    rle = {"size": [4, 6], "counts": [0, 6, 18]}
    instances = {
        "bboxes": torch.zeros(1, 4),
        "scores": torch.ones(1),
        "labels": torch.zeros(1, dtype=torch.int64),
        "masks": [rle],
    }
    entry = {"img_path": "a.png", "ori_shape": (4, 6), "img_id": 1, "pred_instances": instances}
    path.write_bytes(mutated(rng, pickle.dumps([entry], int(rng.integers(2, 6)))))
    load_pickle(path)
    load_predictions(path)


@target
def dump_fields(rng: np.random.Generator, folder: Path) -> None:
    """Dumps of predictions with any value in any field; what is accepted goes through post-processing."""
    masks = [
        {"size": [6, 8], "counts": np.array([8, 4, 36])},
        {"size": [6, 8], "counts": b"=33000a0"},
    ]
    if rng.random() < 0.3:
        masks = torch.zeros(2, 6, 8, dtype=torch.bool)
        masks[:, 1:4, 2:5] = True
    instances: dict[str, Any] = {
        "bboxes": torch.tensor([[1.0, 1, 4, 4], [0, 0, 8, 6]]),
        "scores": torch.tensor([0.9, 0.5]),
        "labels": torch.tensor([0, 1]),
        "masks": masks,
    }
    if rng.random() < 0.3:
        instances |= {
            "maskness": np.array([0.9, 0.8]),
            "soft_masks": np.zeros((2, 28, 28), np.uint8),
        }
    entry = {"img_path": "a.png", "ori_shape": (6, 8), "img_id": 1, "pred_instances": instances}
    entries = [entry, dict(entry, img_path="b.png")]
    for _ in range(int(rng.integers(1, 3))):
        change_field(rng, entries if rng.random() < 0.1 else entries[0])
    path = folder / "dump.pkl"
    path.write_bytes(pickle.dumps(entries))
    for found in load_predictions(path):
        final = STEPS(found)
        final.masks.to_coco()
        final.masks.to_strings(order="row")


def change_field(rng: np.random.Generator, content: Any) -> None:
    """Put any value in any place of lists, dicts and arrays."""
    if isinstance(content, torch.Tensor | np.ndarray):
        if content.ndim and content.size if isinstance(content, np.ndarray) else content.numel():
            place = tuple(int(rng.integers(side)) for side in content.shape)
            with contextlib.suppress(OverflowError, ValueError, RuntimeError, TypeError):
                content[place] = NUMBERS[rng.integers(len(NUMBERS))]
        return
    if not isinstance(content, dict | list) or not content:
        return
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    key = keys[rng.integers(len(keys))]
    inner = content[key]
    if isinstance(inner, dict | list | torch.Tensor | np.ndarray) and rng.random() < 0.6:
        change_field(rng, inner)
    elif isinstance(content, dict) and rng.random() < 0.1:
        del content[key]
    else:
        # A copy: what is put in may be changed next, and later inputs take it from the same list.
        content[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])


NUMBERS = (-1, 0, 1, 2**31, 2**62, -(2**62), 1e30, -1e300, float("nan"), float("inf"), 0.5)
VALUES: list[Any] = [
    *NUMBERS, None, "", "a", "../b.png", "\0", b"a", True, [], {}, (), [[1, 2], [3]], (6,), (6, 8, 3), (8, 6),
    (0, 0), (2**31, 2**31), (-6, 8), (6.0, 8.0), ("6", "8"), np.zeros(0), np.zeros(3), np.zeros((2, 4, 1)),
    torch.zeros(2), torch.zeros(0, 4), torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.bool),
    np.zeros(2, np.complex64), np.array(["a", "b"]), np.float32(0.5), np.zeros((2, 6, 8), bool),
    torch.zeros(2, 8, 6, dtype=torch.bool), torch.zeros(3, 6, 8), [{"size": [6, 8], "counts": b"\xff"}],
    [{"size": [6, 8], "counts": [1, -1, 48]}] * 2, [{"size": [2**31, 2**31], "counts": [2**62]}] * 2, [None, None],
    [[[1, 1, 5, 1, 5, 5]]] * 2, [{"size": "a", "counts": 3}] * 2, [{}] * 2, range(2), {1: 2},
]  # fmt: skip
STEPS = build_pipeline(
    [
        {"type": "ScoreThreshold", "score_thr": 0.1},
        {"type": "MaskNMS", "overlap_thr": 0.9},
        {"type": "RemoveOverlaps"},
        {"type": "MinArea", "min_area_px": 1},
    ],
    classes=("a", "b"),
)


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
