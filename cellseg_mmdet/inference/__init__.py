"""A trained model on pictures of any kind: one, or all of a folder."""

from cellseg_mmdet.inference.folder import InferenceSummary, infer_images
from cellseg_mmdet.inference.predictor import Predictor

__all__ = [
    "InferenceSummary",
    "Predictor",
    "infer_images",
]
