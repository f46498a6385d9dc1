"""Pictures of the instances over their images."""

from __future__ import annotations

from pathlib import Path

from cellseg_mmdet.export.writer import WRITERS, ImageWriter
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.visualization.draw import draw_instances, write_picture


@WRITERS.register("overlay")
class OverlayWriter(ImageWriter):
    """``overlays/<image id>.png`` for each image, twice as large as the image."""

    folder = "overlays"
    what = "picture"

    def write(self, prediction: ImagePrediction, picture: Picture) -> list[Path]:
        path = self.out_dir / self.folder / f"{prediction.image_id}.png"
        write_picture(path, draw_instances(picture.bgr8, prediction.masks))
        return [path]
