"""Full disks, folders that are none, odd checkpoints and configs: one line each, in train and test."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cellseg_mmdet.cli import main
from tests.robustness.conftest import config_of
from tests.tools.conftest import TinyRun

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]

# The command in a process whose files may not grow beyond some bytes: as a full disk, and the same for root.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from cellseg_mmdet.cli import main
main(sys.argv[2:])
"""


def run_limited(limit_bytes: int, *argv: object, folder: Path) -> str:
    """Run a command that must fail with one line, and return that."""
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit_bytes), *map(str, argv)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode == 1, result.stdout[-1000:] + result.stderr[-1000:]
    assert "Traceback" not in result.stderr
    (line,) = errors
    return line


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits")
@pytest.mark.parametrize(
    ("limit_bytes", "file"),
    [(60_000, "iter_1.pth"), (6_000, "drawn.py")],
    ids=["checkpoint", "config"],
)
def test_training_on_a_full_disk(random_run: TinyRun, tmp_path: Path, limit_bytes: int, file: str):
    work_dir = tmp_path / "run"
    line = run_limited(
        limit_bytes,
        *("train", config_of(random_run, "mask_rcnn"), "--work-dir", work_dir),
        *("--cfg-options", "visualizer.vis_backends=[]"),
        folder=random_run.folder,
    )
    assert f"{file}" in line and line.endswith(": File too large")
    assert not list(work_dir.glob("*.pth"))
    assert not [path for path in work_dir.rglob("*") if "cellseg-tmp" in path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits")
def test_a_dump_on_a_full_disk(random_run: TinyRun, checkpoint: Path, tmp_path: Path):
    out = tmp_path / "predictions.pkl"
    line = run_limited(
        20_000,
        *("test", random_run.config, checkpoint, "--work-dir", tmp_path / "run", "--out", out),
        *("--soft-masks", "--cfg-options", "visualizer.vis_backends=[]"),
        folder=random_run.folder,
    )
    assert line == f"error: {out}: File too large"
    assert not out.exists()


@pytest.mark.parametrize("tool", ["train", "test"])
def test_a_work_dir_below_a_file(random_run: TinyRun, checkpoint: Path, tmp_path: Path, tool: str):
    (tmp_path / "file").touch()
    arguments = [config_of(random_run, "mask_rcnn"), *([checkpoint] if tool == "test" else [])]
    with pytest.raises(SystemExit, match=r"^error: .*file/run.*: Not a directory$"):
        random_run.tool(tool, *arguments, "--work-dir", tmp_path / "file" / "run")


def odd_checkpoints(checkpoint: Path, folder: Path) -> dict[str, tuple[Path, str]]:
    """Write checkpoints that are none; return for each its path and what is to be said of it."""
    whole = torch.load(checkpoint, weights_only=False)
    weights = whole["state_dict"]
    name = next(key for key in weights if key.endswith("fc_cls.weight"))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.txt", "no tensors")
    cut = checkpoint.read_bytes()
    files = {
        "empty": (b"", "it is empty"),
        "text": (b"once upon a time", "is not a file that torch.save wrote"),
        "zip": (zipped.getvalue(), "cannot be read"),
        "cut": (cut[: len(cut) // 2], "incomplete"),
        "pickle": (pickle.dumps([1, 2]), r"pickle\.pth"),
    }
    objects = {
        "no_state_dict": ({"meta": {}, "model": {"a": 1}}, "holds no weights: found meta, model"),
        "strings": ({"state_dict": {"a": "x"}}, "its state_dict holds no weights: found a"),
        "one_string": (
            whole | {"state_dict": weights | {"a": "x"}},
            "'a' in its state_dict is a str",
        ),
        "list": ([1], "holds a list"),
        "tensor": (torch.ones(3), "holds a Tensor"),
        "other_classes": (
            whole | {"state_dict": weights | {name: torch.ones(9, weights[name].shape[1])}},
            r"does not fit the model of the config: size mismatch for roi_head\.bbox_head\.fc_cls",
        ),
        "nan": (
            whole | {"state_dict": weights | {name: weights[name] * torch.nan}},
            r"1 of \d+ weights hold infinite values or NaN, roi_head\.bbox_head\.fc_cls\.weight",
        ),
        "less": (
            whole | {"state_dict": {key: weights[key] for key in weights if key != name}},
            r"1 of its weights are missing, roi_head\.bbox_head\.fc_cls\.weight",
        ),
        "another_model": (
            {"state_dict": {"x.weight": torch.ones(2)}},
            r"not in the model, x\.weight",
        ),
    }
    found = {}
    for key, (content, told) in files.items():
        found[key] = (folder / f"{key}.pth", told)
        found[key][0].write_bytes(content)
    for key, (content, told) in objects.items():
        found[key] = (folder / f"{key}.pth", told)
        torch.save(content, found[key][0])
    return found


def fail(run: TinyRun, tool: str, told: str, *arguments: object, **options) -> None:
    with pytest.raises(SystemExit, match=rf"^error: .*{told}") as end:
        run.tool(tool, *arguments, **options)
    assert "\n" not in str(end.value)
    assert len(str(end.value)) < 2000


def test_odd_checkpoints_end_each_command_in_one_line(
    random_run: TinyRun, checkpoint: Path, tmp_path: Path
):
    image = random_run.folder / "images" / "9.png"
    for key, (path, told) in odd_checkpoints(checkpoint, tmp_path).items():
        fail(random_run, "test", told, random_run.config, path, "--work-dir", tmp_path / "run")
        sheets = ("--out-dir", tmp_path / "sheets")
        fail(random_run, "feature_maps", told, random_run.config, path, image, *sheets)
        arguments = (random_run.config, "--work-dir", tmp_path / "run")
        if key not in ("less", "other_classes", "another_model"):  # a start may take what fits
            option = f"load_from={str(path)!r}"
            fail(random_run, "train", told, *arguments, options=(option,))
        if key == "another_model":
            option = f"load_from={str(path)!r}"
            fail(random_run, "train", "not one of its weights does", *arguments, options=(option,))
            told = "has no meta, message_hub, optimizer"
        fail(random_run, "train", told, *arguments, "--resume", path)


def test_odd_configs_end_each_command_in_one_line(checkpoint: Path, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 32), np.uint8))
    (tmp_path / "a.py").write_text("_base_ = 'b.py'\n")
    (tmp_path / "b.py").write_text("x = 1\nmodel = dict(type=Missing)\n")
    config, path = str(tmp_path / "a.py"), str(checkpoint)
    for argv in (
        ["train", config],
        ["test", config, path],
        ["infer", config, path, str(tmp_path / "a.png"), "--out-dir", str(tmp_path / "out")],
    ):
        with pytest.raises(SystemExit, match=r"^error: .*b\.py, line 2: NameError: .*'Missing'"):
            main(argv)
