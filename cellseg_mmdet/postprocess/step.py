"""What a post-processing step is, and the table of all steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from cellseg_mmdet.postprocess.parameters import Tunable
from cellseg_mmdet.registry import Registry
from cellseg_mmdet.structures import ImagePrediction


class Step(ABC):
    """From the instances of one image to others.

    Instances that remain keep their order, their box, their score and their label, unless the step
    is there to change just that. Where a step leaves an instance no pixel, it drops the instance.

    Attributes:
        tunable: the parameters that a search over the list may change.
        grows_masks: whether a mask may gain pixels, so that disjoint masks may overlap afterwards.
    """

    tunable: ClassVar[tuple[Tunable, ...]] = ()
    grows_masks: bool = False

    @abstractmethod
    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        """Return the instances after this step; what is given stays as it is."""


STEPS: Registry[Step] = Registry("post-processing step")
