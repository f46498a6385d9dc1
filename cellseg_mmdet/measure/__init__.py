"""Numbers per cell, in pixels and micrometres: shape, neighbourhood, intensities; docs/measurements.md defines them."""

from cellseg_mmdet.measure.intensity import Ring, intensities_of
from cellseg_mmdet.measure.names import NAMES, Names, renamed
from cellseg_mmdet.measure.neighbours import neighbours_of
from cellseg_mmdet.measure.qupath import QuPathMeasurements
from cellseg_mmdet.measure.shape import shapes_of
from cellseg_mmdet.measure.table import (
    Measurements,
    MeasureOptions,
    filled_cells,
    measure_image,
)
from cellseg_mmdet.measure.table_file import TableFile, check_table_path

__all__ = [
    "NAMES",
    "MeasureOptions",
    "Measurements",
    "Names",
    "QuPathMeasurements",
    "Ring",
    "TableFile",
    "check_table_path",
    "filled_cells",
    "intensities_of",
    "measure_image",
    "neighbours_of",
    "renamed",
    "shapes_of",
]
