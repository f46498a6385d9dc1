"""Images that nobody annotated, in the form that `annotations.layout.Parsed` gives annotated ones."""

from __future__ import annotations

from typing import Any

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.images import files_by_stem, image_size_hw, image_suffixes


def from_folder(folder: str) -> list[dict[str, Any]]:
    """Return the images of a folder in order of their names, ids from 1, without instances.

    Only the header of an image is read.

    Raises:
        NotADirectoryError: there is no such folder.
        UsageError: it holds no image, or a file that only looks like one.
    """
    files = files_by_stem(folder)
    if not files:
        raise UsageError(f"{folder}: no image in it; read are {', '.join(image_suffixes())}")
    images = []
    for number, path in enumerate(files.values(), start=1):
        height, width = image_size_hw(path)
        images.append(
            {
                "img_id": number,
                "img_path": path.name,
                "height": height,
                "width": width,
                "cell_type": None,
                "instances": [],
            }
        )
    return images
