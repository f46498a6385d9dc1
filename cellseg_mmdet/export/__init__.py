"""Submission files and every other output format, and the check of submissions."""

from cellseg_mmdet.annotations.submissions import FORMATS, SubmissionFormat
from cellseg_mmdet.export.check import Fault, check_submission
from cellseg_mmdet.export.coco import to_coco_results, write_coco_results
from cellseg_mmdet.export.geojson import to_geojson
from cellseg_mmdet.export.label_maps import label_map
from cellseg_mmdet.export.submission import SubmissionSummary, write_submission
from cellseg_mmdet.export.writer import (
    WRITERS,
    ImageWriter,
    Writer,
    Written,
    opened,
    options_of,
    taken_by,
    total,
)
from cellseg_mmdet.registry import import_siblings

import_siblings(__name__, __path__)

__all__ = [
    "FORMATS",
    "WRITERS",
    "Fault",
    "ImageWriter",
    "SubmissionFormat",
    "SubmissionSummary",
    "Writer",
    "Written",
    "check_submission",
    "label_map",
    "opened",
    "options_of",
    "taken_by",
    "to_coco_results",
    "to_geojson",
    "total",
    "write_coco_results",
    "write_submission",
]
