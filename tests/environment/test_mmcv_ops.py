"""Compiling mmcv's operators, for OPS=compiled."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tools.environment import mmcv_ops
from tools.environment.layout import SetupError

CPU_TORCH = {"version": "2.13.0+cpu", "cuda": "", "arch": ""}
GPU_TORCH = {"version": "2.13.0+cu130", "cuda": "13.0", "arch": "sm_90"}


def test_ops_are_built_for_cuda_where_gpu_and_toolkit_agree():
    home = Path("/usr/local/cuda")
    assert mmcv_ops.choose_toolkit(GPU_TORCH, home, "13.1") == (home, "")
    assert mmcv_ops.choose_toolkit(CPU_TORCH, home, "13.1") == (None, "")


@pytest.mark.parametrize(
    ("home", "release", "words"),
    [(None, "", "there is no nvcc"), (Path("/cuda"), "12.8", "nvcc is of CUDA 12.8")],
)
def test_a_gpu_that_is_left_unused_is_told(home, release, words):
    toolkit, warning = mmcv_ops.choose_toolkit(GPU_TORCH, home, release)
    assert toolkit is None
    assert words in warning
    assert "install the CUDA 13.0 toolkit" in warning


def test_build_variables():
    binaries = Path("/venv/bin")
    cpu = mmcv_ops.build_variables(binaries, 3, None)
    assert (cpu["MMCV_WITH_OPS"], cpu["MAX_JOBS"], cpu["FORCE_CUDA"]) == ("1", "3", "0")
    assert cpu["CUDA_VISIBLE_DEVICES"] == ""
    assert cpu["PATH"].split(os.pathsep)[0] == "/venv/bin"
    cuda = mmcv_ops.build_variables(binaries, 3, Path("/cuda"))
    assert (cuda["FORCE_CUDA"], cuda["CUDA_HOME"]) == ("1", "/cuda")
    assert "CUDA_VISIBLE_DEVICES" not in cuda


@pytest.mark.parametrize(
    ("cores", "memory", "jobs"),
    [(2, 16 * 10**9, 2), (64, 16 * 10**9, 8), (8, 10**9, 1), (8, None, 8)],
    ids=["cores", "memory", "little memory", "memory unknown"],
)
def test_default_jobs(cores, memory, jobs):
    assert mmcv_ops.default_jobs(cores, memory) == jobs


def test_build_tag_tells_builds_apart():
    tags = [
        mmcv_ops.build_tag("python3.11", CPU_TORCH, "cpu"),
        mmcv_ops.build_tag("python3.12", CPU_TORCH, "cpu"),
        mmcv_ops.build_tag("python3.11", GPU_TORCH, "cpu"),
        mmcv_ops.build_tag("python3.11", GPU_TORCH, "cuda"),
        mmcv_ops.build_tag("python3.11", {**GPU_TORCH, "arch": "sm_80"}, "cuda"),
    ]
    assert len(set(tags)) == len(tags)


def test_progress_counts_object_files(tmp_path):
    assert mmcv_ops.progress(tmp_path) == "mmcv's ops: preparing"
    folder = tmp_path / "build/temp.linux/mmcv"
    folder.mkdir(parents=True)
    plan = "rule compile\nbuild /x/a.o: compile a.cpp\nbuild /x/b.o: compile b.cpp\ndefault a.o\n"
    (folder.parent / "build.ninja").write_text(plan)
    (folder / "a.o").touch()
    assert mmcv_ops.progress(tmp_path) == "mmcv's ops: 1 of 2 files compiled"


@pytest.fixture
def mmcv_build(monkeypatch, checkout):
    """Stand-ins for pip, torch and the compilers around ``install_mmcv``; returns what happened."""
    log = {"compiled": 0, "installed": [], "ready": False, "fault": ""}

    def compile_wheel(layout, name, requirement, tree, toolkit):
        log["compiled"] += 1
        wheel = tree / "wheel" / "onedl_mmcv-2.3.6.whl"
        wheel.parent.mkdir(parents=True)
        wheel.touch()
        return wheel

    monkeypatch.setattr(mmcv_ops, "torch_facts", lambda layout: CPU_TORCH)
    monkeypatch.setattr(mmcv_ops, "find_toolkit", lambda: (None, ""))
    monkeypatch.setattr(mmcv_ops, "ready_wheel_works", lambda *_: log["ready"])
    monkeypatch.setattr(mmcv_ops, "compile_wheel", compile_wheel)
    monkeypatch.setattr(mmcv_ops, "pip", lambda _, *arguments: log["installed"].append(arguments))
    monkeypatch.setattr(mmcv_ops, "ops_fault", lambda *_: log["fault"])
    return log


def test_a_ready_wheel_whose_ops_work_is_enough(mmcv_build, checkout):
    mmcv_build["ready"] = True
    mmcv_ops.install_compiled(checkout)
    assert mmcv_build["compiled"] == 0


def test_without_one_it_is_compiled_once_and_the_wheel_kept(mmcv_build, checkout):
    mmcv_ops.install_compiled(checkout)
    mmcv_ops.install_compiled(checkout)
    assert mmcv_build["compiled"] == 1
    wheels = [arguments[-1] for arguments in mmcv_build["installed"] if arguments[-1] != "ninja==1"]
    assert [wheel.name for wheel in wheels] == ["onedl_mmcv-2.3.6.whl"] * 2


def test_a_build_without_ops_is_never_kept(mmcv_build, checkout):
    mmcv_build["fault"] = "ModuleNotFoundError: No module named 'mmcv._ext'"
    with pytest.raises(SetupError, match=r"mmcv\._ext.*\.log; run again"):
        mmcv_ops.install_compiled(checkout)
    assert list(checkout.build.iterdir()) == []


def test_a_python_that_dies_on_the_ops_is_a_fault(monkeypatch, checkout):
    monkeypatch.setattr(mmcv_ops, "PRINT_OPS_FAULT", "import os; os.abort()")
    fault = mmcv_ops.ops_fault(checkout, "cpu")
    assert fault == f"Python ended with exit status {-signal.SIGABRT}"
