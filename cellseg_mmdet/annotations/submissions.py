"""Layouts of submissions, csv files with one row per cell. A new competition is one class here."""

from __future__ import annotations

from typing import ClassVar

from cellseg_mmdet.masks import PixelOrder
from cellseg_mmdet.registry import Registry


class SubmissionFormat:
    """A csv file with one row per cell; an image without cells has one row with an empty string.

    Attributes:
        header: names of the two columns, image id and mask.
        order: how the 1-based ``start length`` pairs of a mask number the pixels.
    """

    header: ClassVar[tuple[str, str]]
    order: ClassVar[PixelOrder]


FORMATS: Registry[SubmissionFormat] = Registry("submission format")


@FORMATS.register("sartorius")
class Sartorius(SubmissionFormat):
    """``id,predicted``; pixels are numbered along rows. Kaggle's Sartorius - Cell Instance Segmentation."""

    header = ("id", "predicted")
    order = "row"


@FORMATS.register("dsb2018")
class Dsb2018(SubmissionFormat):
    """``ImageId,EncodedPixels``; pixels are numbered down columns. Kaggle's 2018 Data Science Bowl."""

    header = ("ImageId", "EncodedPixels")
    order = "column"
