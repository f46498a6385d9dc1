from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.cli import run as cellseg
from tests.tuning.scenes import images, write_dump

pytestmark = pytest.mark.slow

TOOLS = Path(__file__).parents[2] / "tools"
ARGUMENTS = ["preds.pkl", "--ann", "val.json", "--config", "leaf.py", "--out", "tuned.py"]
ONLY = ["--only", "ScoreThreshold.score_thr"]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Predictions of six images, their annotations, and a config."""
    monkeypatch.chdir(tmp_path)
    predictions, records = images(6)
    write_dump(Path("preds.pkl"), predictions)
    write_annotations("val.json", records)
    Path("leaf.py").write_text(
        'metainfo = dict(classes=("astro", "cort"))\n'
        'postprocess = [dict(type="ScoreThreshold", score_thr=0.5), dict(type="RemoveOverlaps")]\n'
    )
    return tmp_path


def run(tool: str, *arguments: str) -> None:
    cellseg([tool, *arguments])


@pytest.mark.slow
def test_a_config_with_better_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    run("tune", *ARGUMENTS, *ONLY, "--trials", "25", "--jobs", "2")
    out = capsys.readouterr().out
    assert "numbers to search for: ScoreThreshold.score_thr.astro, " in out
    stated = re.search(r"overall +6 +(\S+) +(\S+) +(\S+)\n", out).groups()
    assert stated[1:] == ("1.0000", "1.0000")
    assert "a gain on new images too" in out
    assert out.endswith("tuned.py: config with the numbers found in 25 trials\n")

    for config, score in zip(("leaf.py", "tuned.py"), stated, strict=False):
        score_it = ["preds.pkl", "--ann", "val.json", "--config", config, "--out", "report.json"]
        run("evaluate", *score_it)
        report = json.loads(Path("report.json").read_text())
        assert f"{report['overall']['kaggle_map']:.4f}" == score


def test_the_same_command_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    for trials, added in (("2", 6), ("4", 6), ("4", 0)):
        run("tune", *ARGUMENTS, "--trials", trials, "--jobs", "1")
        captured = capsys.readouterr()
        assert f"config with the numbers found in {trials} trials" in captured.out
        assert f"{added}/{added}" in captured.err or not added


def test_one_number_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    run(
        "tune",
        *ARGUMENTS,
        *ONLY,
        "--one-for-all",
        "--trials",
        "2",
        "--folds",
        "3",
        "--jobs",
        "1",
    )
    out = capsys.readouterr().out
    assert "numbers to search for: ScoreThreshold.score_thr\n" in out
    assert "not in 3" in out


def test_one_class(capsys: pytest.CaptureFixture[str]) -> None:
    predictions, _ = images(6)
    write_dump(Path("preds.pkl"), predictions[::2])  # label 0 only
    Path("leaf.py").write_text(Path("leaf.py").read_text().replace('"astro", "cort"', '"cell",'))
    run("tune", *ARGUMENTS, "--trials", "2", "--jobs", "1")
    assert "the model has one class: its numbers are those of all cell types" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "MinArea.min_area_px"], "leaf.py: the `postprocess` list has no number"),
        (["--folds", "7"], "Ask for fewer folds"),
    ],
)
def test_errors_are_told_in_a_line(arguments: list[str], message: str) -> None:
    command = [sys.executable, str(TOOLS / "tune_postprocess.py"), *ARGUMENTS, *arguments]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(TOOLS.parent)},
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("tuned.py").exists()
