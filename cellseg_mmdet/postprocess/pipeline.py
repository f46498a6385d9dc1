"""The list of post-processing steps: from the config's dicts to what predictions go through."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.postprocess.remove_overlaps import RemoveOverlaps
from cellseg_mmdet.postprocess.step import STEPS, Step
from cellseg_mmdet.structures import ImagePrediction


@dataclass(frozen=True)
class Pipeline:
    """Steps that are applied one after another.

    Attributes:
        steps: what is called, in order.
        classes: class names by label, None where no step and no check needs them.
        adds_overlap_removal: the config's list may leave masks that overlap, and a
            ``RemoveOverlaps`` was put behind it.
    """

    steps: tuple[Step, ...]
    classes: tuple[str, ...] | None = None
    adds_overlap_removal: bool = False

    def __call__(self, prediction: ImagePrediction) -> ImagePrediction:
        """Return the final instances.

        Raises:
            ConfigError: if a label is not that of a class.
        """
        for _, after in self.each(prediction):
            prediction = after
        return prediction

    def each(self, prediction: ImagePrediction) -> Iterator[tuple[str, ImagePrediction]]:
        """Yield the type of each step with the instances after it; errors are those of a call."""
        self._check_labels(prediction)
        for step in self.steps:
            prediction = step(prediction)
            yield type(step).__name__, prediction

    def _check_labels(self, prediction: ImagePrediction) -> None:
        if self.classes is None or not len(prediction):
            return
        low, high = int(prediction.labels.min()), int(prediction.labels.max())
        if low < 0 or high >= len(self.classes):
            raise ConfigError(
                f"{prediction.image_id}: labels from {low} to {high} are predicted, but there are "
                f"{len(self.classes)} classes {self.classes}: are the predictions of another model?"
            )


def build_pipeline(
    steps: Sequence[Mapping[str, Any]], classes: Sequence[str] | None = None
) -> Pipeline:
    """Build the steps of a config's ``postprocess`` list, each ``dict(type=NAME, **parameters)``.

    The result always ends with disjoint masks: where the list has no ``RemoveOverlaps``, or masks
    may grow after it, one is put behind it, so that what is scored is what is submitted.

    Args:
        classes: class names in the order of the labels; needed where a step has a value per class.

    Raises:
        ConfigError: for an unknown type, an unknown, missing or wrong parameter; the message says
            which are allowed.

    Example:
        >>> from cellseg_mmdet import ImagePrediction, Runs
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.9, 0.4]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> postprocess = build_pipeline([dict(type="ScoreThreshold", score_thr=0.5)])
        >>> postprocess.adds_overlap_removal, len(postprocess(found))
        (True, 1)
        >>> build_pipeline([dict(type="MinArea", area=3)])
        Traceback (most recent call last):
        ...
        cellseg_mmdet.errors.ConfigError: postprocess[0] (MinArea) has no parameter 'area'; allowed are min_area_px
    """
    classes = None if classes is None else tuple(classes)
    built = [_build_step(step, index, classes) for index, step in enumerate(steps)]
    if _ends_disjoint(built):
        return Pipeline(tuple(built), classes)
    return Pipeline((*built, RemoveOverlaps()), classes, adds_overlap_removal=True)


def _ends_disjoint(steps: Sequence[Step]) -> bool:
    for step in reversed(steps):
        if step.grows_masks:
            return False
        if isinstance(step, RemoveOverlaps):
            return True
    return False


def _build_step(config: Mapping[str, Any], index: int, classes: tuple[str, ...] | None) -> Step:
    where = f"postprocess[{index}]"
    if not isinstance(config, Mapping) or "type" not in config:
        raise ConfigError(f"{where}: expected dict(type=..., ...), found {config!r}")
    try:
        step_class = STEPS.get(config["type"])
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    where = f"{where} ({config['type']})"

    parameters = inspect.signature(step_class).parameters
    allowed = [name for name in parameters if name != "classes"]
    given = {name: value for name, value in config.items() if name != "type"}
    unknown = [name for name in given if name not in allowed]
    if unknown:
        raise ConfigError(
            f"{where} has no parameter {unknown[0]!r}; allowed are {', '.join(allowed) or 'none'}"
        )
    missing = [
        name
        for name in allowed
        if parameters[name].default is inspect.Parameter.empty and name not in given
    ]
    if missing:
        raise ConfigError(
            f"{where} needs the parameter {missing[0]!r}; allowed are {', '.join(allowed)}"
        )
    try:
        return step_class(**given, **({"classes": classes} if "classes" in parameters else {}))
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"{where}: {error}") from error
