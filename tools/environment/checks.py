"""What has to be right before anything long begins. Each check returns a sentence, or nothing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

from .layout import Layout
from .processes import output_of, run
from .pythons import python_fault

NEEDED_BYTES = 8 * 10**9  # torch with its CUDA libraries, and the archives on the way
TINY_EXTENSION = "#include <Python.h>\n#include <optional>\nstd::optional<PyObject*> nothing;\n"
PRINT_INCLUDE = "import sysconfig; print(sysconfig.get_path('include'))"


def faults(layout: Layout, pending: set[str]) -> list[str]:
    """Return what stands in the way of the pending steps, each with its remedy."""
    if os.name != "posix":
        return ["Set-up needs Linux or macOS: on Windows, run it in WSL."]
    found = []
    if "venv" in pending:
        found += [python_fault(sys.version_info[:2]), venv_fault()]
    if "torch" in pending:
        found.append(disk_fault(shutil.disk_usage(layout.root).free, layout.root))
    if "mmcv" in pending and layout.ops() == "compiled":
        python = sys.executable if "venv" in pending else layout.python
        include = output_of([python, "-c", PRINT_INCLUDE])
        found.append(compiler_fault(include, os.environ.get("CXX", "c++")))
    return [fault for fault in found if fault]


def venv_fault() -> str:
    """Check that this Python can make an environment with pip in it."""
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return ""
    return f"{sys.executable} comes without venv and ensurepip: apt install python3-venv."


def disk_fault(free_bytes: int, folder: Path) -> str:
    """Check the free space."""
    if free_bytes >= NEEDED_BYTES:
        return ""
    free, needed = free_bytes / 1e9, NEEDED_BYTES / 1e9
    return f"{folder} has {free:.1f} GB free, set-up needs {needed:.0f} GB: make room."


def compiler_fault(include: str, compiler: str) -> str:
    """Compile and link a tiny extension module, as mmcv's ops will be."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "tiny.cpp")
        source.write_text(TINY_EXTENSION)
        flags = ["-std=c++17", "-fPIC", "-shared", f"-I{include}", "-o", f"{source}.so"]
        if sys.platform == "darwin":
            flags += ["-undefined", "dynamic_lookup"]
        command = [*compiler.split(), *flags, source]
        try:
            result = run(command, capture_output=True, universal_newlines=True)
        except OSError:
            return f"There is no C++ compiler '{compiler}': apt install g++, or name one in CXX."
    if result.returncode == 0:
        return ""
    if "Python.h" in result.stderr:
        return f"There is no Python.h in {include}: apt install python3-dev."
    reason = (result.stderr.strip().splitlines() or ["no message"])[0]
    return f"The C++ compiler '{compiler}' cannot build C++17 ({reason}): install g++ 9 or later."
