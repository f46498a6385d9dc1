"""Two CPU processes, started by the shell scripts, do what one process does."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.long

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def run_script(name: str, *arguments: object, cwd: Path, **environment: str):
    """Run a script of tools/ from another folder."""
    settings = {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(cwd)}
    return subprocess.run(
        ["bash", TOOLS / name, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | settings | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def two(tiny_run, checkpoint) -> Path:
    """Train with two processes, test the checkpoint of ONE process with two, return the folder."""
    folder = tiny_run.folder
    for script in (
        ("dist_train.sh", "tiny.py", 2, "--work-dir", "two processes"),
        ("dist_test.sh", "tiny.py", checkpoint, 2, "--work-dir", "two test", "--out", "two.pkl"),
    ):
        result = run_script(*script, cwd=folder)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    return folder


@pytest.fixture(scope="module")
def one(tiny_run, checkpoint) -> Path:
    """Test the same checkpoint with one process, return the folder."""
    folder = tiny_run.folder
    out = ("--out", folder / "one.pkl")
    tiny_run.tool("test", tiny_run.config, checkpoint, "--work-dir", folder / "one test", *out)
    return folder


def metrics_in(work_dir: Path) -> dict[str, float]:
    (path,) = work_dir.glob("*/*.json")
    metrics = json.loads(path.read_text())
    return {key: value for key, value in metrics.items() if key.startswith("coco/")}


@pytest.mark.slow
def test_each_training_image_is_seen_once_an_epoch(tiny_run, two):
    seen = tiny_run.seen()

    assert sorted(seen["1_0"]["ids"]) == list(range(1, 9))
    assert len(seen["2_0"]["ids"]) == len(seen["2_1"]["ids"]) == 4
    assert sorted(seen["2_0"]["ids"] + seen["2_1"]["ids"]) == list(range(1, 9))


@pytest.mark.slow
def test_both_processes_end_with_the_same_weights(tiny_run, two):
    seen = tiny_run.seen()

    assert seen["2_0"]["weights"] == seen["2_1"]["weights"]
    assert seen["2_0"]["weights"] != seen["1_0"]["weights"]


@pytest.mark.slow
def test_each_test_image_is_predicted_once_and_alike(tiny_run, one, two):
    expected = pickle.loads((one / "one.pkl").read_bytes())
    found = pickle.loads((two / "two.pkl").read_bytes())

    assert [prediction["img_id"] for prediction in found] == tiny_run.test_ids
    assert [prediction["img_id"] for prediction in expected] == tiny_run.test_ids
    for a, b in zip(expected, found, strict=True):
        for key in ("bboxes", "scores", "labels"):
            np.testing.assert_array_equal(a["pred_instances"][key], b["pred_instances"][key])
        assert len(a["pred_instances"]["scores"]) > 0
        assert a["pred_instances"]["masks"] == b["pred_instances"]["masks"]


@pytest.mark.slow
def test_the_metric_is_that_of_one_process(one, two):
    expected = metrics_in(one / "one test")

    assert expected["coco/bbox_mAP"] > 0
    assert expected["coco/segm_mAP"] > 0
    assert metrics_in(two / "two test") == expected


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    """A stand-in for python and srun that prints its arguments, one a line."""
    for name in ("python", "srun"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        path.chmod(0o755)
    return tmp_path / "bin"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ["--standalone"]),
        (
            {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "node0", "PORT": "29511"},
            [
                "--nnodes",
                "2",
                "--node-rank",
                "1",
                "--master-addr",
                "node0",
                "--master-port",
                "29511",
            ],
        ),
        (
            {"PORT": "29600"},
            [
                "--nnodes",
                "1",
                "--node-rank",
                "0",
                "--master-addr",
                "127.0.0.1",
                "--master-port",
                "29600",
            ],
        ),
    ],
    ids=["one machine", "two machines", "port"],
)
def test_torchrun_gets_the_machines_and_the_arguments(recorder, tmp_path, environment, expected):
    environment = environment | {"PYTHON": str(recorder / "python")}

    train = run_script("dist_train.sh", "c 1.py", 3, "--resume", "x y", cwd=tmp_path, **environment)
    test = run_script(
        "dist_test.sh", "c.py", "k 1.pth", 3, "--out", "p", cwd=tmp_path, **environment
    )

    launch = ["-m", "torch.distributed.run", *expected, "--nproc-per-node", "3"]
    tail = ["--launcher", "pytorch"]
    assert train.stdout.splitlines() == [
        *launch, f"{TOOLS}/train.py", "c 1.py", *tail, "--resume", "x y"
    ]  # fmt: skip
    assert test.stdout.splitlines() == [
        *launch, f"{TOOLS}/test.py", "c.py", "k 1.pth", *tail, "--out", "p"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "fourth", "program"),
    [
        ("slurm_train.sh", "work dir", ["train.py", "c.py", "--work-dir", "work dir"]),
        ("slurm_test.sh", "k 1.pth", ["test.py", "c.py", "k 1.pth"]),
    ],
)
def test_srun_gets_the_resources_and_the_arguments(recorder, tmp_path, script, fourth, program):
    environment = {
        "PATH": f"{recorder}:{os.environ['PATH']}",
        "PYTHON": "python",
        "GPUS": "4",
        "SRUN_ARGS": "--time=8:00:00 --qos=high",
    }

    result = run_script(
        script, "gpu", "my job", "c.py", fourth, "--x", "y z", cwd=tmp_path, **environment
    )

    resources = [
        "--gres",
        "gpu:4",
        "--ntasks",
        "4",
        "--ntasks-per-node",
        "4",
        "--cpus-per-task",
        "5",
    ]
    assert result.stdout.splitlines() == [
        *["--partition", "gpu", "--job-name", "my job", *resources, "--kill-on-bad-exit=1"],
        *["--time=8:00:00", "--qos=high", "python", "-u", f"{TOOLS}/{program[0]}", *program[1:]],
        *["--launcher", "slurm", "--x", "y z"],
    ]


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("dist_train.sh", ()),
        ("dist_train.sh", ("c.py",)),
        ("dist_train.sh", ("c.py", "--work-dir")),
        ("dist_train.sh", ("c.py", "0")),
        ("dist_test.sh", ("c.py", "2")),
        ("dist_test.sh", ("c.py", "k.pth", "two")),
        ("slurm_train.sh", ("gpu", "job", "c.py")),
        ("slurm_test.sh", ("gpu", "job", "c.py")),
    ],
)
def test_wrong_arguments_get_the_usage(recorder, tmp_path, script, arguments):
    environment = {"PYTHON": str(recorder / "python"), "PATH": f"{recorder}:{os.environ['PATH']}"}

    result = run_script(script, *arguments, cwd=tmp_path, **environment)

    assert result.returncode == 2
    assert result.stderr.startswith(f"Usage: tools/{script} ")
    assert result.stdout == ""
