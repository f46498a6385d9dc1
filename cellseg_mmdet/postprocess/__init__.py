"""Steps from raw predictions to final instances, chosen by a list in the config.

A new step is one module here with a subclass of `Step` that `STEPS` registers: constructed with the
parameters that the config gives, called with an `ImagePrediction`, it returns another. A
constructor with a parameter ``classes`` is given the class names. What a step says in ``tunable``
is what a search over the list may change.

The type of an instance is the class of its label. After `VoteCellType` that is the same for the
whole image, and values per class become values per image.
"""

from cellseg_mmdet.postprocess.parameters import Tunable
from cellseg_mmdet.postprocess.pipeline import Pipeline, build_pipeline
from cellseg_mmdet.postprocess.remove_overlaps import RemoveOverlaps
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.postprocess.tally import Tally
from cellseg_mmdet.registry import import_siblings

import_siblings(__name__, __path__)

__all__ = ["STEPS", "Pipeline", "RemoveOverlaps", "Step", "Tally", "Tunable", "build_pipeline"]
