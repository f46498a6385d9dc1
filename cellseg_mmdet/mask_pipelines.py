"""Pipelines of a config whose transforms move boxes and leave masks where they are: told before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cellseg_mmdet.errors import ConfigError

# Of mmdet, and of mmcv where mmdet has none of the name: what to use instead.
LEAVE_MASKS = {
    "MixUp": ("CachedMixUp",),
    "Mosaic": ("CachedMosaic",),
    "RandomShift": ("TranslateX", "TranslateY", "RandomReflectedAffine"),
}
REFUSE_MASKS = {
    "CenterCrop": ("RandomCrop",),
    "RandomAffine": ("RandomReflectedAffine", "RandomRotateScale"),
    "RandomCenterCropPad": ("RandomScaleCrop",),
}
# They know no masks; mmdet's of the same name do.
LEAVE_MASKS_IN_MMCV = {"RandomFlip": ("mmdet.RandomFlip",), "Resize": ("mmdet.Resize",)}

_SCOPES = ("mmdet", "mmcv")
_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
_HOOKS = ("default_hooks", "custom_hooks")
# What is in them are transforms of other packages, under names that may be the same.
_FOREIGN = ("Albu", "ImageAug")


class _Step(NamedTuple):
    place: str
    scope: str  # '' where it is not said
    name: str
    arguments: Mapping[str, Any]


def check_steps(pipeline: Any, place: str = "pipeline") -> None:
    """Refuse a pipeline that loads masks, and after that moves the picture and its boxes without them.

    Args:
        pipeline: configs of transforms, or transforms; those inside others, as of ``RandomApply``, are looked at too.
        place: what the pipeline is called in messages.

    Raises:
        ConfigError: it has such a transform, or one that stops at masks; names it, and what to use instead.

    Example:
        >>> check_steps([dict(type="LoadRoIAnnotations", with_mask=True), dict(type="RandomShift")])
        Traceback (most recent call last):
        ...
        cellseg_mmdet.errors.ConfigError: pipeline[1]: RandomShift moves the picture and its boxes and leaves the \
masks of LoadRoIAnnotations (pipeline[0]) behind; use TranslateX, TranslateY or RandomReflectedAffine instead
    """
    _check(list(_steps(pipeline, place)))


def check_pipelines(config: Mapping[str, Any]) -> None:
    """Refuse what `check_steps` does in the data sets of a config, their wrappers and hooks that switch pipelines.

    ``MultiImageMixDataset`` has a pipeline behind that of its data set; ``PipelineSwitchHook`` puts another one in
    place of the training's.

    Raises:
        ConfigError: see `check_steps`.

    Example:
        >>> load = dict(type="LoadRoIAnnotations", with_mask=True)
        >>> inner = dict(type="CellDataset", pipeline=[load])
        >>> mixed = dict(type="MultiImageMixDataset", dataset=inner, pipeline=[dict(type="MixUp", img_scale=(9, 9))])
        >>> check_pipelines(dict(train_dataloader=dict(dataset=mixed)))
        Traceback (most recent call last):
        ...
        cellseg_mmdet.errors.ConfigError: train_dataloader.dataset.pipeline[0]: MixUp moves the picture and its boxes \
and leaves the masks of LoadRoIAnnotations (train_dataloader.dataset.dataset.pipeline[0]) behind; use CachedMixUp \
instead
    """
    for loader in _LOADERS:
        for steps in _chains((config.get(loader) or {}).get("dataset"), f"{loader}.dataset"):
            _check(steps)
    dataset = (config.get("train_dataloader") or {}).get("dataset") or {}
    # The hook sets the pipeline of the outermost data set.
    before = list(_chains(dataset.get("dataset"), "train_dataloader.dataset.dataset")) or [[]]
    for group in _HOOKS:
        hooks = config.get(group) or ()
        keyed = hooks.items() if isinstance(hooks, Mapping) else enumerate(hooks)
        for key, hook in keyed:
            if isinstance(hook, Mapping) and hook.get("switch_pipeline"):
                place = f"{group}[{key!r}].switch_pipeline"
                switched = list(_steps(hook["switch_pipeline"], place))
                for steps in before:
                    _check([*steps, *switched])


def _chains(dataset: Any, place: str) -> Iterator[list[_Step]]:
    """Yield what each image of a data set goes through, from the innermost data set on."""
    if not isinstance(dataset, Mapping):
        return
    own = list(_steps(dataset.get("pipeline") or (), f"{place}.pipeline"))
    if isinstance(dataset.get("dataset"), Mapping):
        parts = [(dataset["dataset"], f"{place}.dataset")]
    else:
        several = enumerate(dataset.get("datasets") or ())
        parts = [(part, f"{place}.datasets[{index}]") for index, part in several]
    if not parts:
        yield own
    for part, where in parts:
        for steps in _chains(part, where):
            yield [*steps, *own]


def _steps(pipeline: Any, place: str) -> Iterator[_Step]:
    """Yield all transforms of a pipeline in their order, one before those inside it."""
    if isinstance(pipeline, list | tuple):
        for index, part in enumerate(pipeline):
            yield from _steps(part, f"{place}[{index}]")
    elif isinstance(pipeline, Mapping):
        scope, name = _scope_and_name(pipeline.get("type"))
        if name:
            yield _Step(place, scope, name, pipeline)
        if name not in _FOREIGN:
            for key, value in pipeline.items():
                if isinstance(value, list | tuple | Mapping):
                    yield from _steps(value, f"{place}.{key}")
    elif callable(pipeline) and not isinstance(pipeline, type):
        scope, name = _scope_and_name(type(pipeline))
        yield _Step(place, scope, name, getattr(pipeline, "__dict__", {}))


def _scope_and_name(kind: Any) -> tuple[str, str]:
    if isinstance(kind, type):
        kind = f"{kind.__module__}.{kind.__qualname__}"
    if not isinstance(kind, str):
        return "", ""
    *modules, name = kind.split(".")
    return modules[0] if modules else "", name


def _check(steps: list[_Step]) -> None:
    loaded: _Step | None = None
    for step in steps:
        if step.arguments.get("with_mask"):
            loaded = step
        elif loaded is not None:
            fault = _fault(step)
            if fault:
                how, instead = fault
                raise ConfigError(
                    f"{step.place}: {step.name} {how.format(f'{loaded.name} ({loaded.place})')}; use {instead} instead"
                )


def _fault(step: _Step) -> tuple[str, str] | None:
    """Return what a transform does to masks, and what to use in its place; None where it moves them."""
    leaves = "moves the picture and its boxes and leaves the masks of {} behind"
    if step.scope and step.scope not in _SCOPES:
        return None  # somebody's own, of the same name
    if step.name in LEAVE_MASKS:
        return leaves, _one_of(LEAVE_MASKS[step.name])
    if step.name in REFUSE_MASKS:
        return "takes no masks, and those of {} are there", _one_of(REFUSE_MASKS[step.name])
    if step.scope == "mmcv" and step.name in LEAVE_MASKS_IN_MMCV:
        return leaves, _one_of(LEAVE_MASKS_IN_MMCV[step.name])
    keys = step.arguments.get("keymap")
    if step.name == "Albu" and keys and "gt_bboxes" in keys and "gt_masks" not in keys:
        return leaves, "a keymap with gt_masks='masks'"
    return None


def _one_of(names: tuple[str, ...]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
