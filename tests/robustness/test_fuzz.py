from __future__ import annotations

import pytest

from tests.robustness.fuzzing import load_targets, run_apart


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("name", sorted(load_targets()))
def test_nothing_but_data_or_errors_of_ours(name: str) -> None:
    outcome = run_apart(name)
    print(f"{name}: {outcome['inputs']} inputs, {outcome['peak_mb']:.0f} MB")
    assert outcome["findings"] == []
    assert outcome["inputs"]
