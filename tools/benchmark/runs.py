#!/usr/bin/env python
"""`cellseg infer` on many images: peak memory against their number, and results after kills.

The memory of a run of 200 small images stands beside that of more. A run of 40 images is killed (SIGKILL) again and
again, and goes on each time; its files are compared with those of a run that nobody killed. Without CONFIG
and CHECKPOINT the demo's model is used, with random weights.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs/mask_rcnn/mask-rcnn_r18_fpn_demo_synthetic.py"
# Random weights are sure of nothing: keep some of what they find.
ANY_SCORE = [
    "--cfg-options",
    "model.test_cfg.rcnn.score_thr=0.0",
    "model.test_cfg.rcnn.max_per_img=20",
    "postprocess.1.score_thr=0.0",
]


def random_weights(path: Path) -> None:
    """Write a checkpoint of the demo's model."""
    import torch
    from mmdet.registry import MODELS

    from cellseg_mmdet.engine import load_config, prepare_model_cfg

    torch.manual_seed(0)
    cfg = load_config(DEMO)
    prepare_model_cfg(cfg)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.save({"state_dict": model.state_dict(), "meta": {}}, path)


def draw_images(folder: Path, count: int, side_px: int) -> None:
    """Write pictures of blurred noise."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        noise = random.integers(60, 200, (side_px, side_px), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number:05d}.png"), cv2.GaussianBlur(noise, (0, 0), 3))


def results_of(out: Path) -> dict[str, bytes]:
    """Return the content of all files of a run, but for its record."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and ".cellseg-run" not in path.parts
    }


def peak_mib(command: list[str]) -> tuple[float, float]:
    """Run a command and return its peak memory in MiB and its time in seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} ended with status {status}")
    return usage.ru_maxrss / 1024, time.perf_counter() - start


def killed_runs(command: list[str], out: Path, kills: int, whole_size: int) -> int:
    """Run a command until it ends by itself and return how often it was killed.

    The kills come when its record has reached equal shares of its size in the end, and a moment later: anywhere in the
    work on an image.
    """
    finished = out / ".cellseg-run/finished"
    random = np.random.default_rng(0)
    killed = 0
    while True:
        kill_at = whole_size * (killed + random.random() * 0.8) / kills
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if killed < kills and finished.exists() and finished.stat().st_size >= kill_at:
                time.sleep(random.random() * 0.3)
                process.kill()
                process.wait()
        killed += process.returncode < 0
        if process.returncode == 0:
            return killed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="*", metavar="CONFIG CHECKPOINT", help="of which to run")
    parser.add_argument("--images", help="folder of 40 images for the kills (default: drawn)")
    parser.add_argument(
        "--counts", type=int, nargs="*", default=[200, 2000], help="none for no runs of small ones"
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--executor", default="local")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, options = args.model, []
        if not model:
            random_weights(folder / "model.pth")
            model, options = [str(DEMO), str(folder / "model.pth")], ANY_SCORE

        def infer(images: str | Path, out: Path) -> list[str]:
            command = [sys.executable, "-m", "cellseg_mmdet", "infer", *model, str(images)]
            command += ["--out-dir", str(out), "--device", "cpu", "--executor", args.executor]
            return [*command, "--write", "submission", "coco", "overlay", "dump", *options]

        for count in args.counts:
            images = folder / f"small{count}"
            draw_images(images, count, 64)
            memory, seconds = peak_mib(infer(images, folder / f"out{count}"))
            print(f"{count} images of 64 x 64: peak {memory:.0f} MiB, {seconds:.0f} s", flush=True)
        images = Path(args.images or folder / "forty")
        if not args.images:
            draw_images(images, 40, 128)
        peak_mib(infer(images, folder / "whole"))
        size = (folder / "whole/.cellseg-run/finished").stat().st_size
        killed = killed_runs(infer(images, folder / "killed"), folder / "killed", args.kills, size)
        same = results_of(folder / "killed") == results_of(folder / "whole")
        files = len(results_of(folder / "whole"))
        print(f"killed {killed} times: {files} files, {'all the same' if same else 'NOT THE SAME'}")
    return not same


if __name__ == "__main__":
    sys.exit(main())
