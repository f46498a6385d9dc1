"""Image files of a data set, and pictures to write."""

from __future__ import annotations

import os
from glob import escape
from pathlib import Path

import cv2
import numpy as np

from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.images import image_suffixes, read_image
from cellseg_mmdet.images.intensity import to_bgr8
from cellseg_mmdet.structures import ImageRecord


def find_picture(folder: Path, record: ImageRecord) -> Path | None:
    """Return the image file of a record, None if it is not in the folder.

    A csv file says no more than the name without a suffix: its image may be one of any suffix, in the folder itself or
    in ``<name>/images``.
    """
    named = folder / record.file_name
    if named.is_file():
        return named
    places = (folder, folder / named.stem / "images")
    found = (path for place in places for path in sorted(place.glob(f"{escape(named.stem)}.*")))
    return next((path for path in found if path.suffix.lower() in image_suffixes()), None)


def read_picture(folder: Path, record: ImageRecord) -> np.ndarray:
    """Read the image of a record to look at: uint8 BGR (H, W, 3); more than 8 bits are stretched.

    Raises:
        FileNotFoundError: if it is not in the folder.
        ImageError: if it cannot be read.
    """
    path = find_picture(folder, record)
    if path is None:
        raise FileNotFoundError(f"{folder} has no image {record.file_name}")
    return to_bgr8(read_image(path))


def write_picture(path: str | os.PathLike[str], picture: np.ndarray) -> None:
    """Write a picture whole or not at all, in the format that the suffix names.

    Raises:
        OSError: if it cannot be written.

    Example:
        >>> write_picture("new/a.png", np.zeros((2, 3), np.uint8))
        >>> Path("new/a.png").exists()
        True
    """
    with atomic_write(path) as temporary:
        if not cv2.imwrite(str(temporary), picture):
            raise OSError(f"{path}: the picture could not be written")
