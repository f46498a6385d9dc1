"""Predictions in the layout of the dumps that evaluation, fusion and tuning read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cellseg_mmdet.export.writer import WRITERS, Writer, Written
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.structures.prediction_dump import DumpStream


@WRITERS.register("dump")
class DumpWriter(Writer):
    """``predictions.pkl``, a dump with one entry an image."""

    def open(self, out_dir: str | os.PathLike[str], classes: Sequence[str]) -> None:
        self._path = Path(out_dir) / "predictions.pkl"
        self._stream = DumpStream(self.open_file(self._path, "wb"))

    def add(self, prediction: ImagePrediction, picture: Picture) -> None:
        self._stream.add(prediction)

    def close(self) -> Written:
        self._stream.close()
        self.finish()
        return Written({self._path: "dump of predictions"})
