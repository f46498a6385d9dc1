"""Image files of a data set, and pictures to write."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from cellseg_mmdet.converters.images import list_images
from cellseg_mmdet.converters.records import ImageRecord
from cellseg_mmdet.fileio import atomic_write


def read_picture(folder: Path, record: ImageRecord) -> np.ndarray:
    """Read the image of a record as mmdet reads it: uint8 BGR (H, W, 3).

    Raises:
        FileNotFoundError: if it is not in the folder.
        ValueError: if it cannot be read.
    """
    path = folder / record.file_name
    if not path.is_file():  # a submission says no more than the name of an image without its suffix
        named = list_images(folder).get(Path(record.file_name).stem)
        if named is None:
            raise FileNotFoundError(f"{folder} has no image {record.file_name}")
        path = named
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} is not an image that can be read")
    return image


def write_picture(path: str | os.PathLike[str], picture: np.ndarray) -> None:
    """Write a picture whole or not at all, in the format that the suffix names.

    Raises:
        OSError: if it cannot be written.
    """
    with atomic_write(path) as temporary:
        if not cv2.imwrite(str(temporary), picture):
            raise OSError(f"{path}: the picture could not be written")
