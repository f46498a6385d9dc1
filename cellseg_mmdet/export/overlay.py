"""Pictures of the instances over their images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cellseg_mmdet.export.writer import WRITERS, Writer, Written
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.visualization.draw import draw_instances, write_picture


@WRITERS.register("overlay")
class OverlayWriter(Writer):
    """``overlays/<image id>.png`` for each image, twice as large as the image."""

    def open(self, out_dir: str | os.PathLike[str], classes: Sequence[str]) -> None:
        self._folder = Path(out_dir) / "overlays"
        self._count = 0

    def add(self, prediction: ImagePrediction, image: np.ndarray) -> None:
        drawn = draw_instances(image, prediction.masks)
        write_picture(self._folder / f"{prediction.image_id}.png", drawn)
        self._count += 1

    def close(self) -> Written:
        return Written({self._folder: f"{self._count} pictures"})
