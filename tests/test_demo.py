from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet import demo
from cellseg_mmdet.converters.readers.sartorius import read_sartorius
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord, from_records
from cellseg_mmdet.synthetic import write_dataset

ROOT = Path(__file__).parents[1]
HEAD = "2024/05/01 10:00:00 - mmengine - INFO - "


@pytest.fixture
def runner(tmp_path: Path) -> demo.StepRunner:
    return demo.StepRunner(
        tmp_path / "logs", {"first": "do the first thing", "second": "do the second"}
    )


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "tool.py"
    path.write_text(
        "import os, sys\n"
        "print('loss 3')\n"
        "print('noise', file=sys.stderr)\n"
        "print('fold', os.environ.get('CELLSEG_FOLD'), 'data', os.environ.get('CELLSEG_DATA'))\n"
        "code = int(sys.argv[1])\n"
        "os.kill(os.getpid(), -code) if code < 0 else sys.exit(code)\n"
    )
    return path


def only_loss(line: str) -> str | None:
    return line.strip() if "loss" in line else None


def test_step_is_announced_shown_timed_and_filtered_while_the_log_has_all(
    runner: demo.StepRunner, script: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runner.command("second", script, "0", show=only_loss)
    out, err = capfd.readouterr()
    assert "[2/2] do the second" in out and f"{script} 0" in out
    assert "  loss 3\n" in out and "noise" not in out + err
    assert "noise" in (runner.log_dir / "second.txt").read_text()
    assert list(runner.seconds) == ["second"]


def test_unfiltered_step_shows_everything(
    runner: demo.StepRunner, script: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runner.command("first", script, "0")
    out, err = capfd.readouterr()
    assert "loss 3" in out and "noise" in err


def test_only_the_steps_own_settings_reach_the_config(
    runner: demo.StepRunner, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLSEG_FOLD", "3")
    runner.command("first", script, "0", env={"CELLSEG_DATA": "here"}, show=only_loss)
    assert "fold None data here" in (runner.log_dir / "first.txt").read_text()


def test_failing_step_stops_with_its_name_code_and_last_lines(
    runner: demo.StepRunner, script: Path
) -> None:
    with pytest.raises(
        demo.StepError,
        match=r"'first' ended with exit code 3; the end of .*first\.txt:\n\n(.*\n)*noise",
    ):
        runner.command("first", script, "3", show=only_loss)
    with pytest.raises(
        demo.StepError, match=r"'second' was killed by signal SIGKILL \(is the memory full\?\)"
    ):
        runner.command("second", script, "-9")
    assert runner.seconds == {}


def test_interrupt_ends_the_running_command(runner: demo.StepRunner, tmp_path: Path) -> None:
    tool, survived = tmp_path / "endless.py", tmp_path / "survived"
    tool.write_text(
        "import pathlib, signal\n"
        "signal.signal(signal.SIGALRM, lambda *_: None)\n"
        "signal.alarm(20)\n"
        "print('ready')\n"
        "signal.pause()\n"
        f"pathlib.Path({str(survived)!r}).touch()\n"
    )

    def interrupt(line: str) -> None:
        demo.exit_on_signal(15, None)

    with pytest.raises(SystemExit, match="143"):
        runner.command("first", tool, show=interrupt)
    assert not survived.exists()


@pytest.mark.parametrize(
    ("line", "brief"),
    [
        (
            "Epoch(train)   [3][6/6]  base_lr: 1.0e-03 lr: 1.0e-03  eta: 0:02:05  time: 0.5  data_time: 0.1  "
            "grad_norm: 2.1  loss: 1.2345  loss_rpn_cls: 0.2  loss_mask: 0.5\n",
            "epoch   3, iteration 6/6   loss 1.2345   0:02:05 left",
        ),
        (
            "Iter(train) [ 20/900]  base_lr: 1.0e-03  eta: 1 day, 0:02:05  time: 0.5  loss: nan\n",
            "iteration  20/900   loss nan   1 day, 0:02:05 left",
        ),
        (
            "Epoch(val)  [5][6/6]    cell/kaggle_map: 0.4123  cell/kaggle_map_astro: 0.3000  data_time: 0.1\n",
            "kaggle_map 0.412   kaggle_map_astro 0.300",
        ),
        (
            "Predictions of 6 images are in held_out.pkl\n",
            "Predictions of 6 images are in held_out.pkl",
        ),
        ("Epoch(val)  [5][ 3/6]    eta: 0:00:02  time: 0.2\n", None),
        ("Hooks will be executed in the following order:\n", None),
    ],
    ids=["epoch", "iteration", "scores", "dump", "progress of validation", "noise"],
)
def test_brief_log_line(line: str, brief: str | None) -> None:
    assert demo.brief_log_line(HEAD + line) == brief


def test_shell_line_can_be_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    line = demo.shell_line(["tool.py", "--out", "a file"], {"CELLSEG_DATA": "x y"})
    assert shlex.split(line) == [
        "CELLSEG_DATA=x y",
        ".venv/bin/python",
        "tool.py",
        "--out",
        "a file",
    ]
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert demo.shell_line(["tool.py"]) == "python tool.py"


def test_commands_for_real_data_name_tools_and_configs_that_exist() -> None:
    words = [word for command in demo.real_data_commands() for word in shlex.split(command)]
    named = [word for word in words if word.endswith(".py")] + [demo.CONFIG]
    assert len(named) >= 7
    for word in named:
        assert (ROOT / word).is_file(), word


def test_last_checkpoint_is_relative_to_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "training").mkdir()
    (tmp_path / "training/last_checkpoint").write_text(f"{tmp_path}/training/epoch_4.pth\n")
    assert demo.last_checkpoint(Path("training")) == "training/epoch_4.pth"


def test_comparison_shows_image_truth_prediction_and_errors(tmp_path: Path) -> None:
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 10:30] = 1
    masks = Runs.from_label_map(labels)
    record = ImageRecord("one.png", 40, 60, masks, ("cort",), cell_type="cort")
    assert cv2.imwrite(str(tmp_path / "one.png"), np.full((40, 60), 90, np.uint8))
    demo.draw_comparisons(from_records([record]), [record], tmp_path, tmp_path / "overlays")

    picture = cv2.imread(str(tmp_path / "overlays/one.png"))
    below_titles = picture[34:]  # a title may be in colours
    colored = [
        (panel.max(axis=2).astype(int) - panel.min(axis=2) > 20).sum()
        for panel in np.array_split(below_titles, 4, axis=1)
    ]
    assert colored[0] == 0 and colored[1] == colored[2] == 4 * masks.areas[0]


@pytest.mark.parametrize(("score", "code"), [(0.30, 0), (0.29, 1), (float("nan"), 1)])
def test_a_score_that_is_too_low_fails(
    score: float,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def pretend(self: demo.StepRunner, name: str, *_: object, **__: object) -> None:
        self.seconds[name] = 61.0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo.StepRunner, "command", pretend)
    monkeypatch.setattr(demo, "last_checkpoint", lambda _: "epoch_1.pth")
    scores = {"kaggle_map": score, "kaggle_map_cort": 0.5}
    monkeypatch.setattr(demo, "score_and_draw", lambda *_: scores)
    (tmp_path / demo.WORK_DIR / "left over").mkdir(parents=True)

    assert demo.run_demo() == code
    out = capsys.readouterr().out
    assert f"mAP on held-out images: {score:.3f}" in out and "cort     0.500" in out
    assert "Time: 7 min 7 s (generate 61" in out
    assert ("tools/train.py" in out) == (code == 0)
    assert ("FAILED" in out) == (code == 1)
    assert not (tmp_path / demo.WORK_DIR / "left over").exists()


def test_truth_scores_one_and_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path / "data", 0, 3, height=96, width=128, workers=1)
    records = read_sartorius(tmp_path / "data/test.csv", tmp_path / "data/test", workers=1).records
    monkeypatch.chdir(ROOT)
    one_class = [replace(record, categories=("cell",) * len(record.masks)) for record in records]
    monkeypatch.setattr(demo, "load_predictions", lambda _: from_records(one_class))
    scores = demo.score_and_draw(Path("unused"), tmp_path / "data", tmp_path / "overlays")
    assert scores == dict.fromkeys(scores, 1.0) and len(scores) == 4
    drawn = sorted(path.stem for path in (tmp_path / "overlays").iterdir())
    assert drawn == sorted(Path(record.file_name).stem for record in records)
