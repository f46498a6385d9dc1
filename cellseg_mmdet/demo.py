"""The main job on a small synthetic data set: every step is the command that a user would type for real data.

Each run starts over: all of it takes minutes, and half of an earlier run could be of another version of the code.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from cellseg_mmdet.converters.readers.sartorius import read_sartorius
from cellseg_mmdet.doctor import ops_fault
from cellseg_mmdet.errors import CellsegError
from cellseg_mmdet.evaluation import score_predictions
from cellseg_mmdet.postprocess.from_config import pipeline_from_config
from cellseg_mmdet.structures import ImagePrediction, ImageRecord, load_predictions
from cellseg_mmdet.visualization.draw import write_picture
from cellseg_mmdet.visualization.draw.pictures import read_picture
from cellseg_mmdet.visualization.pages.comparison import draw_comparison

Result = TypeVar("Result")

CONFIG = "mask-rcnn_r18_fpn_demo_synthetic"
WORK_DIR = Path("work_dirs/demo")
MIN_KAGGLE_MAP = 0.30  # below it the model has not learned what a cell is
# Folds hold out a fifth of the training images; the test images, with three of each cell type, are
# the ones that are submitted and scored.
GENERATE = ("--num-train", "30", "--num-test", "9", "--height", "256", "--width", "352")
REAL_CONFIG = "mask-rcnn_r50_fpn_dense_20e_sartorius"

STEPS = {
    "generate": "draw synthetic phase-contrast images in the layout of the competition",
    "convert": "turn train.csv into COCO annotations, with folds",
    "train": "train a small Mask R-CNN on four of five folds",
    "predict": "predict the test images, which no training saw",
    "submit": "write the submission",
    "check": "check the submission",
    "score": "score it against the truth, and draw image, truth, prediction and errors",
    "report": "write a page about the run",
    "ship": "find nuclei in sample images, with a model that ships",
}
# Of a checkout; the wheel has no images.
SAMPLES = Path("docs/samples/nuclei")
# What the config reads from the environment; the user's own settings are for other data.
_CONFIG_VARIABLES = ("CELLSEG_DATA", "CELLSEG_FOLD", "CELLSEG_SPLIT")
_TAIL_LINES = 25


class StepError(CellsegError):
    """A step of the demo that failed."""


class StepRunner:
    """Runs commands one after another, shows each before it runs, and takes its time.

    Args:
        log_dir: folder for the whole output of commands of which only a part is shown.
        steps: name -> what it does, for all steps in order.
        program: what runs the arguments of a command, ``cellseg`` of this Python by default.

    Attributes:
        seconds: how long each step took, by name.
    """

    def __init__(
        self, log_dir: Path, steps: Mapping[str, str], program: Sequence[str] | None = None
    ) -> None:
        self.log_dir = log_dir
        self.program = list(program or (sys.executable, "-m", "cellseg_mmdet"))
        self.steps = dict(steps)
        self.seconds: dict[str, float] = {}

    def command(
        self,
        name: str,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        show: Callable[[str], str | None] | None = None,
    ) -> None:
        """Run a command as a step.

        Args:
            name: of the step.
            arguments: of the program, such as ``cellseg``.
            env: environment variables to set.
            show: gives what is shown of a line of output, None for nothing; the whole goes to a log. By default all is
                shown, and there is no log.

        Raises:
            StepError: the command failed.
        """
        words = [str(argument) for argument in arguments]
        self.announce(name)
        print(f"$ {shell_line(words, env)}", flush=True)
        environment = {
            key: value for key, value in os.environ.items() if key not in _CONFIG_VARIABLES
        }
        environment |= {"PYTHONUNBUFFERED": "1", **(env or {})}
        begin = time.monotonic()
        if show is None:
            code, hint = subprocess.run([*self.program, *words], env=environment).returncode, ""
        else:
            code, hint = self._run_filtered(name, words, environment, show)
        if code:
            raise StepError(f"step '{name}' {_ending(code)}{hint}")
        self.seconds[name] = time.monotonic() - begin

    def function(self, name: str, function: Callable[[], Result]) -> Result:
        """Run a function of this process as a step and return its result."""
        self.announce(name)
        begin = time.monotonic()
        result = function()
        self.seconds[name] = time.monotonic() - begin
        return result

    def announce(self, name: str) -> None:
        number = list(self.steps).index(name) + 1
        print(f"\n[{number}/{len(self.steps)}] {self.steps[name]}", flush=True)

    def _run_filtered(
        self,
        name: str,
        words: Sequence[str],
        environment: Mapping[str, str],
        show: Callable[[str], str | None],
    ) -> tuple[int, str]:
        """Return the exit code, and for a failure where to read about it."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        path = self.log_dir / f"{name}.txt"
        tail: deque[str] = deque(maxlen=_TAIL_LINES)
        process = subprocess.Popen(
            [*self.program, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        with process, path.open("w", encoding="utf-8") as log:
            try:
                for line in process.stdout or ():
                    log.write(line)
                    tail.append(line)
                    if (text := show(line)) is not None:
                        print(f"  {text}", flush=True)
            except BaseException:  # also an interrupt: without its reader the command would run on
                process.kill()
                raise
        if not process.returncode:
            return 0, ""
        return process.returncode, f"; the end of {path}:\n\n{''.join(tail)}"


def shell_line(words: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Return a command of ``cellseg`` as one would type it in this folder."""
    python = Path(sys.executable)
    program = "cellseg"
    if python.is_relative_to(Path.cwd()):  # an environment in this folder, which need not be active
        program = str(python.relative_to(Path.cwd()).with_name(program))
    settings = [f"{name}={shlex.quote(value)}" for name, value in (env or {}).items()]
    return " ".join([*settings, program, *map(shlex.quote, words)])


def brief_log_line(line: str) -> str | None:
    """Return what matters of a line that mmengine logs while it trains or tests, None if nothing does."""
    if found := re.search(
        r"(?:Epoch|Iter)\(train\)\s+(?:\[(\d+)\])?\[\s*(\d+)/(\d+)\].*?\beta: (.+?)  ", line
    ):
        epoch, iteration, total, eta = found.groups()
        loss = re.search(r"\bloss: ([\d.]+|nan|inf)", line)
        where = f"epoch {epoch:>3}, " if epoch else ""
        return f"{where}iteration {iteration:>{len(total)}}/{total}   loss {loss[1] if loss else '?'}   {eta} left"
    if re.search(r"(?:Epoch|Iter)\((?:val|test)\)", line) and (
        scores := re.findall(r"cell/(\w+): ([\d.]+|nan)", line)
    ):
        return "   ".join(f"{name} {float(value):.3f}" for name, value in scores)
    if found := re.search(r"Predictions of \d+ images are in .*", line):
        return found[0].strip()
    return None


def exit_on_signal(number: int, frame: object) -> None:
    """Handle a signal by an exception, which ends the running command as well; the default would leave it behind."""
    sys.exit(128 + number)


def run_demo() -> int:
    """Run the demo in the current folder and return the exit code.

    Raises:
        StepError: a step failed; the message says which, and why.
    """
    shutil.rmtree(WORK_DIR, ignore_errors=True)
    data, training, overlays = (
        WORK_DIR / name for name in ("data/synthetic", "training", "overlays")
    )
    predictions, submission = WORK_DIR / "predictions.pkl", WORK_DIR / "submission.csv"
    env = usable_devices()
    steps = {name: what for name, what in STEPS.items() if name != "ship" or SAMPLES.is_dir()}
    run = StepRunner(WORK_DIR / "logs", steps)

    run.command("generate", "convert", "synthetic", "--out-dir", data, *GENERATE)
    run.command(
        "convert",
        *("convert", "sartorius", "--csv", data / "train.csv"),
        *("--images", data / "train", "--out-dir", data / "annotations"),
    )
    run.command(
        "train",
        *("train", CONFIG, "--data", WORK_DIR / "data", "--work-dir", training),
        *("--cfg-options", "randomness.seed=0"),
        env=env,
        show=brief_log_line,
    )
    run.command(
        "predict",
        *("test", CONFIG, last_checkpoint(training), "--data", WORK_DIR / "data"),
        *("--split", "test", "--work-dir", WORK_DIR / "testing", "--out", predictions),
        env=env,
        show=brief_log_line,
    )
    run.command("submit", "submit", predictions, "--config", CONFIG, "--out", submission)
    run.command("check", "check", submission, "--images", data / "test")
    scores = run.function("score", lambda: score_and_draw(predictions, data, overlays))
    run.command(
        "report",
        *("report", predictions, "--ann", data / "test.csv", "--config", CONFIG),
        *("--images", data / "test", "--out", WORK_DIR / "report"),
    )
    if "ship" in steps:
        run.command(
            "ship",
            *("infer", "nuclei", SAMPLES, "--write", "overlay", "geojson", "csv"),
            *("--out-dir", WORK_DIR / "nuclei"),
            env=env,
        )

    print(f"\n{_places()}\n\n{_times(run.seconds)}\n\n{_score_lines(scores)}")
    if not scores["kaggle_map"] >= MIN_KAGGLE_MAP:
        print(
            f"\nFAILED: the competition mAP is {scores['kaggle_map']:.3f}, a model that has learned "
            f"reaches at least {MIN_KAGGLE_MAP:.2f}; see {training} and {overlays}"
        )
        return 1
    print(f"\n{_real_data()}")
    return 0


def score_and_draw(predictions: Path, data: Path, overlays: Path) -> dict[str, float]:
    """Score what was submitted against the truth of the test images, and draw both side by side."""
    postprocess = pipeline_from_config(CONFIG)
    final = [postprocess(prediction) for prediction in load_predictions(predictions)]
    records = read_sartorius(data / "test.csv", data / "test", workers=1).records
    scores = score_predictions(final, records)
    draw_comparisons(final, records, data / "test", overlays)
    return scores


def usable_devices() -> dict[str, str]:
    """Return the environment that hides a GPU for which mmcv's ops were not built: training would end in the first."""
    import torch

    if torch.cuda.is_available() and ops_fault("cuda"):
        return {"CUDA_VISIBLE_DEVICES": ""}
    return {}


def last_checkpoint(training: Path) -> str:
    """Return the checkpoint of the end of a training, as a path from here."""
    return os.path.relpath((training / "last_checkpoint").read_text().strip())


def draw_comparisons(
    predictions: Sequence[ImagePrediction],
    records: Sequence[ImageRecord],
    image_dir: Path,
    out_dir: Path,
) -> None:
    """Write one picture for each image: as it is, its true cells, the predicted ones, and the errors."""
    records_by_id = {Path(record.file_name).stem: record for record in records}
    for prediction in predictions:
        record = records_by_id[prediction.image_id]
        image = read_picture(image_dir, record)
        title = f"{record.cell_type or 'image'} {prediction.image_id}"
        picture = draw_comparison(image, record.masks, prediction.masks, title=title)
        write_picture(out_dir / f"{prediction.image_id}.png", picture)
    print(f"{len(predictions)} pictures are in {out_dir}")


def _score_lines(scores: Mapping[str, float]) -> str:
    lines = [f"Competition mAP on held-out images: {scores['kaggle_map']:.3f}"]
    for name, score in scores.items():
        if name != "kaggle_map":
            lines.append(f"  {name.removeprefix('kaggle_map_'):<8} {score:.3f}")
    return "\n".join(lines)


def _places() -> str:
    places = {
        "data/synthetic/": "images, train.csv, annotations/",
        "training/": "checkpoints, the whole config, logs",
        "predictions.pkl": "raw predictions of the test images",
        "submission.csv": "one row per cell",
        "overlays/": "look at these: image, truth, prediction, errors",
        "report/index.html": "open it in a browser: scores, errors, calibration, sizes",
    }
    if SAMPLES.is_dir():
        places["nuclei/"] = (
            "overlays, outlines for QuPath and a table of the nuclei in docs/samples"
        )
    return "\n".join(
        [f"In {WORK_DIR}/:", *(f"  {place:<19}{what}" for place, what in places.items())]
    )


def _times(seconds: Mapping[str, float]) -> str:
    parts = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    minutes, rest = divmod(round(sum(seconds.values())), 60)
    return f"Time: {minutes} min {rest} s ({parts} s)"


def real_data_commands() -> list[str]:
    """Return the commands that do the same with the competition's data, as the README places it."""
    results = f"work_dirs/{Path(REAL_CONFIG).stem}"
    sartorius = "data/sartorius"
    convert = ["convert", "sartorius", "--csv", f"{sartorius}/train.csv"]
    convert += ["--images", f"{sartorius}/train", "--out-dir", f"{sartorius}/annotations"]
    test = ["test", REAL_CONFIG, f"{results}/epoch_20.pth", "--split", "test"]
    test += ["--out", f"{results}/test.pkl"]
    submit = ["submit", f"{results}/test.pkl", "--config", REAL_CONFIG, "--out", "submission.csv"]
    return [
        shell_line(convert),
        shell_line(["train", REAL_CONFIG]),
        f"{shell_line(test)} && {shell_line(submit)}",
    ]


def _real_data() -> str:
    lines = ["The same for the competition's data (README.md says how to get it), with a GPU:"]
    return "\n".join([*lines, *(f"  {command}" for command in real_data_commands())])


def _ending(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    reason = " (is the memory full?)" if -code == signal.SIGKILL else ""
    return f"was killed by signal {signal.Signals(-code).name}{reason}"
