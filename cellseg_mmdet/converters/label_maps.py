"""Label maps, one file for each image: an integer per pixel, 0 for background, else the number of its cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cellseg_mmdet.converters.cleaning import Cleaning
from cellseg_mmdet.converters.pipeline import Converted, Row, convert_images, finish_image
from cellseg_mmdet.converters.rejects import OnError, Rejected
from cellseg_mmdet.errors import CellsegError, DataError
from cellseg_mmdet.images import image_size_hw
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord


@dataclass(frozen=True)
class LabelledImage:
    """A label map and the image it is of.

    Attributes:
        image_id: name of the image.
        mask_path: file of the label map.
        image_path: file of the image; None if there is none.
        category: class of its cells; None if it is not known, which is a fault.
    """

    image_id: str
    mask_path: str
    image_path: str | None
    category: str | None


def convert_label_maps(
    images: Sequence[LabelledImage],
    load: Callable[[str], np.ndarray],
    *,
    images_dir: str,
    cleaning: Cleaning | None,
    on_error: OnError,
    workers: int | None,
) -> Converted:
    """Convert label maps; ``load`` reads one (H, W), and raises a ValueError or OSError where it cannot.

    Raises:
        DataSetError: for files that cannot be used, unless ``on_error`` is 'skip'.
    """
    convert = partial(
        _convert_image, load=load, images_dir=images_dir, cleaning=cleaning or Cleaning()
    )
    return convert_images(convert, images, on_error=on_error, workers=workers)


def _convert_image(
    image: LabelledImage,
    *,
    load: Callable[[str], np.ndarray],
    images_dir: str,
    cleaning: Cleaning,
) -> Converted:
    try:
        if image.image_path is None:
            raise FileNotFoundError(f"no image file {image.image_id} in {images_dir}")
        if image.category is None:
            raise DataError("the labels csv has no row for this image")
        masks = Runs.from_label_map(load(image.mask_path))
        height, width = image_size_hw(image.image_path)
        if (masks.height, masks.width) != (height, width):
            raise DataError(
                f"label map of {masks.height} x {masks.width} pixels for an image of {height} x {width}"
            )
    except (OSError, CellsegError) as error:
        return Converted(rejected=[Rejected(image.mask_path, None, image.image_id, str(error))])
    categories = (image.category,) * len(masks)
    record = ImageRecord(
        Path(image.image_path).name, height, width, masks, categories, cell_type=image.category
    )
    return finish_image(
        record, [Row()] * len(masks), cleaning, source=image.mask_path, image_id=image.image_id
    )
