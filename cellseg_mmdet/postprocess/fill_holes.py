"""Fill the holes of masks."""

from __future__ import annotations

from dataclasses import replace

from cellseg_mmdet.postprocess.column_runs import ColumnRuns
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction


@STEPS.register("FillHoles")
class FillHoles(Step):
    """Add to each mask the background that it surrounds; a gap at a corner does not lead out.

    What touches the border of the image is no hole. Masks grow: put it before `RemoveOverlaps`.
    """

    grows_masks = True

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        runs = ColumnRuns.from_runs(prediction.masks)
        holes = runs.holes()
        if not len(holes):
            return prediction
        filled = runs.merged(holes)
        masks = filled.to_runs(len(prediction), prediction.height, prediction.width)
        return replace(prediction, masks=masks)
