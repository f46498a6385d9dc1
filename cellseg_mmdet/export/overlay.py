"""Pictures of the instances over their images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.export.identity import cell_uuid, class_name, class_rgb
from cellseg_mmdet.export.pyramid import write_pyramid
from cellseg_mmdet.export.writer import WRITERS, ImageWriter
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.visualization.draw.legend import Entry, ScaleBar, legend, scale_bar
from cellseg_mmdet.visualization.draw.overlays import Drawing
from cellseg_mmdet.visualization.draw.png import PngStream

# Larger images are drawn as large as they are.
_LARGEST_ENLARGED_PX = 4000
# Larger drawings are pyramids: viewers load a PNG as a whole, and many of them none of such a size.
_LARGEST_PNG_PX = 8192
# Pixels of the drawing that are made at a time; each takes some 20 bytes.
_MAX_PIXELS = 1 << 22


@WRITERS.register("overlay")
class OverlayWriter(ImageWriter):
    """``overlays/NAME.png`` for each image: cells tinted and with a crisp outline, a legend below, a scale bar.

    Up to 4,000 pixels a side the image is enlarged twice. Where the model has several classes, cells have the colour of
    theirs, which the legend explains; else neighbours differ. The bar is there where the size of a pixel is known. A
    drawing of more than 8,192 pixels a side is ``overlays/NAME.tif``: an OME-TIFF in tiles with smaller levels, of
    which viewers of slides load what they show. A part of the picture is read and drawn at a time.

    Args:
        scale: how many times the drawing is larger than the image; 1 or 2 by its size.
        pixel_size_um: height and width of a pixel, in place of what the images say.

    Raises:
        ConfigError: ``scale`` is not a whole number from 1 on.
    """

    folder = "overlays"
    what = "picture"

    def __init__(
        self, scale: int | None = None, pixel_size_um: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        if scale is not None and not (isinstance(scale, int) and scale >= 1):
            raise ConfigError(f"scale={scale!r}: must be a whole number from 1 on")
        self.scale, self.pixel_size_um = scale, pixel_size_um

    def write(self, prediction: ImagePrediction, picture: Picture) -> list[Path]:
        height, width = prediction.height, prediction.width
        scale = self.scale or (1 if max(height, width) > _LARGEST_ENLARGED_PX else 2)
        below = legend(width * scale, self._entries(prediction), self._bar(picture, width, scale))
        shape = height * scale + len(below), width * scale
        is_large = max(shape) > _LARGEST_PNG_PX
        path = self.path_of(prediction, ".tif" if is_large else ".png")
        with atomic_write(path) as temporary, picture.bgr8_reader() as image_rows:
            parts = chain(self._drawn(prediction, scale, image_rows), [below])
            if is_large:
                size_um = self.pixel_size_um or picture.pixel_size_um
                write_pyramid(
                    temporary,
                    (part[..., ::-1] for part in parts),
                    shape,
                    name=prediction.image_id,
                    uuid=cell_uuid(f"overlay of {prediction.image_id}", 0),
                    pixel_size_um=size_um and (size_um[0] / scale, size_um[1] / scale),
                )
            else:
                with temporary.open("wb") as file:
                    stream = PngStream(file, *shape)
                    for part in parts:
                        stream.add(part)
                    stream.close()
        return [path]

    def _drawn(
        self,
        prediction: ImagePrediction,
        scale: int,
        image_rows: Callable[[int, int], np.ndarray],
    ) -> Iterator[np.ndarray]:
        """Yield the rows of the drawing (rows, width, 3) uint8 BGR, some at a time."""
        height, width = prediction.height, prediction.width
        colors = None
        if len(self.classes) > 1:
            of_class = [class_rgb(label)[::-1] for label in prediction.labels.tolist()]
            colors = np.array(of_class, dtype=np.uint8).reshape(-1, 3)
        drawing = Drawing(prediction.masks, colors=colors, scale=scale)
        rows = max(1, _MAX_PIXELS // (width * scale**2))
        for begin in range(0, height, rows):
            yield drawing.rows(begin, min(begin + rows, height), image_rows)

    def _entries(self, prediction: ImagePrediction) -> list[Entry]:
        counts = np.bincount(prediction.labels, minlength=len(self.classes)).tolist()
        if len(counts) == 1:
            return [Entry(f"{class_name(0, self.classes)}: {counts[0]:,}")]
        return [
            Entry(f"{class_name(label, self.classes)}: {count:,}", class_rgb(label)[::-1])
            for label, count in enumerate(counts)
        ]

    def _bar(self, picture: Picture, width: int, scale: int) -> ScaleBar | None:
        size_um = self.pixel_size_um or picture.pixel_size_um
        return None if size_um is None else scale_bar(width * scale, size_um[1] / scale)
