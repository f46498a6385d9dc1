"""`Picture`: an image of a run that is read when somebody asks for its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.images.image import Image
from cellseg_mmdet.images.image_source import ImageSource
from cellseg_mmdet.images.intensity import AsStored, as_bgr, to_bgr8
from cellseg_mmdet.images.selection import PlaneSelection
from cellseg_mmdet.images.source import open_image, read_image
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
    def _header(
        self,
    ) -> tuple[tuple[int, int, int], tuple[float, float] | None, dict[str, int]]:
        """Shape, size of a pixel and axes of the stack, by opening the file once."""
        with open_image(self.key, self._selection) as source:
            shape = (*source.size_hw, len(source.channels))
            return shape, source.pixel_size_um, source.stack_sizes

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

    @cached_property
    def pixel_size_um(self) -> tuple[float, float] | None:
        """(height, width) of a pixel in micrometres, read from the header alone; None where nothing says it.

        That is also so where the file is gone, or cannot be read.
        """
        if "image" in self.__dict__:
            return self.image.pixel_size_um
        try:
            return self._header[1]
        except (ImageError, OSError):
            return None

    @property
    def plane_indices(self) -> dict[str, int]:
        """Axis letter -> index from 0 on, of the axes of a stack along which one plane was selected."""
        chosen = self._selection or PlaneSelection()
        indices = {"Z": chosen.z, "T": chosen.t}
        if chosen.channel is not None and len(chosen.channel) == 1:
            indices["C"] = chosen.channel[0] if isinstance(chosen.channel[0], int) else None
        found = {axis: index for axis, index in indices.items() if isinstance(index, int)}
        return found | self.key.indices

    @property
    def stack_sizes(self) -> dict[str, int]:
        """Axis letter -> length, of each axis of the file along which planes are selected.

        Empty where there is no file, or it cannot be read.
        """
        try:
            return self._header[2]
        except (ImageError, OSError):
            return {}

    @contextmanager
    def bgr8_reader(self) -> Iterator[Callable[[int, int], np.ndarray]]:
        """Open the picture and yield what returns rows y0 to y1 of `bgr8`; what is not read yet is read by window.

        Raises:
            ImageError: it cannot be read.
        """
        with self.opened() as picture:
            levels = AsStored().measure(_FirstChannels(picture))
            width = picture.size_hw[1]

            def rows(y0: int, y1: int) -> np.ndarray:
                pixels = picture.part(y0, 0, y1 - y0, width).pixels
                return as_bgr(levels.apply(pixels[..., :3]))

            yield rows

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

    def part(self, y0: int, x0: int, height: int, width: int) -> Image:
        """Return a window as a picture of its own, without reading the rest where the format allows it."""
        with self.opened() as picture:
            return picture.part(y0, x0, height, width)


class _FirstChannels:
    """A source of which no more than three channels are shown, for `Intensity.measure`."""

    def __init__(self, source: Image | ImageSource) -> None:
        self._source = source
        self.channels, self.dtype = source.channels[:3], source.dtype

    def windows(self) -> Iterator[np.ndarray]:
        return (band[..., :3] for band in self._source.windows())
