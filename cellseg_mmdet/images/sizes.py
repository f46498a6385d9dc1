"""Sizes of many image files from their headers, and remembered: what annotations are held against before a training."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.images.selection import PlaneSelection
from cellseg_mmdet.images.source import image_size_hw
from cellseg_mmdet.progress import progress_bar

# Reading waits for the disk or the network, not for a core.
_THREADS = 8
# Fewer are read faster than they are looked up.
_WORTH_KEEPING = 200

SizeHW = tuple[int, int]
# Time of the last change in ns and bytes of a file: as long as they stay, so does its size.
_Stamp = tuple[int, int]
_known: dict[tuple[str, str], tuple[_Stamp, SizeHW]] = {}


def sizes_hw_of(
    paths: Sequence[str | os.PathLike[str]], selection: PlaneSelection | None = None
) -> list[SizeHW | ImageError]:
    """Return (height, width) of each upright picture, or the error that says why it cannot be read.

    Headers are read once as long as the files do not change: sizes of large folders are kept in
    ``$XDG_CACHE_HOME/cellseg_mmdet`` (``~/.cache``).

    Args:
        paths: of image files.
        selection: planes of stacks.

    Example:
        >>> import cv2
        >>> _ = cv2.imwrite("a.png", np.zeros((3, 5), np.uint8))
        >>> sizes_hw_of(["a.png"])
        [(3, 5)]
    """
    names = [os.path.abspath(path) for path in paths]
    planes = "" if selection is None else repr(selection)
    is_many = len(names) >= _WORTH_KEEPING
    if is_many:
        _recall(names, planes)
    with ThreadPoolExecutor(_THREADS) as pool:
        reading = pool.map(lambda name: _size_of(name, planes, selection), names)
        if is_many:
            reading = iter(progress_bar(reading, total=len(names), description="image sizes"))
        found = list(reading)
    if is_many and any(is_new for _, is_new in found):
        _remember(names, planes)
    return [size for size, _ in found]


def _size_of(
    name: str, planes: str, selection: PlaneSelection | None
) -> tuple[SizeHW | ImageError, bool]:
    """Return the size of a picture, and whether its header was read for it."""
    try:
        stamp = _stamp(name)
        known = _known.get((name, planes))
        if known is not None and known[0] == stamp:
            return known[1], False
        size_hw = image_size_hw(name, selection)
    except ImageError as error:
        return error, False
    except OSError as error:
        return ImageError(f"{name}: {error.strerror}"), False
    if stamp is not None:
        _known[name, planes] = stamp, size_hw
    return size_hw, stamp is not None


def _stamp(name: str) -> _Stamp | None:
    """Return what a file is known by; None for a folder (OME-Zarr), which does not show that a file in it changed."""
    if os.path.isdir(name):
        return None
    status = os.stat(name)
    return status.st_mtime_ns, status.st_size


def _kept_in(folder: str, planes: str) -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(f"{folder}\0{planes}".encode()).hexdigest()[:32]
    return root / "cellseg_mmdet" / "image_sizes" / f"{key}.json"


def _recall(names: Sequence[str], planes: str) -> None:
    """Fill what is known from the files that earlier processes kept."""
    for folder in {os.path.dirname(name) for name in names}:
        # What cannot be read or is of another shape is read anew from the images.
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, RuntimeError):
            kept = json.loads(_kept_in(folder, planes).read_text(encoding="utf-8"))
            for name, (changed, num_bytes, height, width) in kept.items():
                value = (int(changed), int(num_bytes)), (int(height), int(width))
                _known.setdefault((os.path.join(folder, name), planes), value)


def _remember(names: Sequence[str], planes: str) -> None:
    """Keep the sizes for later processes, where there is a home that can be written to."""
    by_folder: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for name in names:
        if (name, planes) in _known:
            stamp, size_hw = _known[name, planes]
            by_folder[os.path.dirname(name)][os.path.basename(name)] = (*stamp, *size_hw)
    for folder, sizes in by_folder.items():
        with (
            contextlib.suppress(OSError, RuntimeError),
            atomic_write(_kept_in(folder, planes)) as path,
        ):
            path.write_text(json.dumps(sizes), encoding="utf-8")
