"""`cellseg` as a whole: what it loads, what it prints, and how it ends."""

from __future__ import annotations

import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cellseg_mmdet import __version__
from cellseg_mmdet.cli import COMMANDS, build_parser, main, run
from cellseg_mmdet.errors import UsageError

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "mmcv", "mmdet", "mmengine", "numpy", "cv2", "scipy", "numba")

# For each command: arguments that cannot be parsed, and what is said of them.
BAD_ARGUMENTS = {
    "browse": (["config.py"], "--out-dir"),
    "check": (["s.csv"], "--images"),
    "completion": (["fish"], "invalid choice"),
    "convert": (["cityscapes"], "invalid choice"),
    "curves": (["run", "--smooth", "0"], "0: must be a number from 1 on"),
    "demo": (["more"], "unrecognized arguments: more"),
    "doctor": (["--fast"], "unrecognized arguments: --fast"),
    "ensemble": (["a.pkl", "b.pkl"], "--out"),
    "evaluate": (["a.pkl"], "--ann"),
    "export": (["a.pkl", "--to", "excel", "--out-dir", "out"], "invalid choice: 'excel'"),
    "feature-maps": (["config.py", "model.pth"], "IMAGE"),
    "infer": (["config.py", "model.pth", "a.png"], "--out-dir"),
    "measure": (["masks"], "--out"),
    "models": (["nuclei", "phase"], "unrecognized arguments: phase"),
    "report": (["a.pkl", "--ann", "a.json"], "--out"),
    "submit": (["a.pkl"], "--out"),
    "test": (["config.py"], "CHECKPOINT"),
    "train": (["config.py", "--launcher", "cron"], "invalid choice: 'cron'"),
    "tune": (["a.pkl", "--ann", "a.json", "--out", "t.py"], "--config"),
}
# For each command that takes files: arguments that name none that is there, and what is said of them.
MISSING_FILES = {
    "browse": (["none.py", "--out-dir", "out"], "none.py"),
    "check": (["none.csv", "--images", "none"], "none"),
    "convert": (["npz", "--masks", "none", "--images", ".", "--out", "a.json"], "none"),
    "curves": (["none"], "none"),
    "ensemble": (["none.pkl", "--out", "f.pkl"], "none.pkl"),
    "evaluate": (["none.csv", "--ann", "none.json"], "none."),
    "export": (["none.pkl", "--to", "geojson", "--out-dir", "out"], "none.pkl"),
    "feature-maps": (["none.py", "none.pth", "none.png", "--out-dir", "out"], "none."),
    "infer": (["none.py", "none.pth", "none.png", "--out-dir", "out"], "none."),
    "measure": (["none.json", "--out", "cells.csv"], "none.json"),
    "models": (["none"], "none"),
    "report": (["none.csv", "--ann", "none.json", "--out", "out"], "none."),
    "submit": (["none.pkl", "--config", "none.py", "--out", "s.csv"], "none.py"),
    "test": (["none.py", "none.pth"], "none.py"),
    "train": (["none.py"], "none.py"),
    "tune": (["none.pkl", "--ann", "n.json", "--config", "none.py", "--out", "t.py"], "none.p"),
}


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def status(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_overview_loads_nothing_heavy(option: str) -> None:
    script = (
        "import sys\n"
        "from cellseg_mmdet.cli import main\n"
        "try:\n"
        f"    main([{option!r}])\n"
        "finally:\n"
        f"    print('loaded', sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = python("-c", script)
    assert done.returncode == 0
    assert done.stderr == "loaded []\n"
    assert __version__ in done.stdout or all(name in done.stdout for name in COMMANDS)


@pytest.mark.slow
def test_the_help_of_every_command_needs_no_torch() -> None:
    script = (
        "import sys\n"
        "from cellseg_mmdet.cli import COMMANDS, main\n"
        "sys.modules.update(dict.fromkeys(('torch', 'mmcv', 'mmdet', 'mmengine')))\n"
        "for name in COMMANDS:\n"
        "    try:\n"
        "        main([name, '--help'])\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0, name\n"
    )
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"usage: cellseg {name} " in done.stdout


def test_the_overview_has_a_line_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    for name, summary in COMMANDS.items():
        assert f"  {name:<13} {summary}" in lines
    modules = {path.stem.replace("_", "-") for path in (ROOT / "cellseg_mmdet/cli").glob("*.py")}
    assert modules - {"--init--", "arguments"} == set(COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--version") == 0
    assert capsys.readouterr().out == f"cellseg {__version__}\n"


def test_no_command_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert status() == 2
    assert "feature-maps" in capsys.readouterr().err


def test_an_unknown_command_is_named_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status("predict") == 2
    error = capsys.readouterr().err
    assert "'predict'" in error and "infer" in error


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_a_description_and_examples_that_can_be_parsed(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(name, "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: cellseg {name} ")
    examples = [line.strip() for line in text.partition("\nexamples:\n")[2].splitlines()]
    commands = [line.partition("#")[0].partition(">")[0] for line in examples if "cellseg" in line]
    assert commands
    for command in commands:
        words = command.replace("source <(", "").replace(")", "").replace("'", "").split()
        assert words[0] == "cellseg"
        if words[-1] != "--help":
            assert build_parser().parse_args(words[1:]).command == name


@pytest.mark.parametrize("name", COMMANDS)
def test_bad_arguments_end_with_2_and_say_which(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = BAD_ARGUMENTS[name]
    assert status(name, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"usage: cellseg {name} ")
    assert message in error.splitlines()[-1]


@pytest.mark.parametrize("name", MISSING_FILES)
def test_files_that_are_missing_are_told_in_a_line(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, message = MISSING_FILES[name]
    code = status(name, *arguments)
    if name == "check":  # 1 is that of a file with faults
        assert code == 2
        code = capsys.readouterr().err
    assert str(code).startswith("error: ") and message in str(code)
    assert not list(tmp_path.iterdir())


def test_run_lets_errors_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"none\.py"):
        run(["submit", "none.pkl", "--config", "none.py", "--out", "s.csv"])


def test_a_fault_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(args: object) -> None:
        raise ValueError("of a library")

    monkeypatch.setattr("cellseg_mmdet.cli.doctor.run", fault)
    with pytest.raises(ValueError, match="of a library"):
        main(["doctor"])


def test_a_missing_stack_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(args: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("cellseg_mmdet.cli.doctor.run", missing)
    assert status("doctor") == (
        "error: cellseg doctor needs torch, which is not installed; `cellseg doctor` says what is there"
    )


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    script = (
        "import sys\n"
        "from cellseg_mmdet import cli\n"
        "import cellseg_mmdet.cli.doctor as doctor\n"
        "doctor.run = lambda args: print('line\\n' * 100000)\n"
        "cli.main(['doctor'])\n"
    )
    command = f'"{sys.executable}" -c "$0" | head -n 1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command, script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (141, "line\n", "")


@pytest.mark.slow
def test_as_a_module() -> None:
    done = python("-m", "cellseg_mmdet", "--version")
    assert (done.returncode, done.stdout) == (0, f"cellseg {__version__}\n")


SHIMS = {
    "browse_dataset": "browse",
    "check_submission": "check",
    "demo": "demo",
    "ensemble": "ensemble",
    "evaluate": "evaluate",
    "feature_maps": "feature-maps",
    "infer": "infer",
    "make_submission": "submit",
    "plot_curves": "curves",
    "report": "report",
    "test": "test",
    "train": "train",
    "tune_postprocess": "tune",
    "dataset_converters/dsb2018": "convert dsb2018",
    "dataset_converters/label_images": "convert label-images",
    "dataset_converters/livecell": "convert livecell",
    "dataset_converters/mmdet_pickle": "convert mmdet-pickle",
    "dataset_converters/npz_masks": "convert npz",
    "dataset_converters/sartorius": "convert sartorius",
    "dataset_converters/synthetic": "convert synthetic",
}


@pytest.mark.parametrize("tool", SHIMS)
def test_a_tool_is_its_command(
    tool: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{tool}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / f"tools/{tool}.py"), run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: cellseg {SHIMS[tool]} ")


def test_every_tool_is_a_command_or_set_up() -> None:
    paths = [*(ROOT / "tools").glob("*.py"), *(ROOT / "tools/dataset_converters").glob("*.py")]
    names = {path.relative_to(ROOT / "tools").with_suffix("").as_posix() for path in paths}
    assert names - {"setup_env"} == set(SHIMS)


def test_a_command_is_one_file_and_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = type(sys)("cellseg_mmdet.cli.count_cells", "Count cells.")
    module.EXAMPLES = "  cellseg count-cells a.csv\n"
    module.add_arguments = lambda parser: parser.add_argument("file")
    module.run = lambda args: print(f"counted {args.file}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, "count-cells", "count cells")
    assert run(["count-cells", "a.csv"]) is None
    assert capsys.readouterr().out == "counted a.csv\n"


ABORTS_AT_THE_END = """
import argparse, atexit, os, sys
from cellseg_mmdet.cli.arguments import leave_launcher

class Library:
    def __del__(self):
        os.abort()

sys.modules["__main__"].library = Library()
atexit.register(print, "exit handlers ran")
print("work is done")
leave_launcher(argparse.Namespace(launcher=sys.argv[1]), int(sys.argv[2]))
"""


@pytest.mark.parametrize(("launcher", "status"), [("pytorch", 0), ("slurm", 3)])
def test_a_process_of_a_launcher_is_not_aborted_by_a_library_at_its_end(
    launcher: str, status: int
) -> None:
    command = [sys.executable, "-c", ABORTS_AT_THE_END]
    alone = subprocess.run([*command, "none", "0"], capture_output=True, text=True, check=False)
    assert alone.returncode == -signal.SIGABRT

    done = subprocess.run(
        [*command, launcher, str(status)], capture_output=True, text=True, check=False
    )

    assert done.returncode == status, done.stderr
    assert done.stdout == "work is done\nexit handlers ran\n"
