"""Outlines as regions of interest of ImageJ."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi

from cellseg_mmdet.export.identity import class_name, class_rgb
from cellseg_mmdet.export.polygons import OutlinedCell, OutlineWriter
from cellseg_mmdet.export.writer import WRITERS
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks.outlines import Polygon
from cellseg_mmdet.structures import ImagePrediction

# ImageJ keeps whole coordinates in 16 bits, from -5000 on; beyond them it wants floating-point numbers.
_LARGEST_INTEGER = 60_535
_FORBIDDEN = re.compile(r"[^\w .+()-]")
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


@WRITERS.register("imagej")
class ImageJWriter(OutlineWriter):
    """``rois/NAME.zip`` for each image, which ImageJ's ROI Manager opens; a region of interest a cell.

    A cell of one piece without holes is a traced region, any other a composite one. Its name is ``0012 nucleus``: the
    number of the cell and its class, whose colour it has; the score is among its properties. Cells of a plane of a
    stack are shown on that plane.

    Args:
        simplify_px: see `OutlineWriter`.
    """

    folder = "rois"
    what = "ROI set"

    def write(self, prediction: ImagePrediction, picture: Picture) -> list[Path]:
        path = self.path_of(prediction, ".zip")
        digits = max(4, len(str(len(prediction))))
        place = _Place.of(picture)
        with (
            atomic_write(path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for cell in self.cells_of(prediction):
                label = int(prediction.labels[cell.index])
                roi = _roi(cell)
                place.put(roi)
                name = f"{cell.cell_id:0{digits}} {class_name(label, self.classes)}"
                roi.name = name
                roi.stroke_color = bytes((255, *class_rgb(label)))
                roi.props = f"cell_id: {cell.cell_id}\nscore: {prediction.scores[cell.index]:.6g}\n"
                # The ROI Manager lists the names of the files; classes may hold what those may not.
                entry = zipfile.ZipInfo(f"{_FORBIDDEN.sub('_', name)}.roi")
                archive.writestr(entry, roi.tobytes(), zipfile.ZIP_DEFLATED)
        return [path]


def _roi(cell: OutlinedCell) -> ImagejRoi:
    if len(cell.polygons) == 1 and len(cell.polygons[0]) == 1:
        ring = cell.polygons[0][0]
        is_large = ring.max(initial=0) > _LARGEST_INTEGER
        roi = ImagejRoi.frompoints(ring.astype(np.float32) if is_large else ring, name="")
        roi.roitype = ROI_TYPE.TRACED
        # frompoints takes the last point for a pixel; here it is an edge.
        roi.right, roi.bottom = (int(side) for side in ring.max(axis=0))
    else:
        roi = ImagejRoi()
        roi.roitype = ROI_TYPE.RECT
        roi.multi_coordinates = _path(cell.polygons)
        roi.shape_roi_size = len(roi.multi_coordinates)
        points = np.concatenate([ring for rings in cell.polygons for ring in rings])
        roi.left, roi.top = (int(side) for side in points.min(axis=0))
        roi.right, roi.bottom = (int(side) for side in points.max(axis=0))
    roi.options |= ROI_OPTIONS.OVERLAY_LABELS
    return roi


def _path(polygons: Sequence[Polygon]) -> np.ndarray:
    """Return the way around all rings as java.awt.geom has it: a command and a point, a command to close each ring.

    Holes go round the other way than outer rings, so that they are outside by either rule of winding.
    """
    parts: list[np.ndarray] = []
    for rings in polygons:
        for ring in rings:
            steps = np.empty((len(ring), 3), dtype=np.float32)
            steps[:, 0], steps[:, 1:] = _LINE, ring
            steps[0, 0] = _MOVE
            parts += [steps.ravel(), np.array([_CLOSE], dtype=np.float32)]
    return np.concatenate(parts)


@dataclass(frozen=True)
class _Place:
    """Where in its stack a region is shown, numbers from 1 on, 0 for everywhere.

    A stack along one axis has one number, ``position``; a hyperstack, along two or three, has ``czt``. Each kind
    ignores or misreads the numbers of the other (``drawOverlay`` of ImageJ's ImageCanvas).
    """

    position: int = 0
    czt: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    def of(cls, picture: Picture) -> _Place:
        plane = picture.plane_indices
        axes = [axis for axis, size in picture.stack_sizes.items() if size > 1] or list(plane)
        if len(axes) == 1:
            return cls(position=plane.get(axes[0], -1) + 1)
        channel, z, t = (plane.get(axis, -1) + 1 for axis in "CZT")
        return cls(czt=(channel, z, t))

    def put(self, roi: ImagejRoi) -> None:
        roi.position = self.position
        roi.c_position, roi.z_position, roi.t_position = self.czt
