"""Annotation files: what data set, metric and evaluation read. A new layout is one module here.

`files` reads and writes COCO and MMDetection 3.x; `validate` judges every entry, for all who read them; `image_files`
holds them against the images. `mmdet_v2` reads lists of mmdet 2.x; `cell_csv` reads csv files of
cells, `csv_rows` any csv.
"""

from cellseg_mmdet.annotations.files import (
    read_annotations,
    source_info,
    suffix_of,
    write_annotation_parts,
    write_annotations,
)
from cellseg_mmdet.annotations.layout import LAYOUTS, Parsed, layout_of
from cellseg_mmdet.registry import import_siblings

import_siblings(__name__, __path__)

__all__ = [
    "LAYOUTS",
    "Parsed",
    "layout_of",
    "read_annotations",
    "source_info",
    "suffix_of",
    "write_annotation_parts",
    "write_annotations",
]
