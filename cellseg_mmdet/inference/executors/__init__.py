"""Who works on the tasks of a run: `EXECUTORS`, one file each in this folder."""

from cellseg_mmdet.inference.executors.executor import EXECUTORS, Executor
from cellseg_mmdet.registry import import_siblings

import_siblings(__name__, __path__)

__all__ = ["EXECUTORS", "Executor"]
