"""Training and testing: configs, checkpoints, processes and what a run writes.

Importing this package, as a config's ``custom_imports`` do, registers its parts with mmdet and
makes mmengine load checkpoints safely, and write files whole or not at all.
"""

from cellseg_mmdet.engine.cell_metric import CellMetric
from cellseg_mmdet.engine.checkpoint import (
    read_checkpoint,
    register_checkpoint_loaders,
)
from cellseg_mmdet.engine.config import load_config, prepare_model_cfg
from cellseg_mmdet.engine.data_choice import DataChoice, choose_data
from cellseg_mmdet.engine.prediction_dump import DumpPredictions
from cellseg_mmdet.engine.reproducible import ReproducibleTraining
from cellseg_mmdet.engine.whole_files import WholeCheckpointHook, register_whole_files
from cellseg_mmdet.errors import CheckpointError, UnsafeCheckpointError, UsageError

register_checkpoint_loaders()
register_whole_files()

__all__ = [
    "CellMetric",
    "CheckpointError",
    "DataChoice",
    "DumpPredictions",
    "ReproducibleTraining",
    "UnsafeCheckpointError",
    "UsageError",
    "WholeCheckpointHook",
    "choose_data",
    "load_config",
    "prepare_model_cfg",
    "read_checkpoint",
    "register_checkpoint_loaders",
]
