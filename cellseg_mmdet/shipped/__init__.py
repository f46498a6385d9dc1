"""Trained models that come with the package: a folder each, with config, weights and a card."""

from cellseg_mmdet.shipped.card import ModelCard
from cellseg_mmdet.shipped.models import ShippedModel, find_model, list_models, model_files

__all__ = ["ModelCard", "ShippedModel", "find_model", "list_models", "model_files"]
