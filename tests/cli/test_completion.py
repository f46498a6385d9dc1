from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cellseg_mmdet.cli import COMMANDS, build_parser, main, run
from cellseg_mmdet.cli.completion import SHELLS, complete_files

shtab = pytest.importorskip("shtab")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_the_script(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["completion", shell])
    script = capsys.readouterr().out
    for name in (*COMMANDS, "label-images", "soft-masks", "ground-truth"):
        assert name in script


def complete(words: list[str], folder: Path, script: Path) -> set[str]:
    """Return what bash offers for the last of the words."""
    typed = " ".join(f"'{word}'" for word in words)
    code = (
        f"source '{script}'; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; "
        "$(complete -p cellseg | sed -E 's/.*-F ([^ ]+).*/\\1/'); printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["completion", "bash"])
    script = tmp_path / "completion.sh"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.csv").touch()
    assert complete(["cellseg", "t"], tmp_path, script) == {"train", "test", "tune"}
    assert complete(["cellseg", "convert", "l"], tmp_path, script) == {"label-images", "livecell"}
    assert complete(["cellseg", "test", "--spl"], tmp_path, script) == {"--split"}
    assert complete(["cellseg", "test", "--split", ""], tmp_path, script) == {"val", "test"}
    assert complete(["cellseg", "check", "f"], tmp_path, script) == {"folder", "file.csv"}
    assert complete(["cellseg", "check", "--images", "f"], tmp_path, script) == {"folder"}


def test_a_name_is_no_file() -> None:
    parser = build_parser()
    complete_files(parser)
    tune = parser._subparsers._group_actions[0].choices["tune"]
    completed = {action.dest: getattr(action, "complete", None) for action in tune._actions}
    assert completed["predictions"] == completed["config"] == shtab.FILE
    assert completed["only"] is completed["trials"] is completed["one_for_all"] is None


def test_without_shtab_it_is_told_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit, match=r"^error: shtab is not installed"):
        main(["completion", "bash"])
