from __future__ import annotations

import functools
import io
import json
import zipfile
from pathlib import Path

import numpy as np

from cellseg_mmdet.annotations.csv_rows import read_table
from cellseg_mmdet.archives import list_files, read_file
from cellseg_mmdet.converters.readers.npz_masks import load_label_map
from cellseg_mmdet.fileio import load_json
from tests.robustness.fuzzing import mutated, target


@functools.cache
def _archive(compression: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.writestr("a.csv", "id,mask\n" + "a,1 2\n" * 200)
    return content.getvalue()


@target
def zip_bytes(rng: np.random.Generator, folder: Path) -> None:
    """Damaged zip archives."""
    compression = int(
        rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
    )
    # Archives that were read are kept open by their names.
    path = folder / f"{rng.integers(1 << 60)}.zip"
    path.write_bytes(mutated(rng, _archive(compression)))
    for name in list_files(path):
        read_file(path, name)
    list(read_table(path).rows("id", lambda fault: None))


@functools.cache
def _npz(packed: bool) -> bytes:
    content = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(
        content, np.arange(600, dtype=np.int32).reshape(20, 30)
    )
    return content.getvalue()


@target
def npz_bytes(rng: np.random.Generator, folder: Path) -> None:
    """Damaged label maps of numpy."""
    path = folder / "a.npz"
    path.write_bytes(mutated(rng, _npz(bool(rng.integers(2)))))
    load_label_map(path)


@target
def npz_headers(rng: np.random.Generator, folder: Path) -> None:
    """Headers of numpy that say anything, in archives that are whole."""
    sides = [
        int(rng.choice([0, 1, 5, 10**6, 10**12, -1, 2**63])) for _ in range(rng.integers(0, 4))
    ]
    kind = str(rng.choice(["<i4", "|O", "|V8", "|b1", ">f8", "<U9", "<M8[s]"]))
    header = f"{{'descr': '{kind}', 'fortran_order': {bool(rng.integers(2))}, 'shape': {tuple(sides)}, }}\n"
    if rng.random() < 0.3:
        header = mutated(rng, header.encode()).decode("latin-1")
    head = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode("latin-1")
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.writestr("arr_0.npy", head + bytes(int(rng.choice([0, 4, 100]))))
    load_label_map(folder / "a.npz")


@target
def json_bytes(rng: np.random.Generator, folder: Path) -> None:
    """Damaged JSON, in any encoding."""
    content = {
        "images": [{"id": 1, "file_name": "ä.png", "height": 5.5}],
        "annotations": [[1, None, True]],
    }
    text = json.dumps(content, ensure_ascii=False)
    encoding = str(rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"]))
    data = text.encode(encoding)
    if rng.random() < 0.05:
        data = b"[" * 200_000
    (folder / "a.json").write_bytes(data if rng.random() < 0.1 else mutated(rng, data))
    load_json(folder / "a.json")
