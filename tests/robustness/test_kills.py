"""kill -9 in the middle of each command: nothing is half-written, and the same command mends it.

Each command is killed at random moments of its run, many times by ``make fuzz`` and once in the other tests, in one and
the same folder. After each kill what lies there is read: it is whole, of before or of after. Then the command is run to
its end, and what it leaves is what it leaves in an empty folder.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.annotations import read_annotations, write_annotations
from cellseg_mmdet.config_files import read_config
from cellseg_mmdet.engine.checkpoint import read_checkpoint
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.structures import load_predictions
from tests.robustness.conftest import config_of
from tests.tools.conftest import TinyRun
from tests.tuning.scenes import images as tuning_images
from tests.tuning.scenes import write_dump

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
NUM_KILLS = 20  # of each command, by make fuzz


@dataclass(frozen=True)
class Command:
    """A command, and what is to be said of the folder that it writes to.

    Attributes:
        argv: words of the command, by the folder that it writes to.
        check: of what lies in the folder after a kill.
        result: of what it wrote in the end, comparable.
    """

    argv: Callable[[Path], list[object]]
    check: Callable[[Path], None]
    result: Callable[[Path], object]


def start(argv: list[object], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "cellseg_mmdet", *map(str, argv)],
        env=os.environ
        | {"PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(argv: list[object], folder: Path) -> float:
    begin = time.monotonic()
    process = start(argv, folder)
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors.decode()[-3000:]
    return time.monotonic() - begin


def survive(command: Command, folder: Path, imports: Path, num_kills: int, seed: int) -> None:
    """Kill a command at random moments, look at what is there after each, then let it end."""
    rng = random.Random(seed)
    whole = folder / "whole"
    seconds = finish(command.argv(whole), imports)
    expected = command.result(whole)
    killed = folder / "killed"
    argv = command.argv(killed)
    for _ in range(num_kills):
        process = start(argv, imports)
        # Most of the time goes to imports, and what matters comes after them.
        moment = seconds * rng.uniform(0.2, 1.05)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()[-3000:]
        if killed.exists():
            command.check(killed)
    finish(argv, imports)
    assert command.result(killed) == expected
    left = [path for path in killed.rglob("*") if "cellseg-tmp" in path.name]
    assert not left, left


def convert_command(data: Path) -> Command:
    csv = data / "train.csv"
    lines = [
        "id,annotation,width,height,cell_type,plate_time,sample_date,elapsed_timedelta,sample_id"
    ]
    (data / "train").mkdir(parents=True)
    for number in range(60):
        name = f"{number:012x}"
        cv2.imwrite(str(data / "train" / f"{name}.png"), np.full((64, 64), number, np.uint8))
        lines += [f"{name},{64 * row + 3} {5},64,64,cort,a,b,c,{number}" for row in range(40)]
    csv.write_text("\n".join(lines) + "\n")

    def argv(out: Path) -> list[object]:
        return ["convert", "sartorius", "--csv", csv, "--images", data / "train", "--out-dir", out]

    def check(out: Path) -> None:
        ids = {}
        for path in out.glob("*.json"):
            if path.name != "conversions.json":
                try:
                    ids[path.stem] = {record.file_name for record in read_annotations(path)}
                except DataError as error:
                    assert "Run it again" in str(error)  # noqa: PT017
        for fold in range(5):
            if {f"train_fold{fold}", f"val_fold{fold}"} <= ids.keys():
                assert not ids[f"train_fold{fold}"] & ids[f"val_fold{fold}"]

    def result(out: Path) -> object:
        found = {path.name: path.read_bytes() for path in sorted(out.glob("*_fold*.json"))}
        assert len(found) == 10
        return found

    return Command(argv, check, result)


def train_command(run: TinyRun) -> Command:
    def argv(out: Path) -> list[object]:
        # Each with a seed of its own would end elsewhere.
        options = [
            "--cfg-options",
            "randomness.seed=3",
            "default_hooks.checkpoint.max_keep_ckpts=2",
        ]
        return ["train", config_of(run, "mask_rcnn"), "--work-dir", out, "--resume", *options]

    def check(out: Path) -> None:
        for path in out.glob("*.pth"):
            read_checkpoint(path)
        for path in out.glob("*.py"):
            read_config(path, import_custom_modules=False)
        pointer = out / "last_checkpoint"
        assert not pointer.exists() or Path(pointer.read_text()).is_file()

    def result(out: Path) -> object:
        weights = read_checkpoint(out / "epoch_3.pth")["state_dict"]
        return {key: value.numpy().tobytes() for key, value in weights.items()}

    return Command(argv, check, result)


def test_command(run: TinyRun, checkpoint: Path) -> Command:
    def argv(out: Path) -> list[object]:
        arguments = ["--work-dir", out / "run", "--out", out / "predictions.pkl", "--soft-masks"]
        return ["test", run.config, checkpoint, *arguments]

    def check(out: Path) -> None:
        if (out / "predictions.pkl").exists():
            assert len(load_predictions(out / "predictions.pkl")) == len(run.test_ids)

    def result(out: Path) -> object:
        return [
            (one.img_id, one.boxes.tobytes(), one.scores.tobytes(), one.masks.to_coco(text=True))
            for one in load_predictions(out / "predictions.pkl")
        ]

    return Command(argv, check, result)


test_command.__test__ = False  # type: ignore[attr-defined]


def infer_command(run: TinyRun, checkpoint: Path, images: Path) -> Command:
    images.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(60, 200, (30, 48, 64), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        cv2.imwrite(str(images / f"{number:02d}.png"), cv2.GaussianBlur(pixels, (0, 0), 3))

    def argv(out: Path) -> list[object]:
        writers = ["--write", "submission", "coco", "overlay", "dump"]
        return ["infer", run.config, checkpoint, images, "--out-dir", out, *writers]

    def check(out: Path) -> None:
        for path in out.glob("overlays/*.png"):
            assert cv2.imread(str(path)) is not None or path.name.startswith(".")
        if (out / "predictions.pkl").exists():
            assert len(load_predictions(out / "predictions.pkl")) == len(noise)

    def result(out: Path) -> object:
        written = sorted(path for path in out.rglob("*") if path.is_file())
        return {
            path.relative_to(out): path.read_bytes()
            for path in written
            if ".cellseg-run" not in path.parts
        }

    return Command(argv, check, result)


def tune_command(data: Path) -> Command:
    data.mkdir(parents=True)
    predictions, records = tuning_images(12)
    write_dump(data / "predictions.pkl", predictions)
    write_annotations(data / "val.json", records)
    config = data / "leaf.py"
    config.write_text(
        'metainfo = dict(classes=("astro", "cort"))\n'
        'postprocess = [dict(type="ScoreThreshold", score_thr=0.5), dict(type="RemoveOverlaps")]\n'
    )

    def argv(out: Path) -> list[object]:
        out.mkdir(exist_ok=True)
        files = ["--ann", data / "val.json", "--config", config, "--out", out / "tuned.py"]
        return ["tune", data / "predictions.pkl", *files, "--trials", 40, "--jobs", 2]

    def check(out: Path) -> None:
        if (out / "tuned.py").exists():
            assert read_config(out / "tuned.py").postprocess

    def result(out: Path) -> object:
        return read_config(out / "tuned.py").postprocess

    return Command(argv, check, result)


def command_of(name: str, folder: Path, run: TinyRun, checkpoint: Path) -> Command:
    return {
        "convert": lambda: convert_command(folder / "data"),
        "tune": lambda: tune_command(folder / "data"),
        "test": lambda: test_command(run, checkpoint),
        "train": lambda: train_command(run),
        "infer": lambda: infer_command(run, checkpoint, folder / "images"),
    }[name]()


NAMES = ("convert", "tune", "test", "train", "infer")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_kill(name: str, random_run: TinyRun, checkpoint: Path, tmp_path: Path) -> None:
    command = command_of(name, tmp_path, random_run, checkpoint)
    survive(command, tmp_path, random_run.folder, num_kills=1, seed=1)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", NAMES)
def test_many_kills(name: str, random_run: TinyRun, checkpoint: Path, tmp_path: Path) -> None:
    command = command_of(name, tmp_path, random_run, checkpoint)
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    survive(command, tmp_path, random_run.folder, NUM_KILLS, seed)
