"""Killed launchers and killed workers of data loaders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.robustness.conftest import config_of
from tests.tools.conftest import TOOLS, TinyRun

pytestmark = [
    pytest.mark.long,
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl and /proc are Linux's"),
]


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> float:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - begin


def processes_naming(text: str) -> list[int]:
    """Return the living processes whose command line holds a text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_dead = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not is_dead and text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has gone
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_launcher_leaves_nobody_behind(random_run: TinyRun, tmp_path: Path, number: int):
    work_dir = tmp_path / "run"
    with (tmp_path / "log").open("w") as log:
        launcher = subprocess.Popen(
            [
                *("bash", TOOLS / "dist_train.sh", config_of(random_run, "mask_rcnn"), "2"),
                *("--work-dir", work_dir, "--cfg-options", "train_cfg.max_epochs=1000"),
            ],
            env=os.environ
            | {
                "PYTHON": sys.executable,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(random_run.folder),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        trains = lambda: launcher.poll() is None and (work_dir / "iter_1.pth").exists()  # noqa: E731
        wait_until(lambda: trains() or launcher.poll() is not None, 240, "training")
        assert trains(), (tmp_path / "log").read_text()[-2000:]
        assert len(processes_naming(str(work_dir))) >= 3  # launcher, two processes, their loaders
        launcher.send_signal(number)
        wait_until(lambda: not processes_naming(str(work_dir)), 5, "the end of all processes")
    finally:
        launcher.kill()
        launcher.wait()


DEADLY = '''\
"""Ends the process that loads an image."""

import os
import signal

from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from cellseg_mmdet.errors import ImageError


@TRANSFORMS.register_module()
class Deadly(BaseTransform):
    def __init__(self, image, how):
        self.image, self.how = image, how

    def transform(self, results):
        if results["img_id"] == self.image:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "exit":
                os._exit(0)
            raise ImageError("7.png: of no use")
        return results
'''


@pytest.mark.parametrize(
    ("tool", "image", "how", "told"),
    [
        (
            "train",
            5,
            "kill",
            r"error: .*/5\.png: the process that loaded it was killed \(out of mem.*num_workers",
        ),
        ("train", 6, "exit", r"error: .*/6\.png: the process that loaded it exited unexpectedly"),
        ("train", 7, "raise", r"^error: 7\.png: of no use$"),
        ("test", 9, "kill", r"error: .*/9\.png: the process that loaded it was killed"),
    ],
)
def test_the_image_of_a_killed_loader_is_named(
    random_run: TinyRun,
    checkpoint: Path,
    tmp_path: Path,
    tool: str,
    image: int,
    how: str,
    told: str,
):
    (random_run.folder / "deadly.py").write_text(DEADLY)
    config = random_run.folder / f"deadly_{tool}_{how}.py"
    step = f"dict(type='Deadly', image={image}, how='{how}')"
    loader = f"{tool}_dataloader"
    pipeline = "train_pipeline" if tool == "train" else f"{loader}.dataset.pipeline"
    config.write_text(
        f"_base_ = {str(config_of(random_run, 'mask_rcnn'))!r}\n"
        "custom_imports = dict(imports=[*_base_.custom_imports.imports, 'deadly'])\n"
        f"pipeline = [{step}, *_base_.{pipeline}]\n"
        f"{loader} = dict(num_workers=2, dataset=dict(pipeline=pipeline))\n"
    )
    arguments = [config, *([checkpoint] if tool == "test" else []), "--work-dir", tmp_path]
    with pytest.raises(SystemExit, match=told) as end:
        random_run.tool(tool, *arguments)
    assert "\n" not in str(end.value)
