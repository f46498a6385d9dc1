"""Training and testing: configs, checkpoints, processes and what a run writes.

Importing this package, as a config's ``custom_imports`` do, registers its parts with mmdet and
makes mmengine load checkpoints safely.
"""

from cellseg_mmdet.engine.cell_metric import CellMetric
from cellseg_mmdet.engine.checkpoint import (
    read_checkpoint,
    register_checkpoint_loaders,
)
from cellseg_mmdet.engine.config import load_config, prepare_model_cfg
from cellseg_mmdet.engine.data_choice import DataChoice, add_data_arguments, choose_data
from cellseg_mmdet.engine.prediction_dump import DumpPredictions
from cellseg_mmdet.errors import CheckpointError, UnsafeCheckpointError, UsageError

register_checkpoint_loaders()

__all__ = [
    "CellMetric",
    "CheckpointError",
    "DataChoice",
    "DumpPredictions",
    "UnsafeCheckpointError",
    "UsageError",
    "add_data_arguments",
    "choose_data",
    "load_config",
    "prepare_model_cfg",
    "read_checkpoint",
    "register_checkpoint_loaders",
]
