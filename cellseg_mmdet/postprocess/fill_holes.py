"""Fill the holes of masks."""

from __future__ import annotations

from dataclasses import replace

from cellseg_mmdet.masks.column_runs import ColumnRuns
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction


@STEPS.register("FillHoles")
class FillHoles(Step):
    """Add to each mask the background that it surrounds; a gap at a corner does not lead out.

    What touches the border of the image is no hole. Masks grow: put it before `RemoveOverlaps`.

    Example:
        >>> from cellseg_mmdet import ImagePrediction, Runs
        >>> masks = Runs.from_label_map(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]))
        >>> scores, labels = np.array([0.9]), np.array([0])
        >>> found = ImagePrediction("a", 1, 3, 3, masks.boxes, scores, labels, masks)
        >>> FillHoles()(found).masks.to_label_map()
        array([[1, 1, 1],
               [1, 1, 1],
               [1, 1, 1]], dtype=int32)
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
