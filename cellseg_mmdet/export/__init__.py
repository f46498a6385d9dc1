"""Submission files and every other output format, and the check of submissions."""

from cellseg_mmdet.annotations.submissions import FORMATS, SubmissionFormat
from cellseg_mmdet.export.check import Fault, check_submission
from cellseg_mmdet.export.coco import to_coco_results, write_coco_results
from cellseg_mmdet.export.submission import SubmissionSummary, write_submission
from cellseg_mmdet.export.writer import WRITERS, ImageWriter, Writer, Written, opened
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
    "opened",
    "to_coco_results",
    "write_coco_results",
    "write_submission",
]
