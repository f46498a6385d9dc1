"""Image files of any kind that microscopes write, as the 8-bit BGR that models are trained on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from cellseg_mmdet.converters.images import IMAGE_SUFFIXES, is_image
from cellseg_mmdet.errors import ImageError

# A camera leaves few pixels saturated and few dead: these do not decide the contrast of a 16-bit image.
_STRETCH_PERCENTILES = (0.1, 99.9)


def find_images(
    paths: Iterable[str | os.PathLike[str]], *, recursive: bool = False
) -> dict[str, Path]:
    """Return the image files that are named, or lie in the folders that are named, by their stem.

    Files keep the order given; those of a folder are sorted, without hidden ones. A file named twice counts once.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no image.
        ImageError: a file named has no suffix of an image, or two images share a stem, by which results are named.

    Example:
        >>> for name in ("b.png", "a.tif", "notes.txt"):
        ...     Path(name).touch()
        >>> list(find_images(["."]))
        ['a', 'b']
    """
    images: dict[str, Path] = {}
    for path in map(Path, paths):
        for image in _images_of(path, recursive=recursive):
            known = images.setdefault(image.stem, image)
            if not known.samefile(image):
                raise ImageError(
                    f"{known} and {image} share the name {image.stem!r}, by which results are told apart: "
                    "rename one of them, or give them to separate runs"
                )
    return images


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read one picture, 8 or 16 bits, gray or color, as uint8 BGR (H, W, 3); see `to_bgr8` for how.

    Raises:
        ImageError: the file is missing, damaged, holds several pictures or is of another kind; the message names it.

    Example:
        >>> read_image("no_such_file.tif")
        Traceback (most recent call last):
        ...
        cellseg_mmdet.errors.ImageError: no_such_file.tif: no such file
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"{path}: no such file")
    pixels = _decode(path)
    if pixels is None:
        raise ImageError(f"{path}: not an image that can be read ({path.stat().st_size} bytes)")
    if path.suffix.lower() in (".tif", ".tiff") and (pages := cv2.imcount(str(path))) > 1:
        raise ImageError(f"{path}: holds {pages} pictures; give a file with one")
    try:
        return to_bgr8(pixels)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def to_bgr8(pixels: np.ndarray) -> np.ndarray:
    """Convert gray (H, W) or (H, W, 1), BGR or BGRA pixels, uint8 or uint16, to uint8 BGR (H, W, 3).

    Alpha is dropped. 8-bit values stay as they are, also in a 16-bit file. Larger ones are stretched linearly, the same
    for all channels, so that the 0.1 percentile of the image becomes 0 and the 99.9 percentile 255: a 16-bit file does
    not say how many bits its camera had.

    Raises:
        ImageError: for another type or shape, or no pixels.

    Example:
        >>> to_bgr8(np.array([[0, 1000], [3000, 4000]], np.uint16))[..., 0]
        array([[  0,  64],
               [191, 255]], dtype=uint8)
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or channels not in (1, 3, 4) or not pixels.size:
        raise ImageError(
            f"pixels of shape {pixels.shape}; allowed are gray (H, W), color (H, W, 3) and (H, W, 4)"
        )
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"pixels are {pixels.dtype}; allowed are 8 and 16 bits without sign")
    pixels = pixels.reshape(*pixels.shape[:2], channels)[..., :3]
    if pixels.dtype == np.uint16:
        pixels = _stretch_to_8_bits(pixels)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _stretch_to_8_bits(pixels: np.ndarray) -> np.ndarray:
    if pixels.max() <= 255:
        return pixels.astype(np.uint8)
    low, high = np.percentile(pixels, _STRETCH_PERCENTILES)
    if high <= low:  # nearly all pixels are equal
        low, high = pixels.min(), max(pixels.max(), pixels.min() + 1.0)
    # One look-up for each of the 65,536 values there are is faster than arithmetic on every pixel.
    values = (np.arange(1 << 16) - float(low)) * (255.0 / (float(high) - float(low)))
    return np.rint(values.clip(0, 255)).astype(np.uint8)[pixels]


def _decode(path: Path) -> np.ndarray | None:
    """Return the pixels as stored, or None; OpenCV warns on standard error about what it cannot read."""
    # Not cv2.imread: on Windows it cannot open a path outside the local code page.
    data = np.fromfile(path, dtype=np.uint8)
    try:
        return cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except cv2.error:
        return None


def _images_of(path: Path, *, recursive: bool) -> list[Path]:
    if path.is_file():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            raise ImageError(
                f"{path}: the suffix is not that of an image; allowed are {', '.join(IMAGE_SUFFIXES)}"
            )
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such image or folder")
    inside = path.rglob("*") if recursive else path.iterdir()
    found = sorted(file for file in inside if is_image(file) and file.is_file())
    if not found:
        hint = "" if recursive else " (its sub-folders were not searched: --recursive does)"
        raise FileNotFoundError(
            f"{path}: no image in this folder{hint}; suffixes are {', '.join(IMAGE_SUFFIXES)}"
        )
    return found
