from __future__ import annotations

import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest

from cellseg_mmdet import doctor
from cellseg_mmdet.doctor import Finding
from cellseg_mmdet.ops import in_use

ROOT = Path(doctor.__file__).parents[1]


@pytest.fixture
def pretend_installed(monkeypatch):
    """Return a function that lets exactly the given distributions look installed."""

    def pretend(**versions: str) -> None:
        by_name = {name.replace("_", "-"): version for name, version in versions.items()}

        def version(name: str) -> str:
            if name not in by_name:
                raise metadata.PackageNotFoundError(name)
            return by_name[name]

        monkeypatch.setattr(metadata, "version", version)

    return pretend


def test_without_any_package_every_one_is_reported_missing_and_nothing_crashes():
    command = [sys.executable, "-S", "-m", "cellseg_mmdet.doctor"]  # -S: without site-packages

    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert result.returncode == 1
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    missing = {line.split()[1] for line in lines if line.endswith("not installed")}
    assert missing == {*doctor.DISTRIBUTIONS, "opencv"}
    assert lines[-1].startswith("To mend torch, mmcv, mmengine, mmdet, ")
    assert "`make setup`" in lines[-1]


def test_the_environment_of_the_tests_is_sound(capsys):
    assert doctor.main() == 0
    lines = capsys.readouterr().out.splitlines()
    named = [line[6:].split("  ")[0] for line in lines]
    assert named == ["python", *doctor.DISTRIBUTIONS, "opencv", "mmcv ops", "GPU"]
    assert all(line.startswith("ok ") for line in lines)


@pytest.mark.parametrize("version", [(3, 9), (3, 14)])
def test_python_outside_the_range_is_a_fault(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", (*version, 1))
    assert "PYTHON=python3.13" in doctor.check_python().remedy


@pytest.mark.parametrize("name", ["onedl_mmengine", "mmengine"])
def test_both_families_are_accepted(pretend_installed, name):
    pretend_installed(**{name: "0.10.9"})
    finding = doctor.check_package("mmengine")
    assert finding.remedy == ""
    assert finding.text.startswith("0.10.9")


def test_both_families_at_once_are_a_fault(pretend_installed):
    pretend_installed(onedl_mmcv="2.3.6", mmcv="2.1.0")
    finding = doctor.check_package("mmcv")
    assert finding.text == "onedl-mmcv and mmcv overwrite each other"
    assert finding.remedy


def test_a_package_that_raises_while_imported_is_a_fault_with_the_reason(
    monkeypatch, tmp_path, pretend_installed
):
    (tmp_path / "mmdet.py").write_text("assert False, 'mmcv 9 is not allowed\\nsee the manual'")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mmdet", raising=False)
    pretend_installed(mmdet="3.3.0")
    finding = doctor.check_package("mmdet")
    assert finding.text == "3.3.0 cannot be imported: AssertionError: mmcv 9 is not allowed"
    assert finding.remedy


def test_opencv_wheels_of_two_versions_are_a_fault(pretend_installed):
    pretend_installed(opencv_python="4.13.0.92", opencv_python_headless="4.12.0.88")
    finding = doctor.check_opencv()
    assert "opencv-python 4.13.0.92 and opencv-python-headless 4.12.0.88" in finding.text
    assert finding.remedy


@pytest.mark.parametrize(
    ("line", "headless"), [("    GUI:      NONE", True), ("    GUI:      QT5", False), ("", False)]
)
def test_headless_is_read_from_the_build_information(line, headless):
    cv2 = types.ModuleType("cv2")
    cv2.getBuildInformation = lambda: f"  OpenCV modules:\n{line}\n  Media I/O:\n"
    assert doctor.is_headless(cv2) is headless


def test_ops_work_on_the_cpu():
    assert doctor.ops_fault("cpu") == ""
    kind = {"portable": "portable (numba)"}.get(in_use(), in_use())
    assert doctor.check_ops() == Finding("mmcv ops", f"{kind}, they work on the CPU")


def test_mmcv_without_ops_is_a_fault(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmcv.ops", None)  # what importing it then raises: ImportError
    finding = doctor.check_ops()
    assert "mmcv.ops" in finding.text
    assert finding.remedy


def test_ops_that_compute_something_else_are_a_fault(monkeypatch):
    import torch

    broken = types.ModuleType("mmcv.ops")
    broken.nms = lambda boxes, scores, iou_threshold: (boxes, torch.arange(len(boxes)))
    monkeypatch.setitem(sys.modules, "mmcv.ops", broken)
    assert doctor.ops_fault("cpu") == "nms kept boxes [0, 1, 2], not [0, 2]"


@pytest.mark.parametrize(
    ("fault", "words"),
    [("", "CUDA ops work (CUDA 13.0)"), ("no kernel", "CUDA ops do not work: no kernel")],
    ids=["working", "not compiled for CUDA"],
)
def test_a_gpu_is_tried(monkeypatch, fault, words):
    torch = types.ModuleType("torch")
    torch.version = types.SimpleNamespace(cuda="13.0")
    torch.cuda = types.SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 2,
        get_device_name=lambda index: f"Card {index}",
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(doctor, "ops_fault", {"cuda": fault}.__getitem__)
    finding = doctor.check_gpu()
    assert finding.text == f"Card 0, Card 1; {words}"
    assert bool(finding.remedy) is bool(fault)


def test_report_groups_faults_by_remedy_and_counts_them(capsys):
    findings = [Finding("a", "fine"), Finding("b", "gone", "mend"), Finding("c", "bad", "mend")]
    assert doctor.report(findings) == 2
    assert capsys.readouterr().out.splitlines() == [
        "ok    a            fine",
        "FAULT b            gone",
        "FAULT c            bad",
        "To mend b, c: mend.",
    ]
