from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from cellseg_mmdet.errors import CheckpointError, ConfigError
from cellseg_mmdet.export import WRITERS
from cellseg_mmdet.images import ImageError
from cellseg_mmdet.images.scale import ScaleChoice
from cellseg_mmdet.inference import EXECUTORS, Executor, infer_images, plan
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import load_predictions
from tests.inference.bright_patches import BrightPatches, squares
from tests.inference.runs import ALL, EXECUTOR_NAMES, results_of


def read_rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_submission_has_a_row_per_cell_best_first_and_one_for_an_image_without(
    folder: Path, out: Path
) -> None:
    summary = infer_images(BrightPatches(), plan([folder]), out)
    rows = read_rows(out / "submission.csv")
    assert rows[0] == ["id", "predicted"]
    assert [image_id for image_id, _ in rows[1:]] == ["a", "a", "b", "c", "d"]
    # The smaller square of a: row 3 (0-based), column 2, 50 wide.
    assert rows[2][1] == "153 4 203 4 253 4 303 4"
    assert rows[3][1] == ""
    assert (summary.num_images, summary.num_cells, summary.failures) == (4, 4, ())


def test_coco_results_load_against_the_images_beside_them(folder: Path, out: Path) -> None:
    infer_images(BrightPatches(), plan([folder]), out)
    with contextlib.redirect_stdout(io.StringIO()):
        data_set = COCO(str(out / "images.json"))
        results = data_set.loadRes(str(out / "predictions.json"))
    names = {Path(image["file_name"]).name: image["id"] for image in data_set.dataset["images"]}
    assert names == {"a.png": 1, "b.tif": 2, "c.png": 3, "d.png": 4}
    (cell,) = results.loadAnns(results.getAnnIds(imgIds=[3]))
    mask = Runs.from_coco([cell["segmentation"]]).to_label_map()
    assert ((mask > 0) == (squares(40, 50, 10) > 0)).all()
    assert cell["bbox"] == [2, 3, 10, 10]
    assert data_set.loadCats(cell["category_id"])[0]["name"] == "bright"


def test_what_is_written_went_through_postprocess(folder: Path, out: Path) -> None:
    summary = infer_images(BrightPatches(min_score=0.5), plan([folder]), out)
    assert summary.num_cells == 2  # sides 9 and 10; 4 and 5 have areas below 50
    assert len(json.loads((out / "predictions.json").read_text())) == 2


def test_what_postprocessing_left_out_is_said(folder: Path, out: Path) -> None:
    summary = infer_images(BrightPatches(min_score=0.5), plan([folder]), out)
    assert "post-processing left out 2 of 4 cells (50 %): ScoreThreshold 2" in str(summary)
    again = infer_images(BrightPatches(min_score=0.5), plan([folder]), out)
    assert again.tally.sentence() == summary.tally.sentence()
    assert "left out" not in str(infer_images(BrightPatches(), plan([folder]), out, resume=False))


def test_only_what_is_asked_for_is_written(folder: Path, tmp_path: Path) -> None:
    infer_images(BrightPatches(), plan([folder]), tmp_path / "with")
    pictures = [f"overlays/{name}.png" for name in "abcd"]
    assert set(results_of(tmp_path / "with")) == {
        "submission.csv",
        "predictions.json",
        "images.json",
        *pictures,
    }
    picture = cv2.imread(str(tmp_path / "with/overlays/a.png"))
    colored = picture.max(axis=2) != picture.min(axis=2)
    below = 2 * len(cv2.imread(str(folder / "a.png")))  # where the legend stands
    assert colored[2 * 3 : 2 * 7, 2 * 2 : 2 * 6].all() and not colored[40:below].any()
    infer_images(BrightPatches(), plan([folder]), tmp_path / "dump", write=["dump"])
    assert set(results_of(tmp_path / "dump")) == {"predictions.pkl"}
    (first, *_) = load_predictions(tmp_path / "dump/predictions.pkl")
    assert first.scores.dtype == np.float32 and first.img_id == 1


def test_batches_hold_images_of_one_size_and_change_nothing(folder: Path, tmp_path: Path) -> None:
    model = BrightPatches()
    infer_images(model, plan([folder]), tmp_path / "two", batch_size=2)
    assert model.batches == [["a", "b"], ["c"], ["d"]]
    infer_images(BrightPatches(), plan([folder]), tmp_path / "one")
    assert results_of(tmp_path / "two") == results_of(tmp_path / "one")


@pytest.mark.parametrize("executor", EXECUTOR_NAMES)
def test_executors_give_the_same_results(folder: Path, tmp_path: Path, executor: str) -> None:
    infer_images(BrightPatches(), plan([folder]), tmp_path / "expected", write=ALL)
    out = tmp_path / executor
    infer_images(BrightPatches(), plan([folder]), out, write=ALL, executor=executor, workers=2)
    assert results_of(out) == results_of(tmp_path / "expected")


def test_unknown_parts_are_named_before_predicting(folder: Path, out: Path) -> None:
    model = BrightPatches()
    for wrong, word in (
        ({"writer_options": {"submission": {"format": "excel"}}}, "sartorius"),
        ({"write": ["excel"]}, "overlay"),
        ({"executor": "moon"}, "processes"),
    ):
        with pytest.raises(ConfigError, match=word):
            infer_images(model, plan([folder]), out, **wrong)
    assert model.batches == []


@pytest.mark.parametrize(
    "choice", [ScaleChoice(scale=0.5), ScaleChoice(diameter_px=20), ScaleChoice(pixel_size_um=0.25)]
)
def test_images_are_resized_for_the_model_and_masks_back(
    tmp_path: Path, out: Path, choice: ScaleChoice
) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), squares(80, 120, 12, 16))
    model = BrightPatches(cell_scale={"diameter_px": 10.0, "pixel_size_um": 0.5})
    infer_images(model, plan([tmp_path / "a.png"]), out, scale=choice)
    assert model.sizes_hw == [(40, 60)]
    images = json.loads((out / "images.json").read_text())["images"]
    assert (images[0]["height"], images[0]["width"]) == (80, 120)
    found = json.loads((out / "predictions.json").read_text())
    areas = sorted(int(mask_utils.area(one["segmentation"])) for one in found)
    assert abs(areas[0] - 12 * 12) <= 30 and abs(areas[1] - 16 * 16) <= 40


@pytest.mark.parametrize("count", [1, 3, 12])
def test_reaching_the_cap_is_said_with_image_count_and_setting(
    folder: Path, out: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    model = BrightPatches(cap=("model.test_cfg.rcnn.max_per_img", count))
    summary = infer_images(model, plan([folder / "a.png", folder / "b.tif"]), out)
    said = capsys.readouterr().err
    assert (len(summary.warnings) == 1) == (count <= 2)
    assert ("a.png: 2 cells before post-processing" in said) == (count <= 2)
    assert ("model.test_cfg.rcnn.max_per_img = 1 allows" in said) == (count == 1)


# Failures of single images


@pytest.mark.parametrize("executor", EXECUTOR_NAMES)
def test_unreadable_image_stops_the_run_by_name_and_what_is_finished_stays(
    folder: Path, out: Path, executor: str
) -> None:
    content = (folder / "b.tif").read_bytes()
    (folder / "b.tif").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"b\.tif.*of 4 images are finished: the same command"):
        infer_images(BrightPatches(), plan([folder]), out, executor=executor, workers=1)
    assert set(results_of(out)) == {"failed.csv", "overlays/a.png"}
    ((name, path, reason),) = read_rows(out / "failed.csv")[1:]
    assert (name, path) == ("b", str(folder / "b.tif")) and "b.tif" in reason

    (folder / "b.tif").write_bytes(content)
    model = BrightPatches()
    summary = infer_images(model, plan([folder]), out)
    assert model.batches == [["b"], ["c"], ["d"]] and summary.num_resumed == 1
    assert not (out / "failed.csv").exists()


@pytest.mark.parametrize("executor", EXECUTOR_NAMES)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_skipping_keeps_the_good_images_and_lists_the_others(
    folder: Path, out: Path, executor: str, batch_size: int
) -> None:
    (folder / "b.tif").write_bytes(b"not a picture")
    model = BrightPatches(fills_memory=("d",))
    summary = infer_images(
        model,
        plan([folder]),
        out,
        on_error="skip",
        executor=executor,
        workers=1,
        batch_size=batch_size,
    )
    assert [row[0] for row in read_rows(out / "submission.csv")[1:]] == ["a", "a", "c"]
    unread, full = summary.failures
    assert unread.name == "b" and "b.tif" in unread.reason
    assert full.name == "d" and "30 x 50 pixels: memory is full" in full.reason
    assert str(summary).splitlines()[-1] == "3 cells in 2 images; 2 images failed, see failed.csv"
    assert [row[0] for row in read_rows(out / "failed.csv")[1:]] == ["b", "d"]


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_process_that_dies_is_the_failure_of_its_image(
    folder: Path, out: Path, batch_size: int
) -> None:
    summary = infer_images(
        BrightPatches(dies_of=("a",)),
        plan([folder]),
        out,
        executor="processes",
        workers=2,
        batch_size=batch_size,
        on_error="skip",
    )
    (failure,) = summary.failures
    assert failure.name == "a" and "SIGKILL" in failure.reason and "memory" in failure.reason
    assert [row[0] for row in read_rows(out / "submission.csv")[1:]] == ["b", "c", "d"]


@pytest.mark.parametrize("executor", EXECUTOR_NAMES)
def test_a_model_that_cannot_be_loaded_ends_the_run(folder: Path, out: Path, executor: str) -> None:
    with pytest.raises(CheckpointError, match="does not fit"):
        infer_images(BrightPatches(refuses=True), plan([folder]), out, executor=executor)


def test_no_good_image_is_an_error_even_when_skipping(tmp_path: Path, out: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"all of 1 image failed.*broken\.png"):
        infer_images(BrightPatches(), plan([tmp_path]), out, on_error="skip")


def test_a_folder_that_cannot_be_written_to_is_found_before_predicting(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    model = BrightPatches()
    with pytest.raises(OSError, match="file"):
        infer_images(model, plan([folder]), tmp_path / "file/out")
    assert model.batches == []


def test_a_new_executor_is_one_class(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EXECUTORS, "_parts", dict(EXECUTORS._parts))

    @EXECUTORS.register("backwards")
    class Backwards(Executor):
        def run(self, job, tasks):
            from cellseg_mmdet.inference import Worker

            yield from Worker(replace(job, batch_size=1))(tasks[::-1])

    infer_images(BrightPatches(), plan([folder]), out, executor="backwards")
    infer_images(BrightPatches(), plan([folder]), out.with_name("expected"))
    assert results_of(out) == results_of(out.with_name("expected"))


def test_image_writers_with_other_options_write_anew(folder: Path, tmp_path: Path) -> None:
    def geojson(**options: object) -> bytes:
        summary = infer_images(
            BrightPatches(),
            plan([folder]),
            tmp_path / "out",
            write=["geojson", "label-tiff"],
            writer_options={"geojson": options},
        )
        assert summary.num_images == 4
        said.append(summary.written[tmp_path / "out/geojson"])
        return (tmp_path / "out/geojson/a.geojson").read_bytes()

    said: list[str] = []
    plain = geojson()
    other = geojson(object_type="cell", simplify_px=1)
    assert b'"objectType":"cell"' in other and b'"objectType":"cell"' not in plain
    assert geojson(object_type="cell", simplify_px=1) == other
    assert geojson() == plain
    assert said[0] == "4 GeoJSON files" and "IoU with the masks of" in said[1] == said[2]
    assert "IoU" not in said[3]


def test_every_writer_has_the_same_numbers_and_bytes_in_every_run(
    folder: Path, tmp_path: Path
) -> None:
    tasks = plan([folder])
    for out in ("one", "two"):
        summary = infer_images(BrightPatches(), tasks, tmp_path / out, write=WRITERS.names())
        assert summary.num_images == 4
    assert results_of(tmp_path / "one") == results_of(tmp_path / "two")
    rows = json.loads((tmp_path / "one/predictions.json").read_text())
    for number, task in enumerate(tasks, start=1):
        name = task.key.name
        ids = [row["cell_id"] for row in rows if row["image_id"] == number]
        content = json.loads((tmp_path / f"one/geojson/{name}.geojson").read_text("utf-8"))
        found = [one["properties"]["measurements"]["Cell id"] for one in content["features"]]
        assert found == ids
        with np.load(tmp_path / f"one/npz/{name}.npz") as archive:
            assert archive["cell_ids"].tolist() == ids
    # What was written but not noted yet when a run was killed is its own.
    shutil.rmtree(tmp_path / "two/.cellseg-run")
    infer_images(BrightPatches(), tasks, tmp_path / "two", write=WRITERS.names())
    assert results_of(tmp_path / "one") == results_of(tmp_path / "two")
    # Folders among the results go as well when a run starts anew.
    infer_images(BrightPatches(), tasks, tmp_path / "one", write=["dump"], resume=False)
    assert set(results_of(tmp_path / "one")) == {"predictions.pkl"}
