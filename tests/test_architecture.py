"""The walls of the house: which part may import which."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cellseg_mmdet"

# What each part may import of ours, besides itself and the small modules at the top of the package.
ALLOWED = {
    "masks": set(),
    "structures": {"masks"},
    "images": {"masks", "structures"},
    "converters": {"masks", "images", "structures"},
    "postprocess": {"masks"},
    "fusion": {"masks"},
    "evaluation": {"masks", "images", "converters", "postprocess", "export"},
    "export": {"masks", "images", "structures", "converters", "postprocess"},
    "synthetic": {"masks", "converters"},
    "tuning": {"masks", "converters", "postprocess", "evaluation"},
    "visualization": {"masks", "images", "structures", "converters", "postprocess", "evaluation"},
    "datasets": {"masks", "images", "structures", "converters"},
    "models": {"masks", "fusion"},
    "engine": {"masks", "converters"},
    "inference": {
        "masks",
        "images",
        "structures",
        "converters",
        "postprocess",
        "export",
        "evaluation",
        "engine",
        "datasets",
        "visualization",
    },
}
# What runs where no deep-learning stack is installed.
WITHOUT_TORCH = (
    "masks",
    "structures",
    "images",
    "converters",
    "postprocess",
    "fusion",
    "export",
    "evaluation",
    "synthetic",
    "tuning",
    "visualization",
)
REGISTERS_WITH_MMDET = {"cellseg_mmdet.evaluation.cell_metric"}
STACK = ("torch", "mmcv", "mmdet", "mmengine")


def modules_of(part: str) -> list[str]:
    names = []
    for path in sorted((PACKAGE / part).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module or "")
    return found


def test_every_part_has_its_rule() -> None:
    parts = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert parts == set(ALLOWED)


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_point_down(part: str) -> None:
    for path in (PACKAGE / part).rglob("*.py"):
        for name in imports_of(path):
            pieces = name.split(".")
            if pieces[0] == "cellseg_mmdet" and len(pieces) > 1 and pieces[1] in ALLOWED:
                assert pieces[1] in ALLOWED[part] | {part}, (
                    f"{path.relative_to(ROOT)} imports {name}"
                )


def test_nothing_imports_the_tools() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert not any(name.split(".")[0] == "tools" for name in imports_of(path)), path


def test_data_parts_run_without_the_deep_learning_stack() -> None:
    modules = [name for part in WITHOUT_TORCH for name in modules_of(part)]
    modules = [name for name in modules if name not in REGISTERS_WITH_MMDET]
    modules += ["cellseg_mmdet.doctor", "cellseg_mmdet.predictions"]
    blocked = "\n".join(f"sys.modules[{name!r}] = None" for name in STACK)
    imported = "\n".join(f"import {name}" for name in modules)
    script = f"import sys\n{blocked}\n{imported}\n"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_modules_have_one_job() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
