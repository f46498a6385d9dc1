from __future__ import annotations

import pytest
import torch
from mmcv.ops import deform_conv, modulated_deform_conv

from tests.ops.deformed import CASES, draw, gradients_of
from tests.ops.stand_ins import PortableExtension


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
# The compiled ones refuse the last: a picture smaller than the kernel.
@pytest.mark.parametrize("case", CASES[:-1], ids=str)
def test_values_and_gradients_are_the_same(compiled, monkeypatch, case, masked):
    inputs = draw(case, masked, torch.float32)
    results = []
    for module in (PortableExtension("portable"), compiled):
        monkeypatch.setattr(deform_conv, "ext_module", module)
        monkeypatch.setattr(modulated_deform_conv, "ext_module", module)
        results.append(gradients_of(inputs, case))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
