"""What is in a checkpoint, against the model that it is loaded into."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper

from cellseg_mmdet.errors import CheckpointError

_MAX_NAMED = 3
_MAX_LENGTH = 500
# What mmengine's Runner reads of a checkpoint to go on with a training.
_RESUMED = ("meta", "state_dict", "message_hub", "optimizer")


def weights_of(content: Any, name: str) -> OrderedDict[str, torch.Tensor]:
    """Return the weights in what a checkpoint file holds: its ``state_dict``, or itself.

    Args:
        content: as `read_checkpoint` returns it.
        name: of the file, for errors.

    Raises:
        CheckpointError: there is not one tensor, or a weight is no tensor.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"checkpoint {name} holds a {type(content).__name__}, not a dict of weights"
        )
    weights = content.get("state_dict", content)
    if not isinstance(weights, Mapping):
        raise CheckpointError(
            f"checkpoint {name}: its state_dict is a {type(weights).__name__}, not a dict of weights"
        )
    tensors = {key: value for key, value in weights.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        keys = ", ".join(map(str, list(weights)[:_MAX_NAMED])) or "nothing"
        where = "its state_dict" if weights is not content else "it has no state_dict, and"
        raise CheckpointError(f"checkpoint {name}: {where} holds no weights: found {keys}")
    if weights is not content:
        for key, value in weights.items():
            if not isinstance(key, str) or isinstance(value, str | int | float | None):
                raise CheckpointError(
                    f"checkpoint {name}: {key!r} in its state_dict is a {type(value).__name__}, not a tensor"
                )
    # As mmengine: what DataParallel puts before each name.
    plain = OrderedDict((re.sub(r"^module\.", "", str(key)), tensors[key]) for key in tensors)
    if hasattr(weights, "_metadata"):
        plain._metadata = weights._metadata  # type: ignore[attr-defined]
    return plain


def check_finite(weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Raise CheckpointError where weights are infinite or no number: what a diverged training leaves."""
    bad = [
        key
        for key, value in weights.items()
        if (value.is_floating_point() or value.is_complex()) and not torch.isfinite(value).all()
    ]
    if bad:
        raise CheckpointError(
            f"checkpoint {name}: {len(bad)} of {len(weights)} weights hold infinite values or NaN, "
            f"{_some(bad)}: the training diverged. Take an earlier checkpoint, or train with a lower learning rate"
        )


def load_weights(model: torch.nn.Module, content: Any, name: str) -> None:
    """Load the weights of a checkpoint into a model: all of them, no less and no more.

    Raises:
        CheckpointError: they do not fit, or are not finite; it says what differs.
    """
    weights = weights_of(content, name)
    check_finite(weights, name)
    if other := _of_another_kind(weights, _bare(model).state_dict()):
        raise _unfit(
            name, f"{len(other)} of its weights are of another kind of numbers, {_some(other)}"
        )
    try:
        missing, unexpected = _bare(model).load_state_dict(weights, strict=False)
    except RuntimeError as error:
        differences = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
        raise _unfit(name, "; ".join(differences[:_MAX_NAMED]) or str(error)) from None
    # mmengine's own exception: checkpoints from before PyTorch 0.4.1 have none of these.
    missing = [key for key in missing if "num_batches_tracked" not in key]
    differences = [
        f"{len(keys)} of its weights {what}, {_some(keys)}"
        for keys, what in ((unexpected, "are not in the model"), (missing, "are missing"))
        if keys
    ]
    if differences:
        raise _unfit(name, "; ".join(differences))


class CheckWeights(Hook):
    """Refuse a checkpoint that does not fit the model, before mmengine loads what fits and leaves the rest at random.

    Args:
        name: of the checkpoint.
        strict: all weights must fit; else, as to start a training from those of another model, some.
        resume: it must hold what goes on with a training as well.
    """

    def __init__(self, name: str, *, strict: bool, resume: bool = False) -> None:
        self.name, self.strict, self.resume = name, strict, resume

    def after_load_checkpoint(self, runner: Any, checkpoint: Any) -> None:
        """Check what was read.

        Raises:
            CheckpointError: see the class.
        """
        if self.resume:
            check_resumable(checkpoint, self.name)
        if self.strict:
            load_weights(runner.model, checkpoint, self.name)
            return
        weights = weights_of(checkpoint, self.name)
        check_finite(weights, self.name)
        own = _bare(runner.model).state_dict()
        other = _of_another_kind(weights, own)
        fit = [
            key
            for key in weights
            if key in own and own[key].shape == weights[key].shape and key not in other
        ]
        if not fit:
            raise _unfit(self.name, f"not one of its weights does, {_some(list(weights))}")
        others = [key for key in own if key not in fit]
        print_log(
            f"{len(fit)} of {len(own)} weights come from {self.name}; not so {_some(others) or 'none'}",
            logger="current",
        )


def check_resumable(content: Any, name: str) -> None:
    """Raise CheckpointError where a checkpoint lacks what a training needs to go on."""
    found = content if isinstance(content, Mapping) else {}
    missing = [key for key in _RESUMED if key not in found]
    counts = found.get("meta")
    if not missing and not (isinstance(counts, Mapping) and {"epoch", "iter"} <= counts.keys()):
        missing = ["meta.epoch", "meta.iter"]
    if missing:
        raise CheckpointError(
            f"checkpoint {name} has no {', '.join(missing)}: a training cannot go on from it. Resume from one that the "
            "training saved by its number, or begin with its weights: --cfg-options load_from="
            + name
        )


def _of_another_kind(
    weights: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]
) -> list[str]:
    """Return the weights that are whole numbers where the model has others, or the reverse: torch converts them."""
    return [
        key
        for key, value in weights.items()
        if key in own and value.is_floating_point() != own[key].is_floating_point()
    ]


def _bare(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model that a checkpoint is of, without what wraps it."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def _unfit(name: str, difference: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {name} does not fit the model of the config: {difference[:_MAX_LENGTH]}. "
        "Give the config that it was trained with"
    )


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:_MAX_NAMED]) + (", ..." if len(keys) > _MAX_NAMED else "")
