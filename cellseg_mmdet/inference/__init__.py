"""A trained model on pictures of any kind: one, or all of a folder."""

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.inference.cells import Cell, Cells
from cellseg_mmdet.inference.folder import InferenceSummary, infer_images
from cellseg_mmdet.inference.images import find_images, read_image
from cellseg_mmdet.inference.model import Model, load_model
from cellseg_mmdet.inference.predictor import Predictor

__all__ = [
    "Cell",
    "Cells",
    "ImageError",
    "InferenceSummary",
    "Model",
    "Predictor",
    "find_images",
    "infer_images",
    "load_model",
    "read_image",
]
