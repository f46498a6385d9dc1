"""`Tally`: how many instances each step of a post-processing list left out, over the images of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from cellseg_mmdet.postprocess.pipeline import Pipeline
from cellseg_mmdet.structures import ImagePrediction

# What removes less is not worth a line.
_LEAST_SHARE = 0.03


class Tally:
    """Counts instances on their way through a pipeline.

    Attributes:
        num_raw: instances before the first step, of all images so far.
        left_out: type of a step -> instances that it left out.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> from cellseg_mmdet.postprocess import build_pipeline
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.9, 0.4]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> tally = Tally()
        >>> len(tally.through(build_pipeline([dict(type="ScoreThreshold", score_thr=0.5)]), found))
        1
        >>> tally.sentence()
        'post-processing left out 1 of 2 cells (50 %): ScoreThreshold 1'
    """

    def __init__(self) -> None:
        self.num_raw = 0
        self.left_out: Counter[str] = Counter()

    def through(
        self, postprocess: Callable[[ImagePrediction], ImagePrediction], raw: ImagePrediction
    ) -> ImagePrediction:
        """Return the final instances of an image, counted."""
        self.num_raw += len(raw)
        if not isinstance(postprocess, Pipeline):
            final = postprocess(raw)
            self.left_out["postprocess"] += len(raw) - len(final)
            return final
        before = len(raw)
        for name, prediction in postprocess.each(raw):
            self.left_out[name] += before - len(prediction)
            before, raw = len(prediction), prediction
        return raw

    def add(self, num_raw: int, left_out: Mapping[str, int]) -> None:
        """Add what was counted elsewhere."""
        self.num_raw += num_raw
        self.left_out.update(left_out)

    def sentence(self) -> str:
        """Return what was left out by which step; '' if it is less than a few percent."""
        total = sum(self.left_out.values())
        if not self.num_raw or total < _LEAST_SHARE * self.num_raw:
            return ""
        steps = ", ".join(f"{name} {count:,}" for name, count in self.left_out.items() if count)
        share = f"{100 * total / self.num_raw:.0f} %"
        return f"post-processing left out {total:,} of {self.num_raw:,} cells ({share}): {steps}"
