"""From an operator's name and the device of its tensors to the function that does it."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

# Operator -> the module of `ops` that holds it, by device. Plain torch serves every device.
_PLAIN = {
    "carafe_backward": "any_device.carafe",
    "carafe_forward": "any_device.carafe",
    "carafe_naive_backward": "any_device.carafe",
    "carafe_naive_forward": "any_device.carafe",
    "sigmoid_focal_loss_backward": "any_device.focal_loss",
    "sigmoid_focal_loss_forward": "any_device.focal_loss",
    "softmax_focal_loss_backward": "any_device.focal_loss",
    "softmax_focal_loss_forward": "any_device.focal_loss",
    "get_compiler_version": "any_device.info",
    "get_compiling_cuda_version": "any_device.info",
    "masked_col2im_forward": "any_device.masked_conv",
    "masked_im2col_forward": "any_device.masked_conv",
    "ms_deform_attn_backward": "any_device.ms_deform_attn",
    "ms_deform_attn_forward": "any_device.ms_deform_attn",
}
CPU = {
    **_PLAIN,
    # As in torch alone, in a fraction of the time.
    "carafe_backward": "cpu.carafe",
    "carafe_forward": "cpu.carafe",
    "carafe_naive_backward": "cpu.carafe",
    "carafe_naive_forward": "cpu.carafe",
    "deform_conv_backward_input": "cpu.deform_conv",
    "deform_conv_backward_parameters": "cpu.deform_conv",
    "deform_conv_forward": "cpu.deform_conv",
    "deform_roi_pool_backward": "cpu.deform_roi_pool",
    "deform_roi_pool_forward": "cpu.deform_roi_pool",
    "modulated_deform_conv_backward": "cpu.deform_conv",
    "modulated_deform_conv_forward": "cpu.deform_conv",
    "nms": "cpu.nms",
    "nms_match": "cpu.nms",
    "roi_align_backward": "cpu.roi_align",
    "roi_align_forward": "cpu.roi_align",
    "roi_pool_backward": "cpu.roi_pool",
    "roi_pool_forward": "cpu.roi_pool",
    "softnms": "cpu.nms",
}
CUDA = {
    **_PLAIN,
    "deform_conv_backward_input": "cuda",
    "deform_conv_backward_parameters": "cuda",
    "deform_conv_forward": "cuda",
    "modulated_deform_conv_backward": "cuda",
    "modulated_deform_conv_forward": "cuda",
    "nms": "cuda",
    "roi_align_backward": "cuda",
    "roi_align_forward": "cuda",
    "roi_pool_backward": "cuda",
    "roi_pool_forward": "cuda",
}
BY_DEVICE = {"cpu": CPU, "cuda": CUDA}

REMEDY = (
    "install an mmcv with compiled operators (`make setup OPS=compiled` in a checkout, else a wheel of mmcv that was "
    "built for this torch) and leave CELLSEG_OPS unset"
)


class OperatorMissingError(NotImplementedError):
    """An operator of mmcv that has no stand-in on the device of its tensors."""


class Operator:
    """One function of ``mmcv._ext``: called with its arguments, it finds the module that does it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        device = _device_of([*args, *kwargs.values()])
        return function_of(self.name, device)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Operator({self.name!r})"


@functools.cache
def _loaded(name: str, device: str) -> Callable[..., Any] | None:
    module = BY_DEVICE.get(device, {}).get(name)
    if module is None:
        return None
    function: Callable[..., Any] = getattr(
        importlib.import_module(f"cellseg_mmdet.ops.{module}"), name
    )
    return function


def function_of(name: str, device: str) -> Callable[..., Any]:
    """Return the function that does operator ``name`` on ``device``: ``cpu`` or ``cuda``.

    Raises:
        OperatorMissingError: where there is none; the message names the operator, the model part that asked for it,
            and the remedy.
    """
    function = _loaded(name, device)
    if function is None:
        elsewhere = [other for other, table in BY_DEVICE.items() if name in table]
        known = f"; there is one for {' and '.join(elsewhere)}" if elsewhere else ""
        raise OperatorMissingError(
            f"mmcv's operator {name!r} has no portable stand-in for {device}{known}. {asked_by()}To go on: {REMEDY}."
        )
    return function


def asked_by() -> str:
    """Return a sentence that names the innermost model part on the call stack, or ''."""
    import torch

    owners = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, torch.nn.Module):
            owners.append(f"{type(owner).__module__}.{type(owner).__qualname__}")
        frame = frame.f_back
    # A layer of mmcv says less than the part of the model that holds it.
    owners.sort(key=lambda name: name.startswith(("mmcv.", "torch.")))
    return f"It was called by {owners[0]}. " if owners else ""


def _device_of(values: list[Any]) -> str:
    """Return the device type of the first tensor among the arguments of a call."""
    for value in values:
        device = getattr(value, "device", None)
        if device is not None:
            return str(device.type)
    return "cpu"
