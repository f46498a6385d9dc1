from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord
from cellseg_mmdet.visualization.pages.run_data import SCORE_THRESHOLDS, RunData, read_run
from cellseg_mmdet.visualization.pages.run_report import (
    worst_and_best,
    write_pictures,
    write_report,
)
from tests.visualization.checked_page import check_page
from tests.visualization.drawn import HEIGHT, WIDTH, rectangles

CELLS = rectangles((0, 0, 10, 10), (20, 0, 30, 10), (30, 0, 40, 10))
# Image -> what is predicted in it, with scores: all; the first cell, and the two others as one; nothing.
FOUND: dict[str, tuple[Runs, list[float]]] = {
    "good": (CELLS, [0.9, 0.8, 0.7]),
    "merged": (rectangles((0, 0, 10, 10), (20, 0, 40, 10)), [0.9, 0.35]),
    "nothing": (Runs.empty(HEIGHT, WIDTH), []),
}
CONFIG = """
val_dataloader = dict(
    dataset=dict(
        type="RepeatDataset", times=1,
        dataset=dict(data_root="data/", data_prefix=dict(img="images"), metainfo=dict(classes=("astro", "cort"))),
    )
)
val_evaluator = dict(type="CellMetric", ann_file="val.json")
postprocess = [dict(type="ScoreThreshold", score_thr=dict(astro=0.3, cort=0.5))]
"""


def entry(name: str) -> dict[str, Any]:
    masks, scores = FOUND[name]
    return {
        "img_id": 1,
        "img_path": f"/elsewhere/{name}.png",
        "ori_shape": (HEIGHT, WIDTH),
        "pred_instances": {
            "bboxes": masks.boxes.astype(np.float32),
            "scores": np.array(scores, np.float32),
            "labels": np.zeros(len(masks), np.int64),
            "masks": masks.to_coco(),
        },
    }


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    types = {"good": "astro", "merged": "cort", "nothing": None}
    records = [
        ImageRecord(f"{name}.png", HEIGHT, WIDTH, CELLS, ("astro",) * 3, types[name])
        for name in FOUND
    ]
    write_annotations("val.json", records, categories=("astro", "cort"))
    Path("preds.pkl").write_bytes(pickle.dumps([entry(name) for name in FOUND]))
    Path("config.py").write_text(CONFIG)
    Path("data/images").mkdir(parents=True)
    for number, name in enumerate(FOUND):
        cv2.imwrite(f"data/images/{name}.png", np.full((HEIGHT, WIDTH), 90 + number, np.uint8))
    return tmp_path


@pytest.fixture
def run(workspace: Path) -> RunData:
    return read_run("preds.pkl", "val.json", "config.py")


def test_images_are_found_by_the_config_and_outcomes_are_of_the_final_cells(run: RunData) -> None:
    assert run.image_dir == Path("data/images")
    counts = {study.final.image_id: study.outcomes.counts() for study in run.studies}
    none = dict.fromkeys(("hit", "missed", "extra", "split", "merged"), 0)
    assert counts["good"] == none | {"hit": 3}
    assert counts["merged"] == none | {"hit": 1, "merged": 2}
    assert counts["nothing"] == none | {"missed": 3}
    assert [study.score for study in run.studies] == [1.0, 0.25, 0.0]


def test_score_is_measured_again_at_each_threshold(run: RunData) -> None:
    good, merged, nothing = (study.sweep.score_at for study in run.studies)
    at = dict(zip(SCORE_THRESHOLDS, good, strict=True))
    assert (at[0.1], at[0.7]) == (1.0, 1.0), "a float32 0.7 reaches 0.7"
    assert (at[0.8], at[0.9]) == pytest.approx((2 / 3, 1 / 3))
    # Of the merged pair nothing is left above 0.4, and no extra cell lowers the score.
    assert dict(zip(SCORE_THRESHOLDS, merged, strict=True))[0.4] == pytest.approx(1 / 3)
    assert set(nothing) == {0.0}
    assert run.score_thresholds == {"astro": 0.3, "cort": 0.5}


def test_calibration_is_of_cells_below_the_threshold_too(run: RunData) -> None:
    merged = run.studies[1].sweep
    assert merged.confidence == pytest.approx([0.9, 0.35])
    assert merged.iou == pytest.approx([1.0, 0.5])


def test_config_is_parsed_once(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse, parsed = Config.fromfile, []

    def counting(path: Any, **options: Any) -> Config:
        parsed.append(path)
        return parse(path, **options)

    monkeypatch.setattr(Config, "fromfile", counting)
    read_run("preds.pkl", "val.json", "config.py")
    assert parsed == [Path("config.py")]


def test_page_holds_all_it_shows(run: RunData) -> None:
    html = write_report(run, "report").read_text()
    check_page(html)
    for name in FOUND:
        assert f'<article class="card"><h3 title="{name}">{name}</h3>' in html
    # Three true and three predicted cells, in each of the two images with predictions two kinds of them.
    assert len(re.findall('<path class="t ', html)) == 9
    assert re.findall('<path class="p ([a-z]+)', html).count("hit") == 4
    assert "predicted cell, merged, score 0.35, best IoU 0.50, 200 pixels" in html
    assert "threshold of the config for cort: 0.5" in html
    assert "score_thr" in html, "the config"
    assert '<th scope="row">numpy</th>' in html, "the versions"


def section(html: str, name: str) -> str:
    return html.split(f'<section id="{name}"')[1].split("</section>")[0]


def test_page_measures_the_predicted_cells_by_image_and_type(run: RunData) -> None:
    rows = {row["image"]: row for row in run.summary.of_images() if row["class"] == "all"}
    assert [rows[name]["cells"] for name in ("good", "merged", "nothing")] == [3, 2, 0]
    assert rows["good"]["median_area_px"] == 100 and rows["merged"]["median_area_px"] == 150
    assert rows["merged"]["median_mean_gray"] == 91  # of its picture
    groups = {row["cell_type"]: row for row in run.summary.of_groups() if row["class"] == "all"}
    assert {name: row["images"] for name, row in groups.items()} == {
        "astro": 1, "cort": 1, "unknown": 1,
    }  # fmt: skip
    html = section(write_report(run, "report").read_text(), "measurements")
    for title in ("Cells of each image", "Median area of each image", "Confluence of each image"):
        assert f"<h3>{title}</h3>" in html
    for title in (
        "good: 3 cells",
        "merged: median 150 pixels",
        f"good: {300 / HEIGHT / WIDTH:.4g}",
    ):
        assert f"<title>{title}</title>" in html
    assert "nothing: median" not in html


def test_groups_are_taken_from_the_names_of_the_images(workspace: Path) -> None:
    run = read_run("preds.pkl", "val.json", "config.py", group="(?P<letter>[gmn])")
    assert [row["letter"] for row in run.summary.of_groups() if row["class"] == "all"] == [
        "g", "m", "n",
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"fits nowhere in the name of image 'merged\.png'"):
        read_run("preds.pkl", "val.json", "config.py", group="good|nothing")


def test_shapes_are_measured_where_a_picture_cannot_be_read(workspace: Path) -> None:
    Path("data/images/merged.png").unlink()
    Path("data/images/good.png").write_bytes(b"no picture")
    run = read_run("preds.pkl", "val.json", "config.py")
    row = next(row for row in run.summary.of_images() if row["image"] == "merged")
    assert row["median_area_px"] == 150 and row["median_mean_gray"] != row["median_mean_gray"]


def test_scores_of_the_page_are_those_of_evaluate(run: RunData) -> None:
    html = write_report(run, "report").read_text()
    row = re.search(r"Competition mAP <span.*?</tr>", html)[0]
    columns = [run.report.overall, *run.report.per_type.values()]
    assert re.findall(r"<td ?>([\d.]+)</td>", row) == [f"{c['kaggle_map']:.3f}" for c in columns]


def test_each_image_is_among_the_worst_or_the_best() -> None:
    studies = [
        _study(name, score) for name, score in zip("abcde", (0.5, 0.1, 0.9, 0.1, 0.7), strict=True)
    ]
    worst, best = worst_and_best(studies, 2)
    assert [s.final.image_id for s in worst] == ["b", "d"]
    assert [s.final.image_id for s in best] == ["c", "e"]
    worst, best = worst_and_best(studies, 10)
    assert [s.final.image_id for s in worst + best] == ["b", "d", "a", "c", "e"]


@pytest.mark.parametrize("cells", ["filled", "find", "canny"])
def test_pictures_show_four_panels(run: RunData, cells: str) -> None:
    folder = write_pictures(run, "report", view="clahe", cells=cells)
    assert {path.stem for path in folder.iterdir()} == set(FOUND)
    picture = cv2.imread(str(folder / "good.png"))
    assert picture.shape[0] > 2 * HEIGHT and picture.shape[1] > 4 * 2 * WIDTH


def test_predictions_against_a_csv(workspace: Path) -> None:
    Path("truth.csv").write_text("id,predicted\n" + "".join(f"{name},1 5\n" for name in FOUND))
    run = read_run("preds.pkl", "truth.csv", "config.py")
    assert run.report.about["true"] == 3
    check_page(write_report(run, "report").read_text())


def write_submission(path: str) -> None:
    """Write what is found as a csv of final cells, which have no scores."""
    lines = [
        f"{name},{text}\n"
        for name, (masks, _) in FOUND.items()
        for text in masks.to_strings(order="row") or [""]
    ]
    Path(path).write_text("id,predicted\n" + "".join(lines))


def test_csv_of_final_cells_has_a_page_without_scores_of_cells(workspace: Path) -> None:
    write_submission("found.csv")
    run = read_run("found.csv", "val.json", images_dir="data/images")
    assert [study.score for study in run.studies] == pytest.approx([1.0, 0.25, 0.0])
    html = write_report(run, "report").read_text()
    check_page(html)
    assert "<h1>found</h1>" in html
    assert "predicted cell, merged, best IoU 0.50, 200 pixels" in html
    for needs_scores in ("Calibration", "score threshold", "COCO AP", "<h2>Config</h2>"):
        assert needs_scores not in html


def test_csv_is_shown_with_its_config_but_not_post_processed(workspace: Path) -> None:
    write_submission("found.csv")
    run = read_run("found.csv", "val.json", "config.py")
    assert run.image_dir == Path("data/images")
    assert run.report.about["found"] == 5
    html = write_report(run, "report").read_text()
    assert "<h1>config</h1>" in html and "<h2>Config</h2>" in html


def test_csv_needs_to_know_where_the_images_are(workspace: Path) -> None:
    write_submission("found.csv")
    with pytest.raises(UsageError, match=r"name their folder \(--images\)"):
        read_run("found.csv", "val.json")


def test_folder_of_images_that_is_not_there_is_told_before_scoring(workspace: Path) -> None:
    Path("data/images").rename("data/other")
    with pytest.raises(
        UsageError, match=r"good.png is in none of the folders of the config .*--images"
    ):
        read_run("preds.pkl", "val.json", "config.py")
    Path("data/other/merged.png").unlink()
    run = read_run("preds.pkl", "val.json", "config.py", images_dir="data/other")
    with pytest.raises(FileNotFoundError, match=r"has no image merged\.png"):
        write_report(run, "report")
    assert not Path("report").exists()


def _study(name: str, score: float) -> Any:
    class Final:
        image_id = name

    class Study:
        final = Final()

    Study.score = score
    return Study()


def test_run_without_any_cell_has_a_page(workspace: Path) -> None:
    empty = Runs.empty(HEIGHT, WIDTH)
    write_annotations(
        "val.json",
        [ImageRecord("nothing.png", HEIGHT, WIDTH, empty, ())],
        categories=("astro", "cort"),
    )
    Path("preds.pkl").write_bytes(pickle.dumps([entry("nothing")]))
    run = read_run("preds.pkl", "val.json", "config.py")
    check_page(write_report(run, "report").read_text())
