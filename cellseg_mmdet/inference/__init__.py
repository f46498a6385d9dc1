"""A trained model on pictures of any kind: one, or all of a folder."""

from cellseg_mmdet.inference.cells import Cell, Cells
from cellseg_mmdet.inference.folder import InferenceSummary, infer_images
from cellseg_mmdet.inference.model import Model, load_model
from cellseg_mmdet.inference.predictor import Predictor

__all__ = [
    "Cell",
    "Cells",
    "InferenceSummary",
    "Model",
    "Predictor",
    "infer_images",
    "load_model",
]
