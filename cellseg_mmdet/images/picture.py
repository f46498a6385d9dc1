"""`Picture`: an image of a run that is read when somebody asks for its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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

    @cached_property
    def bgr8(self) -> np.ndarray:
        """(H, W, 3) uint8 BGR, to look at."""
        return to_bgr8(self.image)

    @contextmanager
    def opened(self) -> Iterator[Image | ImageSource]:
        """Yield the image if it was read already, else its file, for who reads it window by window.

        Raises:
            ImageError: it cannot be read.
        """
        if "image" in self.__dict__:
            yield self.image
            return
        with open_image(self.key, self._selection) as source:
            yield source
