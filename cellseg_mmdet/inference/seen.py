"""What a model's test pipeline makes of a picture of any size, read by window from its file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import Compose, TestTimeAug
from mmdet.datasets.transforms import PackDetInputs
from mmdet.datasets.transforms import Resize as ResizeDet

from cellseg_mmdet.datasets.transforms import LoadCellImage
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.images import Image, ImageSource
from cellseg_mmdet.images.intensity import IntensityMap
from cellseg_mmdet.images.scale import resizable_dtype, resized_image, resized_size
from cellseg_mmdet.tiling.pictures import ArrayPicture, NetworkPicture
from cellseg_mmdet.tiling.scratch import Scratch

_BAND_PIXELS = 1 << 22


@dataclass(frozen=True, eq=False)
class BandedImage(Image):
    """An image in a memory map: what looks at all of it does so in bands of rows."""

    def windows(self) -> Iterator[np.ndarray]:
        """Yield the pixels in bands of rows."""
        for y0, y1 in _bands(*self.size_hw):
            yield self.pixels[y0:y1]


class _InBands:
    """An open picture in bands that are small beside what a network takes; an `Intensity` looks at them several times.

    Args:
        source: the picture.
    """

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self.key, self.channels, self.dtype = source.key, source.channels, source.dtype

    def windows(self) -> Iterator[np.ndarray]:
        """Yield the pixels in bands of rows."""
        return self._source.windows(_BAND_PIXELS)


@dataclass(frozen=True, eq=False)
class LoadedPicture:
    """What `LoadCellImage` makes of a picture, converted where it is read by the map of the whole picture.

    Attributes:
        image: open, or in memory.
        loader: the step of the pipeline.
        mapped: measured on the whole.
    """

    image: Image | ImageSource
    loader: LoadCellImage
    mapped: IntensityMap

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.size_hw

    def read(self, y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
        """Return a window, uint8 (h, w, C)."""
        if isinstance(self.image, Image):
            pixels = self.image.pixels[y0:y1, x0:x1]
        else:
            pixels = self.image.read_window(y0, x0, y1 - y0, x1 - x0)
        return self.loader.converted(pixels, self.mapped, self.image)


class SeenPictures:
    """Makes pictures as the network sees them, on the grid and with the intensity of the whole.

    A picture that is resized, for the size of its cells or by the pipeline, is kept as a whole, in a file if it is
    large; one that is not is read where it is asked for.

    Args:
        pipeline: the model's test pipeline for images that are read already.

    Attributes:
        packing: what is behind loading and resizing: packing, or views of test-time augmentation.

    Raises:
        UsageError: the pipeline has a step that is not known here.
    """

    def __init__(self, pipeline: Compose) -> None:
        loader, *steps = pipeline.transforms
        assert isinstance(loader, LoadCellImage)  # as `array_pipeline` has it
        self._loader = loader
        self._resizes = []
        while steps and type(steps[0]) is ResizeDet:
            self._resizes.append(steps.pop(0))
        self.packing = steps
        if len(steps) != 1 or not isinstance(steps[0], PackDetInputs | TestTimeAug):
            names = ", ".join(type(step).__name__ for step in steps) or "nothing"
            raise UsageError(
                "pictures are cut into tiles behind LoadCellImage and Resize, and before PackDetInputs or TestTimeAug; "
                f"the test pipeline has {names} there: predict the whole picture (--tile off)"
            )
        for step in self._resizes:
            if step.backend != "cv2":
                raise UsageError(
                    f"Resize with the backend {step.backend!r} does not resize into files: use cv2, or --tile off"
                )

    def size_hw(
        self, size_hw: tuple[int, int], factors_yx: tuple[float, float] = (1.0, 1.0)
    ) -> tuple[int, int]:
        """Return height and width of what the network sees of a picture of ``size_hw``."""
        size_hw = resized_size(size_hw, factors_yx)
        for step in self._resizes:
            size_hw = _size_after(step, size_hw)
        return size_hw

    def picture(
        self,
        image: Image | ImageSource,
        scratch: Scratch,
        factors_yx: tuple[float, float] = (1.0, 1.0),
    ) -> tuple[NetworkPicture, tuple[int, int]]:
        """Return what the network sees, and the size of the picture that its pipeline was given.

        Args:
            image: open, or in memory.
            scratch: for pictures that are resized.
            factors_yx: of height and width, by which it is resized first.
        """
        size_hw = resized_size(image.size_hw, factors_yx)
        if size_hw != image.size_hw:
            image = self._scaled(image, size_hw, scratch, factors_yx)
        mapped = self._loader.measured(image if isinstance(image, Image) else _InBands(image))
        seen: NetworkPicture = LoadedPicture(image, self._loader, mapped)
        for step in self._resizes:
            height, width = _size_after(step, seen.size_hw)
            if (height, width) == seen.size_hw:
                continue
            before = self._stored(seen, scratch)
            after = scratch.array((height, width, before.shape[2]), np.uint8)
            mmcv.imresize(before, (width, height), interpolation=step.interpolation, out=after)
            scratch.free(before)
            scratch.let_go(after)
            seen = ArrayPicture(after)
        return seen, size_hw

    def _scaled(
        self,
        image: Image | ImageSource,
        size_hw: tuple[int, int],
        scratch: Scratch,
        factors_yx: tuple[float, float],
    ) -> Image:
        dtype = resizable_dtype(image.dtype)
        height, width = image.size_hw
        stored = scratch.array((height, width, len(image.channels)), dtype)
        y0 = 0
        bands = image.windows() if isinstance(image, Image) else image.windows(_BAND_PIXELS)
        for band in bands:
            stored[y0 : y0 + len(band)] = band
            y0 += len(band)
        whole = BandedImage(stored, image.key, image.channels, image.pixel_size_um)
        out = scratch.array((*size_hw, len(image.channels)), dtype)
        scaled = resized_image(whole, factors_yx, out=out)
        scratch.free(stored)
        scratch.let_go(out)
        assert isinstance(scaled, BandedImage)
        return scaled

    def _stored(self, seen: NetworkPicture, scratch: Scratch) -> np.ndarray:
        """Return the whole of what is seen in one array."""
        if isinstance(seen, ArrayPicture):
            return seen.pixels
        height, width = seen.size_hw
        channels = seen.read(0, 0, 1, 1).shape[2]
        stored = scratch.array((height, width, channels), np.uint8)
        for y0, y1 in _bands(height, width):
            stored[y0:y1] = seen.read(y0, 0, y1, width)
            scratch.let_go(stored)
        return stored


def _size_after(step: ResizeDet, size_hw: tuple[int, int]) -> tuple[int, int]:
    """Return height and width behind mmdet's ``Resize``."""
    height, width = size_hw
    scale = step.scale
    if scale is None:
        x_factor, y_factor = step.scale_factor
        scale = int(width * float(x_factor) + 0.5), int(height * float(y_factor) + 0.5)
    new_width, new_height = mmcv.rescale_size((width, height), scale) if step.keep_ratio else scale
    return int(new_height), int(new_width)


def views_of(step: Any) -> Sequence[Any]:
    """Return the pipelines of the views of ``TestTimeAug``; none of another step."""
    return getattr(step, "subroutines", ())


def _bands(height: int, width: int) -> Iterator[tuple[int, int]]:
    rows = max(1, _BAND_PIXELS // width)
    for y0 in range(0, height, rows):
        yield y0, min(y0 + rows, height)
