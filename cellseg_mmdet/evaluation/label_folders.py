"""A folder of label images as cells: an integer per pixel, 0 for background, in PNG, TIFF or .npy."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cellseg_mmdet.annotations.cell_csv import ANY_CELL
from cellseg_mmdet.converters.readers.label_images import load_label_image
from cellseg_mmdet.errors import CellsegError, DataError
from cellseg_mmdet.images import MAX_PIXELS
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.progress import progress_bar
from cellseg_mmdet.structures import ImageRecord

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".npy")
# What the names of label images end with besides that of their image: Cellpose's, and those of others.
_ENDINGS = ("_cp_masks", "_masks", "_mask", "_labels", "_label")


def read_label_folder(folder: str | os.PathLike[str]) -> list[ImageRecord]:
    """Return the cells of each label image of a folder, all of one class, by the name of the image that they are of.

    ``a_cp_masks.tif`` and the like are of image ``a``; where there are such names, the other files of the folder are
    left alone.

    Raises:
        NotADirectoryError: there is no such folder.
        DataError: it holds no label image, two of one image, or one that cannot be read; the message names it.
    """
    files = _label_files(Path(folder))
    return [_record(name, path) for name, path in progress_bar(files.items(), description="labels")]


def _label_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise NotADirectoryError(f"folder {folder} does not exist")
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and not path.name.endswith("_seg.npy")
        and path.is_file()
    ]
    if not paths:
        inside = sorted(path.name for path in folder.iterdir())[:5]
        raise DataError(
            f"{folder}: no label image in it (read are {', '.join(SUFFIXES)}); "
            f"it holds {', '.join(inside) or 'nothing'}: name one of these files"
        )
    ending = next((e for e in _ENDINGS if any(path.stem.endswith(e) for path in paths)), "")
    files: dict[str, Path] = {}
    for path in paths:
        if path.stem.endswith(ending):
            name = path.stem.removesuffix(ending)
            if name in files:
                raise DataError(
                    f"{files[name].name} and {path.name} in {folder} are both of image {name!r}"
                )
            files[name] = path
    return files


def _record(name: str, path: Path) -> ImageRecord:
    try:
        labels = _load_array(path) if path.suffix.lower() == ".npy" else load_label_image(path)
        masks = Runs.from_label_map(labels)
    except CellsegError as error:
        raise DataError(f"{path}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:  # what decoders raise for damaged files
        raise DataError(f"{path}: cannot be read as a label image: {error}") from error
    return ImageRecord(f"{name}.png", masks.height, masks.width, masks, (ANY_CELL,) * len(masks))


def _load_array(path: Path) -> np.ndarray:
    # The header first, mapped: a small file may claim to be an array of terabytes.
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "iu":
        raise DataError("a label image is an integer array (height, width)")
    if not array.size or array.size > MAX_PIXELS:
        raise DataError(f"an array of {array.shape[0]} x {array.shape[1]} pixels is no label image")
    return np.asarray(array)
