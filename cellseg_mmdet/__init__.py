"""Instance segmentation of cells in microscopy images, on MMDetection.

    from cellseg_mmdet import load_model, read_image

    model = load_model("nuclei")  # or load_model("my_config.py", "epoch_20.pth")
    cells = model(read_image("a.tif"))
    cells.label_map(), cells.boxes, cells.scores, len(cells)

The rooms of data, from ``masks`` to ``evaluation``, import without torch; what is registered in MMDetection lives in
``datasets``, ``models`` and ``engine``, which the configs name under ``custom_imports``. The names below are imported
when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cellseg_mmdet import ops

if TYPE_CHECKING:
    from cellseg_mmdet.annotations import read_annotations
    from cellseg_mmdet.errors import CellsegError
    from cellseg_mmdet.evaluation import score_predictions
    from cellseg_mmdet.images import Image, open_image, read_image
    from cellseg_mmdet.inference.cells import Cell, Cells
    from cellseg_mmdet.inference.model import Model, load_model
    from cellseg_mmdet.masks import RoIMasks, Runs
    from cellseg_mmdet.structures import ImagePrediction, ImageRecord, load_predictions

__version__ = "0.1.0"

ops.install()

# Name -> the module that it is taken from.
_HOMES = {
    "Cell": "inference.cells",
    "Cells": "inference.cells",
    "CellsegError": "errors",
    "Image": "images",
    "ImagePrediction": "structures",
    "ImageRecord": "structures",
    "Model": "inference.model",
    "RoIMasks": "masks",
    "Runs": "masks",
    "load_model": "inference.model",
    "load_predictions": "structures",
    "read_annotations": "annotations",
    "open_image": "images",
    "read_image": "images",
    "score_predictions": "evaluation",
}

__all__ = [
    "Cell",
    "Cells",
    "CellsegError",
    "Image",
    "ImagePrediction",
    "ImageRecord",
    "Model",
    "RoIMasks",
    "Runs",
    "__version__",
    "load_model",
    "load_predictions",
    "open_image",
    "read_annotations",
    "read_image",
    "score_predictions",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
