"""Label images and what belongs to them, as NumPy's own archive."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from cellseg_mmdet.export.identity import class_name
from cellseg_mmdet.export.label_maps import LabelWriter
from cellseg_mmdet.export.writer import WRITERS
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.structures import ImagePrediction


@WRITERS.register("npz")
class NpzWriter(LabelWriter):
    """``npz/NAME.npz`` for each image, which ``numpy.load`` reads.

    ========================= ==================== ==================================================================
    ``labels``                (H, W) uint32        0 for background, a cell's number in its pixels
    ``cell_ids``              (N,) int64           numbers of all cells, also of those that overlaps left without one
    ``scores``                (N,) float64
    ``class_ids``             (N,) int64           index into ``classes``
    ``classes``               (K,) text
    ``boxes_xyxy``            (N, 4) int64         in pixels, tight, x2 and y2 one past the last; of the whole mask
    ``starts, lengths``       (R,) int64           runs of pixels of the whole masks, overlaps included, down the
                                                   columns: ``y = start % H``, ``x = start // H``
    ``offsets``               (N + 1,) int64       cell ``i`` owns runs ``offsets[i]:offsets[i + 1]``
    ``pixel_size_um``         (2,) float64         height and width; where it is known
    ========================= ==================== ==================================================================

    Args:
        overlaps: who gets a pixel of several cells in ``labels``, see `label_map`.
        pixel_size_um: height and width of a pixel, in place of what the images say.
    """

    folder = "npz"
    what = "archive"

    def write(self, prediction: ImagePrediction, picture: Picture) -> list[Path]:
        path = self.path_of(prediction, ".npz")
        masks = prediction.masks
        last = int(prediction.labels.max(initial=-1))
        names = [
            class_name(label, self.classes) for label in range(max(len(self.classes), last + 1))
        ]
        arrays = {
            "labels": self.labels_of(prediction).rows(0, prediction.height),
            "cell_ids": prediction.cell_ids,
            "scores": np.asarray(prediction.scores, dtype=np.float64),
            "class_ids": np.asarray(prediction.labels, dtype=np.int64),
            "classes": np.array(names, dtype=np.str_),
            "boxes_xyxy": masks.boxes,
            "starts": masks.starts,
            "lengths": masks.lengths,
            "offsets": masks.offsets,
        }
        if (size_um := self.size_um(picture)) is not None:
            arrays["pixel_size_um"] = np.array(size_um)
        with (
            atomic_write(path) as temporary,
            zipfile.ZipFile(temporary, "w") as archive,
        ):
            for name, array in arrays.items():
                # As numpy.savez_compressed does, which notes no time either.
                entry = zipfile.ZipInfo(f"{name}.npy")
                entry.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(entry, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
        return [path]
