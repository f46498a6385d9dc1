"""A trained model on pictures of any kind: one, or all of a folder."""

# First, for it imports mmdet's data sets without what they print.
import cellseg_mmdet.datasets  # noqa: F401
from cellseg_mmdet.inference.cells import Cell, Cells, Crop
from cellseg_mmdet.inference.executors import EXECUTORS, Executor
from cellseg_mmdet.inference.model import Model, load_model
from cellseg_mmdet.inference.predictor import Predictor
from cellseg_mmdet.inference.run import Failure, InferenceSummary, infer_images
from cellseg_mmdet.inference.spec import ModelSpec
from cellseg_mmdet.inference.tasks import Job, Outcome, Task, Worker, plan

__all__ = [
    "EXECUTORS",
    "Cell",
    "Cells",
    "Crop",
    "Executor",
    "Failure",
    "InferenceSummary",
    "Job",
    "Model",
    "ModelSpec",
    "Outcome",
    "Predictor",
    "Task",
    "Worker",
    "infer_images",
    "load_model",
    "plan",
]
