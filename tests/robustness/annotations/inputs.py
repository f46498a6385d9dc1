"""Malformed annotation files, results, label folders and dumps: each field with each odd value, and at random.

An input is a folder with images ``a.png`` and ``b.png``, a file that is wrong in one place (`single_faults`) or in
several (`random_input`), and what reads it.
"""

from __future__ import annotations

import copy
import io
import json
import math
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

HEIGHT, WIDTH = 8, 10
SQUARE = [1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 4.0]
RLE = {"size": [HEIGHT, WIDTH], "counts": [0, 2, 78]}
SUFFIXES = {
    "coco": ".json",
    "results": ".json",
    "livecell": ".json",
    "mmdet": ".pkl",
    "mmdet_v2": ".pkl",
    "dump": ".pkl",
}


class Deep:
    """Stands for lists in lists, deeper than Python recurses; made only when it is written."""

    def __deepcopy__(self, memo: Any) -> Deep:
        return self


DEEP = Deep()
# What a value is replaced by, by a name for it.
ODD: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "one": 1,
    "negative": -3,
    "fraction": 1.5,
    "whole float": 2.0,
    "huge": 10**30,
    "huge float": 1e300,
    "infinite": math.inf,
    "not a number": math.nan,
    "2 ** 31": 2**31,
    "2 ** 63": 2**63,
    "empty text": "",
    "text": "x",
    "number as text": "5",
    "long text": "x" * 100_000,
    "control characters": "a\x00\n\x1b[31m",
    "half a character": "\ud800",
    "not ASCII": "zellé",
    "empty list": [],
    "list": [1, 2],
    "list of lists": [[1, 2], [3]],
    "list of null": [None],
    "flat polygon": SQUARE,
    "two points": [[1, 1, 5, 5]],
    "odd polygon": [[*SQUARE, 3.0]],
    "points": [[[1, 1], [5, 1], [5, 4]]],
    "infinite polygon": [[1, 1, math.inf, 1, 5, 4]],
    "huge polygon": [[0, 0, 1e9, 0, 1e9, 1e9, 0, 1e9]],
    "outside polygon": [[90, 90, 95, 90, 95, 95]],
    "text polygon": [["1", "1", "5", "1", "5", "4"]],
    "RLE in a list": [RLE],
    "empty object": {},
    "object": {"a": 1},
    "RLE of another size": {"size": [HEIGHT, WIDTH + 1], "counts": [HEIGHT * (WIDTH + 1)]},
    "RLE that is cut off": {"size": [HEIGHT, WIDTH], "counts": [3]},
    "RLE that overflows": {"size": [HEIGHT, WIDTH], "counts": [2**63 - 1, 2**63 - 1, 82]},
    "RLE of nothing": {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]},
    "RLE of text": {"size": [HEIGHT, WIDTH], "counts": "}}}"},
    "RLE cut in a number": {"size": [HEIGHT, WIDTH], "counts": "P"},
    "RLE without size": {"counts": [80]},
    "RLE of nonsense": {"size": "ab", "counts": {}},
    "deep": DEEP,
}
# What only a pickle can hold.
ODD_PICKLED: dict[str, Any] = {
    "bytes": b"\xff\x00",
    "tuple": (1, 2),
    "array": np.arange(6).reshape(2, 3),
    "array of objects": np.array([None, "a"], dtype=object),
    "0-dimensional array": np.array(3),
    "numpy float": np.float32("nan"),
    "numpy bool": np.bool_(True),
    "set": {1, 2},
    "complex": 1j,
    "digits beyond what Python writes": 10**5000,
    "RLE of bytes": {"size": [HEIGHT, WIDTH], "counts": b"\xff\xfe"},
}


class Input(NamedTuple):
    """A malformed input.

    Attributes:
        kind: one of `SUFFIXES`, or 'labels'.
        field: where it is malformed.
        fault: what stands there.
        write: puts it into a folder, and returns the path to read.
    """

    kind: str
    field: str
    fault: str
    write: Callable[[Path], Path]

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.field} {self.fault}"


def valid(kind: str) -> Any:
    """Return the content of a file that nothing is wrong with."""
    if kind in ("coco", "livecell"):
        prefix = "A172_Phase_" if kind == "livecell" else ""
        names = [f"{prefix}{name}.png" for name in "ab"]
        segmentations = [[SQUARE], {"size": [HEIGHT, WIDTH], "counts": "02^2"}, RLE]
        return {
            "info": {},
            "images": [
                {
                    "id": number,
                    "file_name": name,
                    "height": HEIGHT,
                    "width": WIDTH,
                    "cell_type": "c",
                }
                for number, name in enumerate(names, start=1)
            ],
            "categories": [{"id": 1, "name": "cell"}],
            "annotations": [
                {
                    "id": number,
                    "image_id": image_id,
                    "category_id": 1,
                    "bbox": [1, 1, 4, 3],
                    "area": 12,
                    "segmentation": segmentation,
                    "iscrowd": 0,
                }
                for number, (image_id, segmentation) in enumerate(
                    zip((1, 1, 2), segmentations, strict=True), start=1
                )
            ],
        }
    if kind == "mmdet":
        return {
            "metainfo": {"classes": ("cell",)},
            "data_list": [
                {
                    "img_path": f"{name}.png",
                    "img_id": number,
                    "height": HEIGHT,
                    "width": WIDTH,
                    "instances": [
                        {"bbox": [1, 1, 5, 4], "bbox_label": 0, "mask": mask, "ignore_flag": 0}
                        for mask in ([SQUARE], RLE)
                    ],
                }
                for number, name in enumerate("ab", start=1)
            ],
        }
    if kind == "mmdet_v2":
        ann = {"bboxes": np.array([[1, 1, 5, 4]]), "labels": np.zeros(1, int), "masks": [[SQUARE]]}
        return [
            {"filename": f"{name}.png", "height": HEIGHT, "width": WIDTH, "ann": dict(ann)}
            for name in "ab"
        ]
    if kind == "results":
        return [
            {"image_id": image_id, "category_id": 1, "score": 0.5, "bbox": [1, 1, 4, 3]}
            | {"segmentation": copy.deepcopy(RLE)}
            for image_id in (1, 1, 2)
        ]
    return [
        {
            "img_id": number,
            "img_path": f"{name}.png",
            "ori_shape": (HEIGHT, WIDTH),
            "pred_instances": {
                "bboxes": np.array([[1.0, 1.0, 5.0, 4.0]]),
                "scores": np.array([0.5]),
                "labels": np.array([0]),
                "masks": [copy.deepcopy(RLE)],
            },
        }
        for number, name in enumerate("ab", start=1)
    ]


def write(folder: Path, kind: str, content: Any) -> Path:
    """Write a file of some content into a folder, which gets images; return its path."""
    path = folder / f"{kind}{SUFFIXES[kind]}"
    prefix = "A172_Phase_" if kind == "livecell" else ""
    for name in "ab":
        cv2.imwrite(str(folder / f"{prefix}{name}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    if kind == "results":
        coco = valid("coco") | {"annotations": []}
        (folder / "images.json").write_text(json.dumps(coco))
    if path.suffix == ".json":
        text = json.dumps(content, default=lambda _: "DEEP")
        path.write_text(text.replace('"DEEP"', "[" * 100_000 + "]" * 100_000), encoding="utf-8")
    else:
        path.write_bytes(pickle.dumps(content))
    return path


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a content; of a list that to its first value."""
    yield at
    if isinstance(content, dict):
        for key, value in content.items():
            yield from places(value, (*at, key))
    elif isinstance(content, list | tuple) and content:
        yield from places(content[0], (*at, 0))


def changed(content: Any, at: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a content with another value at a place."""
    if not at:
        return value
    content = list(content) if isinstance(content, tuple) else copy.copy(content)
    content[at[0]] = changed(content[at[0]], at[1:], value)
    return content


def without(content: Any, at: tuple[Any, ...]) -> Any:
    """Return a copy of a content that lacks what stands at a place."""
    if len(at) > 1:
        return changed(content, at[:1], without(content[at[0]], at[1:]))
    if isinstance(content, dict):
        return {key: value for key, value in content.items() if key != at[0]}
    return list(content)[1:]


def _shown(at: tuple[Any, ...]) -> str:
    return ".".join(map(str, at)) or "the whole file"


def odd_values(kind: str) -> dict[str, Any]:
    """Return what can stand in a file of a kind."""
    if SUFFIXES[kind] == ".json":
        return ODD
    return {name: value for name, value in (ODD | ODD_PICKLED).items() if value is not DEEP}


def single_faults(kind: str) -> Iterator[Input]:
    """Yield every place of a valid file with every odd value in it, without its value, and the file's bytes damaged."""
    content = valid(kind)
    for at in places(content):
        field = _shown(at)
        for fault, value in odd_values(kind).items():
            new = changed(content, at, value)
            yield Input(kind, field, fault, lambda folder, new=new: write(folder, kind, new))
        if at:
            new = without(content, at)
            yield Input(kind, field, "missing", lambda folder, new=new: write(folder, kind, new))
    for at in places(content):
        if at and at[-1] == 0:
            parent = content
            for key in at[:-1]:
                parent = parent[key]
            twice = changed(content, at[:-1], [*parent, parent[0]])
            yield Input(
                kind, _shown(at), "twice", lambda folder, new=twice: write(folder, kind, new)
            )
    for fault, damage in _DAMAGES.items():
        yield Input(
            kind,
            "the bytes",
            fault,
            lambda folder, damage=damage: _damaged(write(folder, kind, content), damage),
        )


_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "with a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "in UTF-16": lambda data: data.decode("latin-1").encode("utf-16"),
    "zeros": lambda data: bytes(len(data)),
    "twice": lambda data: data + data,
    "of an image": lambda data: cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes(),
    "a bit turned": lambda data: data[:40] + bytes([data[40] ^ 4]) + data[41:],
}


def _damaged(path: Path, damage: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(damage(path.read_bytes()))
    return path


def label_folders() -> Iterator[Input]:
    """Yield folders of label images that are none."""
    square = np.zeros((HEIGHT, WIDTH), np.uint8)
    square[1:4, 1:5] = 3
    arrays = {
        "of floats": square.astype(np.float64),
        "of fractions": square / 2,
        "of not a number": np.full((HEIGHT, WIDTH), np.nan),
        "negative": square.astype(np.int16) - 5,
        "of truth values": square > 0,
        "of three dimensions": np.stack([square] * 3),
        "of no dimension": np.array(3),
        "without a pixel": np.zeros((0, 5), np.int64),
        "of text": np.array([["a", "b"]]),
        "of objects": np.array([[None, "a"]]),
        "of another size": square[:4],
        "of 64 bits": square.astype(np.uint64) << 60,
        "empty": np.zeros_like(square),
        "structured": np.zeros((HEIGHT, WIDTH), dtype=[("a", "i4")]),
    }

    def saved(name: str, array: np.ndarray) -> Callable[[Path], Path]:
        def put(folder: Path) -> Path:
            (folder / "labels").mkdir()
            np.save(folder / "labels" / "a.npy", array, allow_pickle=True)
            np.save(folder / "labels" / "b.npy", square)
            return folder / "labels"

        return put

    for fault, array in arrays.items():
        yield Input("labels", "an array", fault, saved(fault, array))
    for suffix in (".png", ".tif", ".bmp", ".npy"):
        good = _encoded(suffix, square)
        contents = {name: damage(good) for name, damage in _DAMAGES.items()}
        if suffix != ".npy":
            contents["of colours"] = _encoded(suffix, np.stack([square] * 3, axis=2))
            contents["of black and white"] = _encoded(suffix, (square > 0) * np.uint8(255))
        for fault, data in contents.items():

            def put(folder: Path, data: bytes = data, suffix: str = suffix) -> Path:
                (folder / "labels").mkdir()
                (folder / "labels" / f"a{suffix}").write_bytes(data)
                np.save(folder / "labels" / "b.npy", square)
                return folder / "labels"

            yield Input("labels", f"a {suffix}", fault, put)


def _encoded(suffix: str, array: np.ndarray) -> bytes:
    if suffix == ".npy":
        file = io.BytesIO()
        np.save(file, array)
        return file.getvalue()
    return cv2.imencode(suffix, array)[1].tobytes()


def random_input(seed: int) -> Input:
    """Return an input of a random kind with up to four random faults, or random bytes changed in its file."""
    rng = random.Random(seed)
    kind = rng.choice(sorted(SUFFIXES))
    content = valid(kind)
    odd = list(odd_values(kind).values())
    ways = []
    for _ in range(rng.randint(1, 4)):
        at = rng.choice([at for at in _all_places(content) if at] or [()])
        ways.append(_shown(at))
        value = rng.choice([*odd, rng.randint(-(2**40), 2**40), rng.uniform(-1e6, 1e6)])
        content = (
            without(content, at) if at and rng.random() < 0.15 else changed(content, at, value)
        )
        if not isinstance(content, dict | list):
            break
    flips = [rng.random() for _ in range(rng.choice([0, 0, 0, 1, 5]))]

    def put(folder: Path) -> Path:
        path = write(folder, kind, content)
        data = bytearray(path.read_bytes())
        for where in flips if len(data) < 100_000 else []:
            data[int(where * len(data))] = int(where * 1e6) % 256
        path.write_bytes(bytes(data))
        return path

    return Input(kind, ", ".join(ways), f"at random ({seed})", put)


def _all_places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _all_places(value, (*at, key))
    elif isinstance(content, list | tuple):
        for number, value in enumerate(content):
            yield from _all_places(value, (*at, number))
