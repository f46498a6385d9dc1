from __future__ import annotations

import ast
import os
import select
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tools.environment import checks, layout, mmcv_ops, processes, steps
from tools.environment.layout import Layout, SetupError
from tools.environment.pythons import python_fault

ROOT = Path(__file__).resolve().parents[2]


# ---- what is pinned ----


def test_requirements_pin_all_that_the_steps_name():
    pins = Layout(ROOT).pins()
    tools = {*steps.BUILD_TOOLS, *mmcv_ops.COMPILE_TOOLS}
    assert {"torch", "torchvision", "opencv-python", "opencv-python-headless", *tools} <= set(pins)
    assert Layout(ROOT).mmcv()[0] in pins
    versions = {pins[name].split("==")[1] for name in pins if name.startswith("opencv-python")}
    assert len(versions) == 1  # the two share one folder


def test_pins_skip_comments_and_keep_markers():
    pins = layout.read_pins("# why\n\na==1  # because\nb-c==2; python_version < '3.11'\n")
    assert pins == {"a": "a==1", "b-c": "b-c==2; python_version < '3.11'"}


def test_a_range_among_the_pins_is_refused_with_its_line():
    with pytest.raises(SetupError, match=r"line 2: 'b>=2' is not 'name==version'"):
        layout.read_pins("a==1\nb>=2\n")


# ---- checks before anything long ----


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_supported_pythons(version):
    assert python_fault(version) == ""


@pytest.mark.parametrize("version", [(2, 7), (3, 6), (3, 10), (3, 14)])
def test_other_pythons_are_told_what_is_needed(version):
    sentence = python_fault(version)
    assert f"Python {version[0]}.{version[1]}, set-up needs 3.11 to 3.13" in sentence
    assert "PYTHON=python3.13" in sentence


@pytest.mark.parametrize("path", ["tools/setup_env.py", "tools/environment/pythons.py"])
def test_what_tells_old_pythons_can_be_read_by_them(path):
    tree = ast.parse((ROOT / path).read_text(), feature_version=(3, 6))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "__future__" not in [node.module for node in imports]


def test_a_python_without_ensurepip_is_told_which_package_has_it(monkeypatch):
    assert checks.venv_fault() == ""
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    assert "apt install python3-venv" in checks.venv_fault()


def test_disk_space():
    assert checks.disk_fault(8 * 10**9, Path("/here")) == ""
    sentence = checks.disk_fault(7_900_000_000, Path("/here"))
    assert sentence == "/here has 7.9 GB free, set-up needs 8 GB: make room."


def test_compiler_that_works():
    assert checks.compiler_fault(sysconfig.get_path("include"), "c++") == ""


def test_missing_python_headers(tmp_path):
    assert "apt install python3-dev" in checks.compiler_fault(str(tmp_path), "c++")


def test_missing_compiler():
    sentence = checks.compiler_fault("/", "no-such-compiler")
    assert "no C++ compiler 'no-such-compiler'" in sentence
    assert "apt install g++" in sentence


def test_compiler_that_fails_is_quoted(tmp_path):
    compiler = tmp_path / "old-c++"
    compiler.write_text("#!/bin/sh\necho unknown flag -std=c++17 >&2\nexit 1\n")
    compiler.chmod(0o755)
    assert "(unknown flag -std=c++17)" in checks.compiler_fault("/", str(compiler))


def test_only_what_is_pending_is_checked(monkeypatch, checkout):
    monkeypatch.setattr(checks, "NEEDED_BYTES", 10**30)
    assert checks.faults(checkout, {"project", "doctor"}) == []
    (sentence,) = checks.faults(checkout, {"torch"})
    assert "make room" in sentence


# ---- packages installed in part ----


def install(site: Path, name: str, files: dict[str, str], *, recorded: dict[str, int]) -> Path:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    for path, text in files.items():
        (site / path).parent.mkdir(exist_ok=True)
        (site / path).write_text(text)
    rows = [f"{path},sha256=x,{size}" for path, size in recorded.items()]
    (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,"]))
    return info


def test_packages_that_are_there_only_in_part_are_found(tmp_path):
    install(tmp_path, "whole", {"whole/a.py": "1234"}, recorded={"whole/a.py": 4})
    missing = install(tmp_path, "missing", {}, recorded={"missing/a.py": 4})
    short = install(tmp_path, "short", {"short/a.py": "12"}, recorded={"short/a.py": 4})
    unrecorded = tmp_path / "unrecorded-1.0.dist-info"
    unrecorded.mkdir()
    install(tmp_path, "opencv", {"cv2/cv2.so": "other wheel"}, recorded={"cv2/cv2.so": 4})
    install(tmp_path, "compiled", {"a.pyc": "anew"}, recorded={"a.pyc": 3})
    assert layout.broken_distributions(tmp_path) == [missing, short, unrecorded]


# ---- stamps ----


def counting_step(name: str, calls: list[str], key: str = "1", fails: bool = False) -> steps.Step:
    def action(_: Layout) -> None:
        calls.append(name)
        if fails:
            raise KeyboardInterrupt

    return steps.Step(name, name, lambda _: key, action)


def test_a_second_run_does_nothing_and_a_new_key_runs_its_step_alone(monkeypatch, checkout):
    calls: list[str] = []
    monkeypatch.setattr(steps, "STEPS", [counting_step(name, calls) for name in "abc"])
    steps.run_pending(checkout)
    steps.run_pending(checkout)
    assert calls == ["a", "b", "c"]
    changed = [counting_step("a", calls), counting_step("b", calls, key="2"), *steps.STEPS[2:]]
    monkeypatch.setattr(steps, "STEPS", changed)
    steps.run_pending(checkout)
    assert calls == ["a", "b", "c", "b"]


def test_an_interrupted_run_goes_on_at_the_step_it_was_in(monkeypatch, capsys, checkout):
    calls: list[str] = []
    first, last = counting_step("first", calls), counting_step("last", calls)
    middle = counting_step("middle", calls, fails=True)
    monkeypatch.setattr(steps, "STEPS", [first, middle, last])
    assert steps.set_up(checkout.root) == 130
    assert "goes on where it stopped" in capsys.readouterr().err
    monkeypatch.setattr(steps, "STEPS", [first, counting_step("middle", calls), last])
    assert steps.set_up(checkout.root) == 0
    assert calls == ["first", "middle", "middle", "last"]


def test_a_step_that_is_run_again_and_interrupted_does_not_count_as_done(checkout):
    checkout.set_stamp("a", "old")
    with pytest.raises(KeyboardInterrupt):
        counting_step("a", [], key="new", fails=True).run(checkout)
    assert checkout.stamp("a") == ""


def test_an_environment_whose_python_is_gone_is_not_done(checkout):
    checkout.set_stamp("venv", steps.venv_key(checkout))
    venv = next(step for step in steps.STEPS if step.name == "venv")
    assert venv.is_done(checkout)
    checkout.python.unlink()
    checkout.python.symlink_to(checkout.root / "removed-python")
    assert not venv.is_done(checkout)


def test_another_torch_asks_for_other_ops(monkeypatch, checkout):
    monkeypatch.setenv("OPS", "compiled")
    before = steps.mmcv_key(checkout)
    info = checkout.site_packages() / "torch-2.13.0+cpu.dist-info"
    info.rename(info.with_name("torch-2.14.0.dist-info"))
    assert steps.mmcv_key(checkout) != before


def test_operators_are_portable_and_stay_what_they_were_made(monkeypatch, checkout):
    assert checkout.ops() == "portable"
    portable = steps.mmcv_key(checkout)
    monkeypatch.setenv("OPS", "compiled")
    assert steps.mmcv_key(checkout) != portable
    monkeypatch.setattr(steps, "install_compiled", lambda layout: None)
    steps.install_mmcv(checkout)
    monkeypatch.delenv("OPS")
    assert checkout.ops() == "compiled"
    monkeypatch.setenv("OPS", "portable")
    assert steps.mmcv_key(checkout) == portable


def test_other_operators_are_refused(monkeypatch, checkout):
    monkeypatch.setenv("OPS", "fast")
    with pytest.raises(SetupError, match="OPS=fast is not one of portable, compiled"):
        checkout.ops()


def test_portable_operators_need_no_compiler(monkeypatch, checkout):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert checks.faults(checkout, {"mmcv"}) == []
    monkeypatch.setenv("OPS", "compiled")
    assert "no-such-compiler" in checks.faults(checkout, {"mmcv"})[0]


@pytest.mark.parametrize(
    ("gpu", "ops", "wanted"),
    [
        (False, "portable", ["torch==2.13.0"]),
        (True, "portable", ["torch==2.13.0", "torchvision==0.28.0"]),
        (True, "compiled", ["torch==2.13.0"]),
    ],
)
def test_torchvision_comes_where_its_operators_serve(monkeypatch, checkout, gpu, ops, wanted):
    calls = []
    monkeypatch.setenv("OPS", ops)
    monkeypatch.delenv("CELLSEG_TORCH_INDEX", raising=False)
    monkeypatch.setattr(steps, "nvidia_device", lambda: gpu)
    monkeypatch.setattr(steps, "pip", lambda _, *arguments: calls.append(list(arguments)))
    monkeypatch.setattr(steps, "forget_broken", lambda _: None)
    steps.install_torch(checkout)
    assert calls == [["install", *wanted]]


def test_the_pure_mmcv_is_built_past_what_lies_in_a_cache(monkeypatch, checkout):
    calls = []

    def run(command, **options):
        calls.append((command, options["env"]["MMCV_WITH_OPS"]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(steps, "run", run)
    steps.install_pure(checkout)
    ((command, with_ops),) = calls
    assert command[-2:] == ["onedl-mmcv", "onedl-mmcv==2.3.6"]
    assert {"--no-cache-dir", "--no-deps", "--no-binary"} <= set(command)
    assert with_ops == "0"


def test_a_gpu_asks_for_other_ops_once_and_its_absence_for_none(monkeypatch, checkout):
    monkeypatch.setenv("OPS", "compiled")
    monkeypatch.setattr(steps, "find_nvcc", lambda: Path("/cuda/bin/nvcc"))
    monkeypatch.setattr(steps, "nvidia_device", lambda: False)
    without = steps.mmcv_key(checkout)
    monkeypatch.setattr(steps, "nvidia_device", lambda: True)
    with_gpu = steps.mmcv_key(checkout)
    assert with_gpu != without
    checkout.set_stamp("mmcv", with_gpu)
    monkeypatch.setattr(steps, "nvidia_device", lambda: False)
    assert steps.mmcv_key(checkout) == with_gpu


# ---- processes ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_interrupt_as_ctrl_c_does(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), processes.interruptible():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_two_set_ups_of_one_checkout_take_turns(capsys, checkout):
    script = "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; " + (
        "from tools.environment import layout, processes; "
        "made = layout.Layout(Path(sys.argv[2])); processes.lock(made).__enter__(); print('got it')"
    )
    command = [sys.executable, "-c", script, str(ROOT), str(checkout.root)]
    with processes.lock(checkout):
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert "waiting for it" in waiting.stdout.readline()
    assert waiting.communicate(timeout=30)[0] == "got it\n"


def test_what_leads_pip_elsewhere_is_left_out(monkeypatch):
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    variables = processes.environment(EXTRA="1")
    assert "PIP_TARGET" not in variables
    assert (variables["PIP_FIND_LINKS"], variables["EXTRA"]) == ("/wheels", "1")


def test_run_logged_returns_the_status_and_keeps_the_output(tmp_path):
    log = tmp_path / "build.log"
    status = processes.run_logged(["sh", "-c", "echo out; echo err >&2; exit 3"], log, str)
    assert status == 3
    assert log.read_text() == "out\nerr\n"


def test_an_interrupt_stops_the_compilers_too(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "HEARTBEAT_SECONDS", 0.02)
    pipe, pipe_end = os.pipe()
    os.set_inheritable(pipe_end, True)
    log = tmp_path / "build.log"

    def heartbeat() -> str:
        if "started" in log.read_text():
            raise KeyboardInterrupt
        return "waiting"

    # The inner process stands for a compiler below ninja; the pipe ends when the last of them does.
    with pytest.raises(KeyboardInterrupt):
        processes.run_logged(["sh", "-c", "echo started; sleep 600 & wait"], log, heartbeat)
    os.close(pipe_end)
    ended, _, _ = select.select([pipe], [], [], 10)
    os.close(pipe)
    assert ended
