"""Which part of the package may import which; the rule is in `tests/rooms.py`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rooms import (
    ALONE,
    BEGIN,
    CONTRIBUTING,
    END,
    GROUND,
    ROOMS,
    room_of,
    without_torch,
    written,
)

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cellseg_mmdet"
STACK = ("torch", "mmcv", "mmdet", "mmengine")
# Rooms of which nothing is built yet.
TO_COME: set[str] = set()


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(path: Path) -> set[str]:
    """Return all modules that a module imports, also within functions; of packages the members by name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            members = {name for name in named if name in MODULES}
            found |= members
            if members != named:
                found.add(node.module or "")
    return found


def ours(path: Path) -> set[str]:
    """Return the modules of the package that a module imports, but for the package itself."""
    return {name for name in imports_of(path) if name.startswith("cellseg_mmdet.")}


def test_every_module_has_its_rule() -> None:
    homeless = {
        name for name in MODULES if room_of(name) is None and name.partition(".")[2] not in GROUND
    } - {"cellseg_mmdet", "cellseg_mmdet.__main__", "cellseg_mmdet.visualization"}
    assert not homeless
    empty = {room for room in ROOMS if room not in {room_of(name) for name in MODULES}}
    assert empty <= TO_COME


def test_rooms_stand_on_rooms_below_them() -> None:
    order = list(ROOMS)
    for name, room in ROOMS.items():
        assert room.imports <= set(order)
        assert all(order.index(other) < order.index(name) for other in room.imports)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room: str) -> None:
    allowed = ROOMS[room].imports | {room}
    for module, path in MODULES.items():
        if room_of(module) != room:
            continue
        for name in ours(path):
            target = room_of(name)
            if target is None:
                assert room not in ALONE, f"{module} imports {name}"
                assert name.split(".")[1] in GROUND, f"{module} imports {name}"
            else:
                assert target in allowed, f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(GROUND - {"__init__"}))
def test_modules_at_the_top_import_no_room(module: str) -> None:
    for name in ours(PACKAGE / f"{module}.py"):
        assert name.split(".")[1] in GROUND, f"{module} imports {name}"


def test_contributing_has_the_table_of_the_rule() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert text == written(), "make rooms writes the table anew"


def test_nothing_imports_the_tools() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert not any(name.split(".")[0] == "tools" for name in imports_of(path)), path


def run_without(blocked: tuple[str, ...], modules: list[str]) -> None:
    lines = [f"sys.modules[{name!r}] = None" for name in blocked]
    script = "\n".join(["import sys", *lines, *(f"import {name}" for name in modules)])
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_data_rooms_run_without_the_deep_learning_stack() -> None:
    rooms = set(without_torch())
    run_without(STACK, [name for name in MODULES if room_of(name) in rooms])


def test_masks_postprocessing_and_fusion_do_without_opencv() -> None:
    rooms = {"masks", "structures", "annotations", "postprocess", "fusion"}
    run_without((*STACK, "cv2"), [name for name in MODULES if room_of(name) in rooms])


def test_modules_have_one_job() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
