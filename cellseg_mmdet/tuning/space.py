"""The numbers of a post-processing list that a search may change: which there are, and how to put others in place."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.pixel_codes import PIXEL_CODES, PixelCode, build_pixel_code
from cellseg_mmdet.postprocess import STEPS, Step, Tunable, build_pipeline
from cellseg_mmdet.postprocess.parameters import DEFAULT

# A config's `postprocess` list; where the numbers of a pixel code are tuned as well, its config stands first.
Steps = list[dict[str, Any]]
# Numbers by the name of their `Parameter`.
Values = dict[str, float]


@dataclass(frozen=True)
class Parameter:
    """One number of a list, and where to search for it: from ``low`` to ``high``, both included.

    Attributes:
        step: index of its step in the list.
        key: the step's parameter.
        class_name: the class that the number is for; None for all.
        start: what the list says.
        log: search in steps of equal ratio.
        integer: only integers are allowed.
    """

    step: int
    key: str
    class_name: str | None
    label: str
    start: float
    low: float
    high: float
    log: bool
    integer: bool

    @property
    def name(self) -> str:
        """Its unique name: ``STEP.PARAM``, and for one class ``STEP.PARAM.CLASS``."""
        return self.label if self.class_name is None else f"{self.label}.{self.class_name}"

    def rounded(self, value: float) -> float:
        """Return a number of the search as it is scored and written: of three digits, but for the start."""
        if value == self.start:
            return self.start
        return int(value) if self.integer else float(f"{value:.3g}")


def find_parameters(
    steps: Steps,
    classes: Sequence[str] | None,
    *,
    only: Collection[str] = (),
    per_class: bool = True,
) -> list[Parameter]:
    """Return all numbers of a list that its steps declare tunable.

    Args:
        classes: class names by label.
        only: restrict the search to these, each ``STEP.PARAM``; of a step that occurs several times
            ``STEP[INDEX].PARAM`` is the one at this place of the list.
        per_class: search for one number per class where there are several. Without it, only those
            that are given per class are.

    Raises:
        UsageError: if there is none, or not what ``only`` names.
        ValueError: if the list has a fault.
    """
    code, rest = split_code(steps)
    built: list[Step | PixelCode] = [] if code is None else [build_pixel_code(code)]
    built += build_pipeline(rest, classes).steps
    found = [(index, tunable) for index in range(len(steps)) for tunable in built[index].tunable]
    labels = [_label(steps, index, tunable.name) for index, tunable in found]
    short = [f"{steps[index]['type']}.{tunable.name}" for index, tunable in found]
    if not found:
        raise UsageError(
            "no step of the `postprocess` list has a number to search for; "
            f"these have: {', '.join(_all_tunable())}"
        )
    unknown = sorted(set(only) - {*labels, *short})
    if unknown:
        raise UsageError(
            f"the `postprocess` list has no number {unknown[0]!r} to search for; "
            f"it has {', '.join(labels)}"
        )
    return [
        parameter
        for (index, tunable), label, name in zip(found, labels, short, strict=True)
        if not only or {label, name} & set(only)
        for parameter in _parameters(
            steps, index, built[index], tunable, label, tuple(classes or ()), per_class
        )
    ]


def split_code(steps: Steps) -> tuple[dict[str, Any] | None, Steps]:
    """Return the pixel code that a list begins with, None where it has none, and the post-processing list.

    Example:
        >>> split_code([{"type": "FlowCode"}, {"type": "FillHoles"}])
        ({'type': 'FlowCode'}, [{'type': 'FillHoles'}])
    """
    if steps and steps[0].get("type") in PIXEL_CODES.names():
        return steps[0], steps[1:]
    return None, steps


def with_values(
    steps: Steps, parameters: Sequence[Parameter], values: Mapping[str, float]
) -> Steps:
    """Return the list with these numbers in place of its own; those of classes as a dict that names each."""
    changed = [dict(step) for step in steps]
    per_class: dict[tuple[int, str], dict[str, float]] = {}
    for parameter in parameters:
        value = values[parameter.name]
        if parameter.class_name is None:
            changed[parameter.step][parameter.key] = value
        else:
            place = parameter.step, parameter.key
            per_class.setdefault(place, {})[parameter.class_name] = value
    for (step, key), numbers in per_class.items():
        changed[step][key] = numbers
    return changed


def _parameters(
    steps: Steps,
    index: int,
    step: Step | PixelCode,
    tunable: Tunable,
    label: str,
    classes: tuple[str, ...],
    per_class: bool,
) -> list[Parameter]:
    """Return the number of one tunable, or that of each class."""
    key = tunable.name
    start = steps[index].get(key, inspect.signature(type(step)).parameters[key].default)
    starts: dict[str | None, float]
    if isinstance(start, Mapping):
        starts = {name: start.get(name, start.get(DEFAULT)) for name in classes}
    elif per_class and len(classes) > 1 and not isinstance(step, PixelCode):
        starts = dict.fromkeys(classes, start)
    else:
        starts = {None: start}
    return [
        Parameter(
            step=index,
            key=key,
            class_name=class_name,
            label=label,
            start=value,
            # What the list says is where the search begins, so it lies in the range; and zero has no logarithm.
            low=min(tunable.low, value),
            high=max(tunable.high, value),
            log=tunable.log and value > 0,
            integer=tunable.integer,
        )
        for class_name, value in starts.items()
    ]


def _label(steps: Steps, index: int, key: str) -> str:
    name = steps[index]["type"]
    occurs_once = sum(step["type"] == name for step in steps) == 1
    return f"{name}.{key}" if occurs_once else f"{name}[{index}].{key}"


def _all_tunable() -> list[str]:
    return [
        f"{name}.{tunable.name}"
        for name in STEPS.names()
        for tunable in getattr(STEPS.get(name), "tunable", ())
    ]
