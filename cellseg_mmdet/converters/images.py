"""Image files: which ones a folder holds, and their size without decoding them."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from PIL import Image, UnidentifiedImageError

from cellseg_mmdet.errors import ImageError

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


def is_image(path: PurePath) -> bool:
    """Return whether a file has an image's suffix and is not hidden, as the ``._*`` files are that macOS leaves."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def read_image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return (height, width) in pixels, reading the header only.

    Raises:
        FileNotFoundError: if there is no such file.
        ImageError: if the file is no image that can be read.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise FileNotFoundError(f"no image file {path}") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ImageError(f"{path} is not an image that can be read: {error}") from error


def list_images(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the image files of a folder (not of its sub-folders, nor hidden ones) by their stem, sorted by name.

    Raises:
        NotADirectoryError: if there is no such folder.
        ImageError: if two images share a stem, such as a.png and a.tif: annotations could not tell them apart.
    """
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"image folder {root} does not exist")
    images: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        if not is_image(path):
            continue
        if path.stem in images:
            raise ImageError(
                f"{images[path.stem].name} and {path.name} in {root} share the name {path.stem!r}"
            )
        images[path.stem] = path
    return images
