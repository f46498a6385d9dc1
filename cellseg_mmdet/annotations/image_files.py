"""Annotations held against the image files: each must be there, and of the size that is annotated."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from cellseg_mmdet.annotations.faults import Fault, Faults
from cellseg_mmdet.annotations.validate import read_checked, unused_classes
from cellseg_mmdet.images import ImageError, PlaneSelection, sizes_hw_of


def missing_files(images: Sequence[dict[str, Any]]) -> list[str]:
    """Return the ``img_path`` of the images that are not there."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for image in images:
        folder, name = os.path.split(image["img_path"])
        by_folder[folder].append(name)
    missing = []
    for folder, names in by_folder.items():
        # One listing per folder: a stat per image takes minutes on a network drive.
        present = set(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else set()
        missing += [os.path.join(folder, name) for name in names if name not in present]
    return missing


def of_their_size(
    images: Sequence[dict[str, Any]], faults: Faults, selection: PlaneSelection | None = None
) -> list[dict[str, Any]]:
    """Return the images whose file, at ``img_path``, is of their ``height`` and ``width``; the others become faults.

    Sizes are those of upright pictures, and come from the headers (`images.sizes_hw_of`).

    Args:
        images: as `Parsed` has them.
        faults: to add to.
        selection: planes of stacks.
    """
    kept = []
    sizes = sizes_hw_of([image["img_path"] for image in images], selection)
    for image, found in zip(images, sizes, strict=True):
        annotated = image["height"], image["width"]
        name = f"image {os.path.basename(image['img_path'])}"
        if isinstance(found, ImageError):
            faults.add(name, "image file that cannot be read", str(found))
        elif found != annotated:
            faults.add(name, "image file of another size", _differs(annotated, found))
        else:
            kept.append(image)
    return kept


def _differs(annotated_hw: tuple[int, int], found_hw: tuple[int, int]) -> str:
    cause = f"is annotated with (height, width) {annotated_hw}, the file has {found_hw} pixels"
    if found_hw == annotated_hw[::-1]:
        cause += "; sides exchanged: annotated before its EXIF orientation was applied, or written the other way"
    return f"{cause}; convert the annotations again, or put the images there that were annotated"


def check_annotations(
    path: str | os.PathLike[str], images_dir: str | os.PathLike[str]
) -> tuple[list[Fault], list[str]]:
    """Return every fault of an annotation file and of its images, and sentences about what is odd but no fault.

    Raises:
        FileNotFoundError: there is no such file.
        NotADirectoryError: there is no such folder of images.
        DataError: it is damaged, or of no layout that is known.
    """
    if not os.path.isdir(images_dir):
        raise NotADirectoryError(f"image folder {images_dir} does not exist")
    checked = read_checked(path, on_error="skip", keep_masks=False, may_be_nothing=True)
    images = [
        dict(image, img_path=os.path.join(images_dir, image["img_path"]))
        for image in checked.images
    ]
    faults = Faults(os.fspath(path))
    absent = set(missing_files(images))
    for name in sorted(absent):
        faults.add(f"image {name}", "image file missing", "there is no such file")
    of_their_size([image for image in images if image["img_path"] not in absent], faults)
    left_out = [sentence for sentence in checked.said if "entries left out that" not in sentence]
    unused = unused_classes(checked.classes, checked.images)
    if unused:
        left_out.append(f"{path}: no instance is of the class {', '.join(unused)}")
    return checked.faults + faults.found, left_out
