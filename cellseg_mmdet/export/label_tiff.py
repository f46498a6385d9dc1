"""Label images as OME-TIFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tifffile

from cellseg_mmdet.export.identity import cell_uuid, image_title
from cellseg_mmdet.export.label_maps import LabelWriter
from cellseg_mmdet.export.tiff_tiles import BIG_BYTES, physical_size, tiles_of
from cellseg_mmdet.export.writer import WRITERS
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.structures import ImagePrediction

_TILE = 512


@WRITERS.register("label-tiff")
class LabelTiffWriter(LabelWriter):
    """``labels/NAME.tif`` for each image: OME-TIFF, uint32, 0 for background and a cell's number in its pixels.

    It is of the size of the image, compressed by deflate, and says the size of a pixel where the image does. Rows are
    painted as they are written.

    Args:
        overlaps: who gets a pixel of several cells, see `label_map`.
        pixel_size_um: height and width of a pixel, in place of what the images say.

    Example:
        >>> import tifffile
        >>> from cellseg_mmdet.masks import Runs
        >>> from cellseg_mmdet.structures import ImageKey
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, np.ones(2), np.array([0, 0]), masks)
        >>> writer = LabelTiffWriter()
        >>> writer.open("out", ("cell",))
        >>> writer.add(found, Picture(ImageKey("a.png")))
        >>> tifffile.imread("out/labels/a.tif")
        array([[1, 2, 2]], dtype=uint32)
    """

    folder = "labels"
    what = "label image"

    def write(self, prediction: ImagePrediction, picture: Picture) -> list[Path]:
        path = self.path_of(prediction, ".tif")
        labels = self.labels_of(prediction)
        # A run that is repeated writes the same bytes: the identifier is not drawn, and no time is noted.
        about: dict[str, Any] = {
            "axes": "YX",
            "UUID": cell_uuid(prediction.image_id, 0),
            "Name": image_title(prediction.image_id),
        }
        options: dict[str, Any] = {}
        size_um = self.size_um(picture)
        if size_um is not None:
            height_um, width_um = size_um
            about |= physical_size(size_um)
            options = {
                "resolution": (1e4 / width_um, 1e4 / height_um),
                "resolutionunit": "CENTIMETER",
            }
        with atomic_write(path) as temporary:
            height, width = labels.shape
            # Small ones are one strip, as they were before there were tiles.
            is_tiled = min(height, width) > _TILE
            tifffile.imwrite(
                temporary,
                tiles_of(labels.bands(_TILE), _TILE) if is_tiled else labels.rows(0, height),
                shape=(height, width),
                dtype=labels.dtype,
                ome=True,
                bigtiff=height * width * labels.dtype.itemsize >= BIG_BYTES,
                tile=(_TILE, _TILE) if is_tiled else None,
                compression="zlib",
                predictor=True,
                metadata=about,
                software="cellseg_mmdet",
                **options,
            )
        return [path]
