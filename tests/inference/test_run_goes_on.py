"""Runs that are repeated, changed, interrupted or damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.inference import infer_images, plan
from tests.inference.bright_patches import BrightPatches, squares
from tests.inference.runs import ALL, EXECUTOR_NAMES, results_of


def test_the_same_call_again_predicts_nothing_and_writes_the_same(folder: Path, out: Path) -> None:
    infer_images(BrightPatches(), plan([folder]), out, write=ALL)
    before = results_of(out)
    model = BrightPatches(refuses=True)  # is not even loaded
    summary = infer_images(model, plan([folder]), out, write=ALL)
    assert results_of(out) == before and summary.num_resumed == 4
    assert str(summary).endswith("4 cells in 4 images, 4 of them finished by an earlier run")


def test_new_and_changed_images_are_predicted_and_those_gone_leave_nothing(
    folder: Path, tmp_path: Path, out: Path
) -> None:
    infer_images(BrightPatches(), plan([folder]), out, write=ALL)
    (folder / "d.png").unlink()
    assert cv2.imwrite(str(folder / "a.png"), squares(30, 60, 5, 5, 5))
    assert cv2.imwrite(str(folder / "e.png"), squares(30, 50, 6))
    model = BrightPatches()
    infer_images(model, plan([folder]), out, write=ALL)
    assert model.batches == [["a"], ["e"]]
    infer_images(BrightPatches(), plan([folder]), tmp_path / "anew", write=ALL)
    assert results_of(out) == results_of(tmp_path / "anew")


def test_another_writer_needs_no_new_predictions(folder: Path, tmp_path: Path, out: Path) -> None:
    infer_images(BrightPatches(), plan([folder]), out, write=["coco"])
    model = BrightPatches(refuses=True)
    infer_images(model, plan([folder]), out, write=["coco", "overlay"])
    (out / "overlays/c.png").unlink()
    infer_images(model, plan([folder]), out, write=["coco", "overlay"])
    infer_images(BrightPatches(), plan([folder]), tmp_path / "anew", write=["coco", "overlay"])
    assert results_of(out) == results_of(tmp_path / "anew")


@pytest.mark.parametrize("resume", [None, True])
def test_the_run_of_another_model_is_refused_and_removed_when_asked(
    folder: Path, tmp_path: Path, out: Path, resume: bool | None
) -> None:
    infer_images(BrightPatches(), plan([folder]), out, write=ALL)
    before = results_of(out)
    other = BrightPatches(min_score=0.5)
    with pytest.raises(UsageError, match=r"another post-processing.*--no-resume"):
        infer_images(other, plan([folder / "a.png"]), out, resume=resume)
    assert results_of(out) == before
    infer_images(other, plan([folder / "a.png"]), out, resume=False)
    infer_images(other, plan([folder / "a.png"]), tmp_path / "anew")
    assert results_of(out) == results_of(tmp_path / "anew")


def test_pictures_of_unknown_runs_are_not_mixed_with_ours(folder: Path, out: Path) -> None:
    (out / "overlays").mkdir(parents=True)
    (out / "overlays/stranger.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"stranger\.png"):
        infer_images(BrightPatches(), plan([folder]), out)
    infer_images(BrightPatches(), plan([folder]), out, write=["coco"])


@pytest.mark.parametrize("where", ["images/found", "images"])
def test_results_are_not_taken_for_input(folder: Path, tmp_path: Path, where: str) -> None:
    out = tmp_path / where
    for _ in range(2):
        tasks = plan([folder], recursive=True, out_dir=out)
        assert [task.key.name for task in tasks] == ["a", "b", "c", "d"]
        infer_images(BrightPatches(), tasks, out)
    if where != "images":  # nor by a run that writes elsewhere
        assert len(plan([folder], recursive=True, out_dir=tmp_path / "elsewhere")) == 4


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_what_a_kill_cut_off_is_predicted_again(folder: Path, out: Path, cut: int) -> None:
    infer_images(BrightPatches(), plan([folder]), out, write=ALL)
    before = results_of(out)
    finished = out / ".cellseg-run/finished"
    with finished.open("r+b") as file:
        file.truncate(finished.stat().st_size - cut)
    model = BrightPatches()
    infer_images(model, plan([folder]), out, write=ALL)
    assert model.batches == [["d"]]
    assert results_of(out) == before


def test_two_runs_do_not_write_to_one_folder(folder: Path, out: Path) -> None:
    class Second(BrightPatches):
        def load(self, device: str | None = None) -> BrightPatches:
            with pytest.raises(UsageError, match="another run writes"):
                infer_images(BrightPatches(), plan([folder]), out)
            return self

    assert infer_images(Second(), plan([folder]), out).num_images == 4


def test_a_damaged_record_is_named(folder: Path, out: Path) -> None:
    infer_images(BrightPatches(), plan([folder]), out)
    (out / ".cellseg-run/run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run\.json is damaged"):
        infer_images(BrightPatches(), plan([folder]), out)


RUN = """\
import sys
from cellseg_mmdet.inference import infer_images, plan
from tests.inference.bright_patches import BrightPatches

if __name__ == "__main__":
    folder, out, executor = sys.argv[1:]
    infer_images(BrightPatches(pause_s=0.02), plan([folder]), out, write={write}, executor=executor, workers=2)
"""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTOR_NAMES)
def test_killed_at_any_moment_the_same_command_goes_on(tmp_path: Path, executor: str) -> None:
    source, out = tmp_path / "images", tmp_path / "out"
    source.mkdir()
    for number in range(40):
        assert cv2.imwrite(str(source / f"{number:02d}.png"), squares(30, 50, 1 + number % 18, 5))
    script = tmp_path / "run.py"
    script.write_text(RUN.format(write=ALL))
    command = [sys.executable, str(script), str(source), str(out), executor]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    finished = out / ".cellseg-run/finished"
    kills = 0
    for _ in range(12):
        grows_to = (finished.stat().st_size if finished.exists() else 0) + 1500
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        while process.poll() is None:
            if finished.exists() and finished.stat().st_size >= grows_to:
                process.kill()
        _, said = process.communicate()
        kills += process.returncode == -9
        assert process.returncode in (0, -9), said.decode()
    assert kills >= 4
    infer_images(BrightPatches(), plan([source]), out, write=ALL)
    infer_images(BrightPatches(), plan([source]), tmp_path / "at_once", write=ALL)
    assert results_of(out) == results_of(tmp_path / "at_once")
