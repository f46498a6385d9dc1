"""mmcv's own layers on our operators, whatever mmcv is installed."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from cellseg_mmdet.ops import dispatch

MODULES = (
    "carafe",
    "deform_conv",
    "deform_roi_pool",
    "focal_loss",
    "masked_conv",
    "modulated_deform_conv",
    "multi_scale_deform_attn",
    "nms",
    "roi_align",
    "roi_pool",
)


class PortableExtension(ModuleType):
    """A module whose attributes are our operators."""

    def __getattr__(self, name: str) -> dispatch.Operator:
        return dispatch.Operator(name)


def use_portable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let mmcv's Python call our operators for the length of a test."""
    for name in MODULES:
        module = importlib.import_module(f"mmcv.ops.{name}")
        monkeypatch.setattr(module, "ext_module", PortableExtension("portable"))
