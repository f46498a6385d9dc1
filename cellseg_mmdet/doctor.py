"""Say what is installed and whether it works: ``python -m cellseg_mmdet.doctor``.

mmcv's operators are compiled ones or, where mmcv was installed without, those of ``cellseg_mmdet.ops``.
Whichever they are, one is run here, on the CPU and, where torch sees a GPU, on it: compiled operators
of another torch can be imported and fail. This module itself needs the standard library alone, and
reports what is missing instead of failing.
"""

from __future__ import annotations

import functools
import importlib
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)

# Not `make setup` alone: it goes by its stamps, and they know nothing of what was changed by hand.
SET_UP_ANEW = (
    "in a checkout run `rm -rf .venv`, then `make setup`; "
    "elsewhere `pip install --force-reinstall cellseg-mmdet`"
)
USE_OPENCV = (
    "run `pip install --force-reinstall --no-deps opencv-python-headless` with the version of opencv-python: both fill "
    "one folder cv2/, and the one that was installed last counts"
)
USE_OPERATORS = (
    "set `CELLSEG_OPS=portable`, which takes the operators of cellseg_mmdet.ops, or install an mmcv that was compiled "
    "for this torch"
)
USE_GPU = (
    "install the torchvision that belongs to this torch, whose operators serve on CUDA, or an mmcv compiled for "
    "CUDA; or hide the GPU with `CUDA_VISIBLE_DEVICES=` to work on the CPU"
)

# Import name -> the distributions that provide it: the maintained family, then OpenMMLab's own.
DISTRIBUTIONS = {
    "torch": ("torch",),
    "mmcv": ("onedl-mmcv", "mmcv", "mmcv-lite"),
    "mmengine": ("onedl-mmengine", "mmengine"),
    "mmdet": ("onedl-mmdetection", "mmdet"),
    "pycocotools": ("pycocotools",),
    "numpy": ("numpy",),
    "numba": ("numba",),
}
OPENCV_DISTRIBUTIONS = ("opencv-python", "opencv-python-headless")


@dataclass(frozen=True)
class Finding:
    """One line of the report; with a ``remedy`` it is a fault."""

    name: str
    text: str
    remedy: str = ""


def check_python() -> Finding:
    """Check the version of the running interpreter."""
    version = platform.python_version()
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return Finding("python", version)
    oldest, newest = (".".join(map(str, bound)) for bound in (OLDEST_PYTHON, NEWEST_PYTHON))
    remedy = f"install Python {newest}; in a checkout run `rm -rf .venv`, then `make setup PYTHON=python{newest}`"
    return Finding("python", f"{version} is not one of {oldest} to {newest}", remedy)


def check_package(module: str) -> Finding:
    """Check that ``module``, a key of ``DISTRIBUTIONS``, is there once and can be imported."""
    versions = installed(DISTRIBUTIONS[module])
    if not versions:
        return Finding(module, "not installed", SET_UP_ANEW)
    names = " and ".join(versions)
    if len(versions) > 1:
        return Finding(module, f"{names} overwrite each other", SET_UP_ANEW)
    version = versions[names]
    text = version if names == module else f"{version} ({names})"
    _, reason = import_or_reason(module)
    if reason:
        return Finding(module, f"{text} cannot be imported: {reason}", SET_UP_ANEW)
    return Finding(module, text)


def check_opencv() -> Finding:
    """Check that OpenCV can be imported, and that its two wheels, which share a folder, agree."""
    versions = installed(OPENCV_DISTRIBUTIONS)
    if not versions:
        return Finding("opencv", "not installed", SET_UP_ANEW)
    if len(set(versions.values())) > 1:
        found = " and ".join(f"{name} {version}" for name, version in versions.items())
        return Finding("opencv", f"{found} share one folder", USE_OPENCV)
    cv2, reason = import_or_reason("cv2")
    if cv2 is None:
        return Finding("opencv", f"cannot be imported: {reason}", USE_OPENCV)
    windows = "headless" if is_headless(cv2) else "with windows, needs libGL"
    return Finding("opencv", f"{cv2.__version__} ({windows})")


def check_ops() -> Finding:
    """Check mmcv's operators on the CPU, and say whether they are compiled or ours."""
    missing = [name for name in ("torch", "mmcv") if not installed(DISTRIBUTIONS[name])]
    if missing:
        return Finding("mmcv ops", f"no, {' and '.join(missing)} missing", SET_UP_ANEW)
    fault = ops_fault("cpu")
    if fault:
        return Finding("mmcv ops", f"{kind_of_ops()}: {fault}", USE_OPERATORS)
    return Finding("mmcv ops", f"{kind_of_ops()}, they work on the CPU")


def check_gpu() -> Finding:
    """Check whether torch sees a GPU and, if so, whether mmcv's ops work on it."""
    torch, _ = import_or_reason("torch")
    if torch is None or not torch.cuda.is_available():
        return Finding("GPU", "torch sees none; models run on the CPU")
    count = torch.cuda.device_count()
    cards = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
    fault = ops_fault("cuda")
    if fault:
        return Finding("GPU", f"{cards}; CUDA ops do not work: {fault}", USE_GPU)
    return Finding("GPU", f"{cards}; CUDA ops work (CUDA {torch.version.cuda})")


def kind_of_ops() -> str:
    """Return which operators mmcv has: 'portable (numba)' or 'compiled'."""
    from cellseg_mmdet.ops import in_use

    return {"portable": "portable (numba)", "": "none"}.get(in_use(), in_use())


def ops_fault(device: str) -> str:
    """Run mmcv's non-maximum suppression on ``device``; return what went wrong, or ''."""
    try:
        import torch
        from mmcv.ops import nms

        # The second box lies in the first (IoU 0.81) and has to go; the third touches neither.
        boxes = [[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]]
        scores = torch.tensor([0.9, 0.8, 0.7], device=device)
        _, kept = nms(torch.tensor(boxes, device=device), scores, iou_threshold=0.5)
    except Exception as error:  # RuntimeError without this device's kernel, ImportError without any
        return one_line(error)
    return "" if kept.tolist() == [0, 2] else f"nms kept boxes {kept.tolist()}, not [0, 2]"


def installed(distributions: Iterable[str]) -> dict[str, str]:
    """Return name -> version of those ``distributions`` that are installed."""
    versions = {}
    for name in distributions:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def import_or_reason(module: str) -> tuple[ModuleType | None, str]:
    """Import ``module``; return it and '', or ``None`` and why it cannot be imported."""
    try:
        return importlib.import_module(module), ""
    except (
        Exception
    ) as error:  # OSError of a library, mmdet's AssertionError on mmcv's version, ...
        return None, one_line(error)


def one_line(error: BaseException) -> str:
    """Return the type and the first line of an error's message."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


def is_headless(cv2: ModuleType) -> bool:
    """Tell whether this OpenCV is built without windows, and so without need of libGL or Qt."""
    lines = cv2.getBuildInformation().splitlines()
    return any(line.split() == ["GUI:", "NONE"] for line in lines)


def checks() -> list[Callable[[], Finding]]:
    """Return all checks in the order of the report."""
    packages = [functools.partial(check_package, module) for module in DISTRIBUTIONS]
    return [check_python, *packages, check_opencv, check_ops, check_gpu]


def report(findings: Iterable[Finding]) -> int:
    """Print a line for each finding as it comes, then the remedies; return the number of faults."""
    names_by_remedy: dict[str, list[str]] = {}
    for finding in findings:
        print(
            f"{'FAULT' if finding.remedy else 'ok':5} {finding.name:12} {finding.text}", flush=True
        )
        if finding.remedy:
            names_by_remedy.setdefault(finding.remedy, []).append(finding.name)
    for remedy, names in names_by_remedy.items():
        print(f"To mend {', '.join(names)}: {remedy}.")
    return sum(map(len, names_by_remedy.values()))


def main() -> int:
    """Print the report; return 1 where something is wrong."""
    return 1 if report(check() for check in checks()) else 0


if __name__ == "__main__":
    sys.exit(main())
