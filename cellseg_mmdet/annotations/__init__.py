"""Annotation files: what data set, metric and evaluation read. A new layout is one module here.

`files` reads and writes COCO and MMDetection 3.x; `validate` judges every entry, for all who read them; `image_files`
holds them against the images; `sets` keeps the files of one conversion together. `mmdet_v2` reads lists of mmdet 2.x;
`cell_csv` reads csv files of cells, `csv_rows` any csv.
"""

from cellseg_mmdet.annotations.files import (
    read_annotations,
    source_info,
    stage_annotation_parts,
    suffix_of,
    write_annotations,
)
from cellseg_mmdet.annotations.layout import LAYOUTS, Parsed, layout_of
from cellseg_mmdet.annotations.sets import FileSet, check_set, file_set
from cellseg_mmdet.registry import import_siblings

import_siblings(__name__, __path__)

__all__ = [
    "LAYOUTS",
    "FileSet",
    "Parsed",
    "check_set",
    "file_set",
    "layout_of",
    "read_annotations",
    "source_info",
    "stage_annotation_parts",
    "suffix_of",
    "write_annotations",
]
