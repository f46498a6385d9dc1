"""`Picture`: an image of a run that is read when somebody asks for its pixels."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from cellseg_mmdet.images.image import Image
from cellseg_mmdet.images.intensity import to_bgr8
from cellseg_mmdet.images.selection import PlaneSelection
from cellseg_mmdet.images.source import ImageSource, open_image, read_image
from cellseg_mmdet.structures.image_key import ImageKey


class Picture:
    """An image by its key, read once, when its pixels are asked for.

    Args:
        key: which image.
        selection: planes of a stack.
        image: the image, if it was read already.

    Example:
        >>> image = read_image(np.array([[0, 255]], np.uint8), name="a")
        >>> Picture(image.key, image=image).bgr8.shape
        (1, 2, 3)
    """

    def __init__(
        self, key: ImageKey, selection: PlaneSelection | None = None, image: Image | None = None
    ) -> None:
        self.key = key
        self._selection = selection
        if image is not None:
            self.image = image

    @cached_property
    def image(self) -> Image:
        """As stored.

        Raises:
            ImageError: it cannot be read.
        """
        return read_image(self.key, self._selection)

    def open(self) -> ImageSource:
        """Open the file, to read windows of it.

        Raises:
            ImageError: it cannot be opened.
        """
        return open_image(self.key, self._selection)

    @cached_property
    def _header(self) -> tuple[tuple[int, int, int], tuple[float, float] | None]:
        with self.open() as source:
            height, width = source.size_hw
            return (height, width, len(source.channels)), source.pixel_size_um

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and number of channels, from the header alone while the pixels are not read.

        Raises:
            ImageError: it cannot be opened.
        """
        if "image" not in vars(self):
            return self._header[0]
        height, width, channels = self.image.pixels.shape
        return height, width, channels

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width, as `shape`."""
        return self.shape[:2]

    @property
    def pixel_size_um(self) -> tuple[float, float] | None:
        """(height, width) of a pixel, None if the file does not say; as `shape`."""
        return self.image.pixel_size_um if "image" in vars(self) else self._header[1]

    @cached_property
    def bgr8(self) -> np.ndarray:
        """(H, W, 3) uint8 BGR, to look at."""
        return to_bgr8(self.image)
