"""Submission of the Kaggle competition 2018 Data Science Bowl."""

from cellseg_mmdet.export.submission import FORMATS, SubmissionFormat


@FORMATS.register("dsb2018")
class Dsb2018(SubmissionFormat):
    """``ImageId,EncodedPixels``; pixels are numbered down columns."""

    header = ("ImageId", "EncodedPixels")
    order = "column"
