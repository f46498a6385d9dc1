"""Trainings within a budget of CPU time, ours and the peers', for `equal_budget.py`; checkpoints are kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core_budget import Ran, run_within
from inference import PEERS, ROOT, THREAD_VARIABLES
from inference_worker import NOT_INSTALLED
from variants import options_of, parsed_options, split_model

from cellseg_mmdet.engine import load_config
from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.structures import ImageRecord

HERE = Path(__file__).parent
NEVER = 10**9
# Of the budget that a schedule is planned for: what is timed before is the fastest of few steps.
PLANNED = 0.9
# Checkpoints on the way, in a row's folder: what ours, Cellpose and StarDist write.
CHECKPOINTS = (
    "training/iter_*.pth",
    "training/epoch_*.pth",
    "training/models/cellpose_epoch_*",
    "training/stardist/tenth_*.weights.h5",
)
KEPT = "checkpoints.json"


@dataclass(frozen=True)
class Part:
    """Some of the images: their records, and their pictures for the workers."""

    records: list[ImageRecord]
    pictures: list[str]


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    out: Path
    learn: Part
    choose: Part
    scored: Part
    budget_s: float
    threads: int
    peers_python: str
    data: str


class RowError(CellsegError):
    """A row that could not be made."""


class Checkpoints:
    """Notes when a row's checkpoints appear, in CPU seconds of its training, and writes `KEPT` beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: dict[str, float] = {}
        # Of an attempt before.
        self.old = set(self._there())

    def _there(self) -> list[str]:
        paths = (path for pattern in CHECKPOINTS for path in self.folder.glob(pattern))
        return [str(path.relative_to(self.folder)) for path in paths]

    def __call__(self, cpu_s: float) -> None:
        for path in self._there():
            if path not in self.old:
                self.seen.setdefault(path, cpu_s)

    def latest(self, default: Path) -> Path:
        """Return ``default``, or what was written last where a training was stopped before it wrote that.

        Raises:
            RowError: there is nothing.
        """
        if default.exists():
            return default
        if not self.seen:
            raise RowError(f"the training was stopped before it wrote weights: {default}")
        return (self.folder / max(self.seen, key=lambda path: self.seen[path])).resolve()

    def write(self) -> None:
        """Write ``[[file, CPU seconds], ...]``, by time."""
        with atomic_write(self.folder / KEPT) as temporary:
            ordered = sorted(self.seen.items(), key=lambda one: one[1])
            temporary.write_text(json.dumps(ordered, indent=1))


def train_peer(plan: Plan, model: str, seed: int, folder: Path) -> tuple[str, Ran]:
    """Return the weights of a peer, and what its training took."""
    out = (folder / "training").resolve()
    out.mkdir(exist_ok=True)
    job = {
        "task": "train",
        "kind": model,
        "pictures": [str(Path(path).resolve()) for path in plan.learn.pictures],
        "out": str(out),
        "budget_s": plan.budget_s,
        "seed": seed,
        "threads": plan.threads,
    }
    began = out / "began.json"
    began.unlink(missing_ok=True)

    def free_s() -> float:
        # Until the training begins nothing counts.
        return json.loads(began.read_text())["free_s"] if began.exists() else float("inf")

    checkpoints = Checkpoints(folder)
    ran = run_worker(
        plan, model, job, folder, budget_s=plan.budget_s, free_s=free_s, looks=checkpoints
    )
    checkpoints.write()
    state = out / "result.json" if ran.status == 0 else began
    weights = json.loads(state.read_text())["checkpoint"]
    return str(checkpoints.latest(default=Path(weights))), ran


def train_ours(plan: Plan, model: str, seed: int, folder: Path) -> tuple[str, Ran]:
    """Return our last checkpoint, and what its training took."""
    environment = variables(plan.threads) | {
        "CELLSEG_DATA": str(plan.out / "data"),
        "CELLSEG_FOLD": "0",
    }
    log = folder / "log.txt"
    config, _ = split_model(model)
    options = options_of(model)
    iteration_s, start_s = timed_iteration(config, options, environment, log)
    iterations = max(1, int(PLANNED * plan.budget_s / iteration_s))
    work_dir = folder / "training"
    command = [sys.executable, "-m", "cellseg_mmdet", "train", config, "--work-dir", str(work_dir)]
    command += ["--cfg-options", f"randomness.seed={seed}", *options]
    command += schedule(plan, config, options, iterations)
    checkpoints = Checkpoints(folder)
    ran = run_within(
        command,
        plan.budget_s,
        environment=environment,
        log=log,
        free_s=lambda: start_s,
        looks=checkpoints,
    )
    checkpoints.write()
    last = work_dir / "last_checkpoint"
    if ran.status or not last.exists():
        raise RowError(f"the training ended with status {ran.status}: see {log}")
    return last.read_text().strip(), ran


def timed_iteration(
    config: str, options: list[str], environment: dict[str, str], log: Path
) -> tuple[float, float]:
    """Return the CPU seconds of an iteration, and those of starting the program."""
    batches = 2
    command = [sys.executable, str(HERE / "training.py"), config, "--batches", str(batches)]
    command += ["--cfg-options", *options] if options else []
    before = os.times()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    after = os.times()
    log.write_text(done.stdout + done.stderr)
    found = {}
    for line in done.stdout.splitlines():
        seconds, _, what = line.strip().partition("  ")
        found[what.partition(",")[0]] = seconds
    if done.returncode or not {"loading", "training step"} <= found.keys():
        raise RowError(f"an iteration could not be timed: see {log}")
    iteration_s = float(found["loading"]) + float(found["training step"])
    used = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return iteration_s, max(0.0, used - (batches + 1) * iteration_s)


def schedule(plan: Plan, config: str, changes: list[str], iterations: int) -> list[str]:
    """Return the options that end a config's schedule, its cosine and all, after so many iterations.

    Ten checkpoints are kept on the way.
    """
    cfg = load_config(config, parsed_options(changes))
    if "max_iters" in cfg.train_cfg:
        unit, length = "max_iters", iterations
    else:
        batches = -(-len(plan.learn.records) // cfg.train_dataloader.batch_size)
        unit, length = "max_epochs", max(1, round(iterations / batches))
    options = [
        f"train_cfg.{unit}={length}",
        f"train_cfg.val_interval={NEVER}",
        f"default_hooks.checkpoint.interval={max(1, length // 10)}",
        "default_hooks.checkpoint.max_keep_ckpts=-1",
    ]
    for index, step in enumerate(cfg.param_scheduler):
        if step["type"] == "CosineAnnealingLR":
            options += [f"param_scheduler.{index}.{name}={length}" for name in ("end", "T_max")]
    return options


def run_worker(
    plan: Plan,
    model: str,
    job: dict[str, Any],
    folder: Path,
    *,
    budget_s: float = float("inf"),
    **options: Any,
) -> Ran:
    """Run a worker, and raise if it failed."""
    path, log = folder / "job.json", folder / "log.txt"
    path.write_text(json.dumps(job))
    python = plan.peers_python if model in PEERS else sys.executable
    command = [python, str(HERE / "training_worker.py"), str(path)]
    ran = run_within(command, budget_s, environment=variables(plan.threads), log=log, **options)
    if ran.status == NOT_INSTALLED:
        raise RowError(f"skipped: not installed in {python}")
    if ran.status:
        raise RowError(f"its worker ended with status {ran.status}: see {log}")
    return ran


def variables(threads: int) -> dict[str, str]:
    """Return the environment of the workers."""
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    return environment | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
