"""Predictions in the layout of the dumps that evaluation, fusion and tuning read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cellseg_mmdet.export.writer import WRITERS, Writer, Written
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.structures.prediction_dump import DumpStream, to_final_entry


@WRITERS.register("dump")
class DumpWriter(Writer):
    """``predictions.pkl``, a dump with one entry an image.

    Args:
        is_final: whether the predictions went through the post-processing; who reads the dump then applies none.
    """

    def __init__(self, is_final: bool = True) -> None:
        super().__init__()
        self.is_final = is_final

    def open(self, out_dir: str | os.PathLike[str], classes: Sequence[str]) -> None:
        self._path = Path(out_dir) / "predictions.pkl"
        self._stream = DumpStream(self.open_file(self._path, "wb"))
        self._classes = tuple(classes)

    def add(self, prediction: ImagePrediction, picture: Picture) -> None:
        self._stream.add(to_final_entry(prediction, self._classes) if self.is_final else prediction)

    def close(self) -> Written:
        self._stream.close()
        self.finish()
        return Written({self._path: "dump of predictions"})
