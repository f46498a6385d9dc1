"""The steps of the set-up, in their order, and how they are remembered."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .checks import faults
from .layout import MMCV_NAMES, Layout, SetupError, broken_distributions
from .mmcv_ops import (
    COMPILE_TOOLS,
    choose_toolkit,
    find_nvcc,
    find_toolkit,
    install_compiled,
    nvidia_device,
    ops_fault,
    torch_facts,
)
from .processes import environment, interruptible, lock, pip, run, say

RECIPE = 2  # counted up when the steps change: environments made before are then made anew
BUILD_TOOLS = ("pip", "setuptools")
CUDA_SEEN = "CUDA machine"
EXIT_HEADLESS = """
import sys, cv2
from cellseg_mmdet.doctor import is_headless
sys.exit(not is_headless(cv2))
"""


@dataclass(frozen=True)
class Step:
    """A part of the set-up: done when its stamp holds what ``key`` returns."""

    name: str
    title: str
    key: Callable[[Layout], str]
    action: Callable[[Layout], None]

    def is_done(self, layout: Layout) -> bool:
        return layout.stamp(self.name) == self.key(layout)

    def run(self, layout: Layout) -> None:
        # The stamp goes first and comes last: what is interrupted in between counts as not done.
        layout.drop_stamp(self.name)
        self.action(layout)
        layout.set_stamp(self.name, self.key(layout))


def set_up(root: Path) -> int:
    """Bring ``.venv`` up to date; return the exit status."""
    layout, start = Layout(root), time.monotonic()
    try:
        if any(not step.is_done(layout) for step in STEPS):
            with interruptible(), lock(layout):
                run_pending(layout)
            minutes, seconds = divmod(int(time.monotonic() - start), 60)
            say(f"Set-up took {minutes}:{seconds:02d}.")
        say(f".venv is ready: torch {layout.installed('torch')}, {layout.ops()} operators.")
    except SetupError as error:
        print(f"Set-up stopped. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on where it stopped.", file=sys.stderr)
        return 130
    return 0


def run_pending(layout: Layout) -> None:
    """Run the steps that are not done; raises SetupError where one cannot be."""
    pending = {step.name for step in STEPS if not step.is_done(layout)}
    found = faults(layout, pending)
    if found:
        raise SetupError("\n  ".join(["Before it can begin:", *found]))
    for number, step in enumerate(STEPS, start=1):
        if not step.is_done(layout):
            say(f"[{number}/{len(STEPS)}] {step.title}")
            step.run(layout)


# ---- virtual environment and packages ----


def venv_key(layout: Layout) -> str:
    # The interpreter behind the link: after an upgrade of the system it is gone, or another one.
    python = layout.python.resolve()
    made = python.exists() and layout.site_packages()
    return f"recipe {RECIPE}, {python}" if made else "not made"


def make_venv(layout: Layout) -> None:
    if layout.venv.exists():
        say(".venv is half-built, or its Python is gone: made anew.")
    if run([sys.executable, "-m", "venv", "--clear", layout.venv]).returncode:
        raise SetupError(f"{sys.executable} -m venv failed, its message is above.")


def tools_key(layout: Layout) -> str:
    return " ".join(layout.pins()[name] for name in BUILD_TOOLS)


def install_tools(layout: Layout) -> None:
    pip(layout, "install", *(layout.pins()[name] for name in BUILD_TOOLS))


def torch_key(layout: Layout) -> str:
    return f"{layout.pins()['torch']}, installed {layout.installed('torch')}"


def install_torch(layout: Layout) -> None:
    forget_broken(layout)
    index = os.environ.get("CELLSEG_TORCH_INDEX")
    if not index and sys.platform == "linux" and not nvidia_device():
        say(
            "No NVIDIA GPU here: if pip now fetches CUDA libraries, some GB of them are of no use. "
            "CELLSEG_TORCH_INDEX can name an index of torch for the CPU (docs/dependencies.md)."
        )
    wanted = [layout.pins()["torch"]]
    if nvidia_device() and layout.ops() == "portable":  # its operators are mmcv's on CUDA
        wanted.append(layout.pins()["torchvision"])
    pip(layout, "install", *(["--index-url", index] if index else []), *wanted)


def requirements_key(layout: Layout) -> str:
    lines = "\n".join(layout.pins().values())
    return hashlib.sha256(lines.encode()).hexdigest()


def install_requirements(layout: Layout) -> None:
    forget_broken(layout)
    # mmcv comes later: to compile it takes minutes, and what can fail fast comes before.
    later = {*MMCV_NAMES, *COMPILE_TOOLS, "torchvision"}
    pip(layout, "install", *(pin for name, pin in layout.pins().items() if name not in later))


def forget_broken(layout: Layout) -> None:
    """Make pip see that a package which it was killed over is not installed."""
    for info in broken_distributions(layout.site_packages()):
        say(f"{info.stem} is installed in part: installed anew.")
        shutil.rmtree(info)


def install_headless_opencv(layout: Layout) -> None:
    # mmcv asks for opencv-python, imaug for the headless one, and both fill one cv2/ folder. The
    # headless build comes last and so wins: the other cannot be imported where libGL is missing.
    requirement = layout.pins()["opencv-python-headless"]
    pip(layout, "install", "--force-reinstall", "--no-deps", requirement)
    if run([layout.python, "-c", EXIT_HEADLESS], cwd=layout.root).returncode:
        raise SetupError("cv2 is not the headless build: run rm -rf .venv, then make setup.")


# ---- mmcv, the project, the check ----


def mmcv_key(layout: Layout) -> str:
    name, requirement = layout.mmcv()
    if layout.ops() == "portable":
        return f"portable, {requirement}, installed {layout.installed(name)}"
    # Where a GPU and its toolkit were seen once, their absence (a login node) undoes nothing.
    seen = f"{CUDA_SEEN} True"
    cuda = seen in layout.stamp("mmcv") or bool(nvidia_device() and find_nvcc())
    versions = f"installed {layout.installed(name)}, torch {layout.installed('torch')}"
    return f"compiled, {requirement}, {versions}, {CUDA_SEEN} {cuda}"


def install_mmcv(layout: Layout) -> None:
    layout.set_stamp("ops", layout.ops())  # `make test` after `make setup OPS=compiled` keeps them
    if layout.ops() == "compiled":
        install_compiled(layout)
    else:
        install_pure(layout)


def install_pure(layout: Layout) -> None:
    """Install mmcv as pip builds it in isolation, without torch: pure Python, in seconds."""
    name, requirement = layout.mmcv()
    # From source and past pip's cache, which may hold a wheel that was compiled against another torch.
    command = [layout.python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall"]
    command += ["--no-cache-dir", "--no-binary", name, requirement]
    if run(command, cwd=layout.root, env=environment(MMCV_WITH_OPS="0")).returncode:
        raise SetupError(
            "pip could not build mmcv, its message is above; the same command goes on."
        )


def project_key(layout: Layout) -> str:
    metadata = (layout.root / "pyproject.toml").read_bytes()
    return f"{layout.root} {hashlib.sha256(metadata).hexdigest()}"


def install_project(layout: Layout) -> None:
    pip(layout, "install", "-qq", "--no-deps", "--no-build-isolation", "--editable", ".")


def doctor_key(layout: Layout) -> str:
    return "\n".join(step.key(layout) for step in STEPS if step.name != "doctor")


def run_doctor(layout: Layout) -> None:
    command = [layout.python, "-m", "cellseg_mmdet.doctor"]
    changes = {"CUDA_VISIBLE_DEVICES": ""} if gpu_left_out(layout) else {}
    if run(command, cwd=layout.root, env=environment(**changes)).returncode:
        raise SetupError("The check found faults, and names the remedies above.")


def gpu_left_out(layout: Layout) -> bool:
    """Tell whether there is a GPU that the ops were, with a warning, not built for."""
    if layout.ops() == "portable":
        return False
    toolkit, warning = choose_toolkit(torch_facts(layout), *find_toolkit())
    left_out = toolkit is None and bool(warning) and bool(ops_fault(layout, "cuda"))
    if left_out:
        say(warning)
    return left_out


STEPS = (
    Step("venv", "virtual environment", venv_key, make_venv),
    Step("tools", "build tools", tools_key, install_tools),
    Step("torch", "torch", torch_key, install_torch),
    Step("requirements", "the pinned requirements", requirements_key, install_requirements),
    Step("opencv", "OpenCV without windows", requirements_key, install_headless_opencv),
    Step("mmcv", "mmcv and its operators", mmcv_key, install_mmcv),
    Step("project", "this package", project_key, install_project),
    Step("doctor", "check", doctor_key, run_doctor),
)
