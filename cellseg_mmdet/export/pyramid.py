"""Pictures as pyramids: OME-TIFFs in tiles, with levels of half the size, written from top to bottom."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import tifffile

from cellseg_mmdet.export.tiff_tiles import BIG_BYTES, physical_size, tiles_of

TILE_PX = 256
# Levels are added until one is no larger.
_SMALLEST_PX = 512


def write_pyramid(
    path: Path,
    parts: Iterable[np.ndarray],
    shape: tuple[int, int],
    *,
    name: str,
    uuid: str,
    pixel_size_um: tuple[float, float] | None = None,
) -> None:
    """Write an OME-TIFF whose levels are SubIFDs; no level is in memory.

    Each pixel of a level is the mean of four of the one before; at an odd end the last row or column counts twice.
    Levels wait for their turn in files without a name beside ``path``, 3 bytes a pixel.

    Args:
        path: of the file.
        parts: rows of the picture from top to bottom, (rows, width, 3) uint8 RGB, any number at a time.
        shape: height and width in pixels.
        name: of the picture, in the metadata.
        uuid: of the file; drawn ones would differ each time.
        pixel_size_um: height and width of a pixel in micrometres, where it is known.

    Example:
        >>> image = np.full((600, 700, 3), 7, np.uint8)
        >>> write_pyramid(Path("a.tif"), [image], (600, 700), name="a", uuid="urn:uuid:0")
        >>> with tifffile.TiffFile("a.tif") as file:
        ...     [level.shape for level in file.series[0].levels]
        [(600, 700, 3), (300, 350, 3)]
    """
    shapes = [shape]
    while max(shapes[-1]) > _SMALLEST_PX:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    about = {"axes": "YXS", "Name": name, "UUID": uuid, **physical_size(pixel_size_um)}
    height, width = shape
    with (
        ExitStack() as files,
        tifffile.TiffWriter(path, ome=True, bigtiff=4 * height * width >= BIG_BYTES) as writer,
    ):
        bands = _in_bands(parts)
        for number, (height, width) in enumerate(shapes):
            is_last = number == len(shapes) - 1
            kept: IO[bytes] | None = None
            if not is_last:
                kept = files.enter_context(tempfile.TemporaryFile(dir=path.parent))
            writer.write(
                tiles_of(_halves_kept(bands, kept), TILE_PX),
                shape=(height, width, 3),
                dtype=np.uint8,
                photometric="rgb",
                tile=(TILE_PX, TILE_PX),
                compression="zlib",
                predictor=True,
                software="cellseg_mmdet",
                **_of_level(number, len(shapes) - 1, about, pixel_size_um),
            )
            if kept is not None:
                kept.seek(0)
                bands = _in_bands(_read(kept, shapes[number + 1][1]))


def _of_level(
    number: int,
    num_smaller: int,
    about: dict[str, Any],
    pixel_size_um: tuple[float, float] | None,
) -> dict[str, Any]:
    """Return what is said of one level."""
    options: dict[str, Any] = (
        {"subifds": num_smaller, "metadata": about} if number == 0 else {"subfiletype": 1}
    )
    if pixel_size_um is not None:
        height_um, width_um = (side * 2**number for side in pixel_size_um)
        options |= {
            "resolution": (1e4 / width_um, 1e4 / height_um),
            "resolutionunit": "CENTIMETER",
        }
    return options


def _in_bands(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the same rows, `TILE_PX` at a time; fewer at the end."""
    waiting: list[np.ndarray] = []
    for part in parts:
        waiting.append(part)
        while sum(map(len, waiting)) >= TILE_PX:
            rows = np.concatenate(waiting)
            yield rows[:TILE_PX]
            waiting = [rows[TILE_PX:]]
    rest = np.concatenate(waiting) if waiting else np.zeros((0, 0, 3), np.uint8)
    if len(rest):
        yield rest


def _halves_kept(bands: Iterable[np.ndarray], kept: IO[bytes] | None) -> Iterator[np.ndarray]:
    """Yield the bands, and write each at half its size to a file."""
    for band in bands:
        if kept is not None:
            kept.write(halved(band).tobytes())
        yield band


def _read(file: IO[bytes], width: int) -> Iterator[np.ndarray]:
    """Yield the rows of a file (rows, width, 3)."""
    while content := file.read(TILE_PX * width * 3):
        yield np.frombuffer(content, np.uint8).reshape(-1, width, 3)


def halved(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, C) uint8 at half its size, rounded up.

    Example:
        >>> halved(np.array([[[0], [3], [9]]], np.uint8)).tolist()
        [[[2], [9]]]
    """
    ends = [(0, length % 2) for length in image.shape[:2]]
    even = np.pad(image, [*ends, (0, 0)], mode="edge").astype(np.uint16)
    total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return ((total + 2) >> 2).astype(np.uint8)
