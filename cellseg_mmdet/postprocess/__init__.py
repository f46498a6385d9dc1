"""Steps from raw predictions to final instances, chosen by a list in the config.

A new step is one module here with a class that `STEPS` registers: constructed with the parameters
that the config gives, called with an `ImagePrediction`, it returns another. A constructor with a
parameter ``classes`` is given the class names.
"""

from cellseg_mmdet.postprocess.pipeline import STEPS, Pipeline, build_pipeline
from cellseg_mmdet.postprocess.remove_overlaps import RemoveOverlaps
from cellseg_mmdet.registry import import_siblings

import_siblings(__name__, __path__)

__all__ = ["STEPS", "Pipeline", "RemoveOverlaps", "build_pipeline"]
