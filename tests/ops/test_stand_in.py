from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cellseg_mmdet.ops import compiled_file, dispatch, stand_in
from cellseg_mmdet.ops.dispatch import OperatorMissingError

pytestmark = pytest.mark.slow  # every test starts a Python

ROOT = Path(__file__).resolve().parents[2]


def python(script: str, choice: str = "") -> subprocess.CompletedProcess:
    """Run a script in a process of its own, with ``CELLSEG_OPS`` as given."""
    variables = {**os.environ, "CELLSEG_OPS": choice, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", script], env=variables, capture_output=True, text=True
    )


def test_importing_the_package_loads_nothing_heavy():
    script = (
        "import sys, cellseg_mmdet; "
        "print([m for m in ('torch', 'numba', 'numpy', 'mmcv') if m in sys.modules])"
    )
    assert python(script).stdout == "[]\n"


def test_mmcvs_operators_are_imported_without_numba():
    script = "import sys, cellseg_mmdet, mmcv.ops; print('numba' in sys.modules)"
    assert python(script, "portable").stdout == "False\n"


def test_portable_stands_before_a_compiled_module():
    script = "import cellseg_mmdet as c, mmcv.ops; print(c.ops.in_use())"
    assert python(script, "portable").stdout == "portable\n"


def test_what_is_in_use_is_known_before_mmcv_is_imported():
    script = (
        "import cellseg_mmdet as c; before = c.ops.in_use(); import mmcv.ops; "
        "print(before == c.ops.in_use() != '')"
    )
    for choice in ("", "portable"):
        assert python(script, choice).stdout == "True\n"


def test_compiled_leaves_the_stand_in_out():
    result = python("import cellseg_mmdet as c, mmcv.ops; print(c.ops.in_use())", "compiled")
    if compiled_file():
        assert result.stdout == "compiled\n"
    else:
        assert "No module named 'mmcv._ext'" in result.stderr


def test_another_choice_is_refused():
    result = python("import cellseg_mmdet", "fast")
    assert "CELLSEG_OPS='fast' is not one of portable, compiled" in result.stderr


def test_installing_twice_is_installing_once(monkeypatch):
    finders = [finder for finder in sys.meta_path if finder is not stand_in.FINDER]
    monkeypatch.setattr(sys, "meta_path", finders)
    monkeypatch.delenv("CELLSEG_OPS", raising=False)
    stand_in.install()
    stand_in.install()
    assert sys.meta_path.count(stand_in.FINDER) == 1
    assert sys.meta_path[-1] is stand_in.FINDER


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader_have_it(method):
    script = f"""
from torch.utils.data import DataLoader
from tests.ops.probe import Boxes
if __name__ == "__main__":
    print([int(item) for item in DataLoader(Boxes(), num_workers=1, multiprocessing_context={method!r})])
"""
    result = python(script, "portable")
    assert result.stdout == "[2, 2]\n", result.stderr


def test_every_operator_in_the_tables_is_there():
    for device, table in dispatch.BY_DEVICE.items():
        for name in table:
            assert callable(dispatch.function_of(name, device)), name


def test_mmcv_can_say_what_it_was_compiled_with():
    script = "import cellseg_mmdet; from mmcv.utils import collect_env; print(collect_env()['MMCV Compiler'])"
    assert python(script, "portable").stdout.splitlines()[-1] == "n/a"


class Rotated(torch.nn.Module):
    def forward(self, boxes):
        return dispatch.Operator("box_iou_rotated")(boxes, boxes)


def test_an_operator_that_is_not_there_names_itself_the_part_and_the_remedy():
    with pytest.raises(OperatorMissingError) as caught:
        Rotated()(torch.zeros(1, 5))
    message = str(caught.value)
    assert message.startswith("mmcv's operator 'box_iou_rotated' has no portable stand-in for cpu.")
    assert f"It was called by {__name__}.Rotated." in message
    assert "make setup OPS=compiled" in message


def test_a_device_without_the_operator_is_told_which_has_it():
    with pytest.raises(OperatorMissingError, match="for cuda; there is one for cpu"):
        dispatch.function_of("softnms", "cuda")
