"""Submission of the Kaggle competition Sartorius - Cell Instance Segmentation."""

from cellseg_mmdet.export.submission import FORMATS, SubmissionFormat


@FORMATS.register("sartorius")
class Sartorius(SubmissionFormat):
    """``id,predicted``; pixels are numbered along rows."""

    header = ("id", "predicted")
    order = "row"
