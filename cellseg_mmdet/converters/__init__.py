"""From raw data sets to annotation files: readers, cleaning, folds, writers."""

from cellseg_mmdet.annotations.files import read_annotations, write_annotations
from cellseg_mmdet.converters.cleaning import Cleaning
from cellseg_mmdet.structures.image_record import ImageRecord

__all__ = ["Cleaning", "ImageRecord", "read_annotations", "write_annotations"]
