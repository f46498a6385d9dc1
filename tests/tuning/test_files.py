from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.engine.config import load_config
from cellseg_mmdet.errors import DataError, UsageError
from cellseg_mmdet.evaluation.files import evaluate_files
from cellseg_mmdet.tuning.files import check_out, read_task, write_config
from cellseg_mmdet.tuning.result import Result
from tests.tuning.scenes import CLASSES, images, write_dump

pytestmark = pytest.mark.slow

CONFIG = """\
metainfo = dict(classes=("astro", "cort"))
val_evaluator = dict(type="CellMetric", ann_file="all.json")
postprocess = [
    dict(type="ScoreThreshold", score_thr=0.5),
    dict(type="MaskNMS", overlap_thr=0.5, measure="ios"),
    dict(type="RemoveOverlaps"),
]
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two dumps of two images each, annotations of these and two more, and a config."""
    monkeypatch.chdir(tmp_path)
    predictions, records = images(6)
    write_dump(Path("fold0.pkl"), predictions[2:4])
    write_dump(Path("fold1.pkl"), predictions[:2])
    write_annotations("all.json", records)
    write_annotations("fold0.json", records[2:4])
    write_annotations("fold1.json", records[:2])
    Path("configs").mkdir()
    Path("configs/leaf.py").write_text(CONFIG)
    return tmp_path


def found(steps: list[dict]) -> Result:
    numbers = {"ScoreThreshold.score_thr": 0.3}
    scores = np.full(4, 0.5)
    return Result(steps, ["a"] * 4, scores, scores, scores, numbers, numbers, [numbers], 7)


@pytest.mark.parametrize("annotations", [["all.json"], ["fold0.json", "fold1.json"]])
def test_predictions_meet_their_annotations(annotations: list[str]) -> None:
    task = read_task(["fold0.pkl", "fold1.pkl"], annotations, "configs/leaf.py")
    names = [f"image{number}" for number in range(4)]
    assert [prediction.image_id for prediction in task.predictions] == names
    assert [Path(record.file_name).stem for record in task.records] == names
    assert task.classes == CLASSES
    assert len(task.parameters) == 6
    assert all(type(step) is dict for step in task.steps)


def test_what_a_search_is_about_does_not_depend_on_the_order_of_files() -> None:
    one = read_task(["fold0.pkl", "fold1.pkl"], ["fold0.json", "fold1.json"], "configs/leaf.py")
    other = read_task(["fold1.pkl", "fold0.pkl"], ["fold1.json", "fold0.json"], "configs/leaf.py")
    less = read_task(["fold1.pkl"], ["fold1.json", "fold0.json"], "configs/leaf.py")
    assert one.about == other.about
    assert {key for key in one.about if one.about[key] != less.about[key]} == {"predictions"}


@pytest.mark.parametrize(
    ("predictions", "annotations", "message"),
    [
        (
            ["fold0.pkl", "fold0.pkl"],
            ["all.json"],
            r"image 'image2' is in fold0\.pkl and in fold0\.pkl: one prediction of each",
        ),
        (
            ["fold0.pkl"],
            ["all.json", "fold0.json"],
            r"image 'image2' is annotated in all\.json and in fold0\.json",
        ),
        (["fold0.pkl"], ["fold1.json"], r"image 'image2' is not in fold1\.json; its 2 are"),
        (["cut.pkl"], ["all.json"], r"cut\.pkl"),
        (["none.pkl"], ["all.json"], r"none\.pkl: no image is predicted"),
    ],
)
def test_files_that_do_not_go_together(
    predictions: list[str], annotations: list[str], message: str
) -> None:
    Path("cut.pkl").write_bytes(Path("fold0.pkl").read_bytes()[:-20])
    write_dump(Path("none.pkl"), [])
    with pytest.raises(DataError, match=message):
        read_task(predictions, annotations, "configs/leaf.py")


@pytest.mark.parametrize("kind", ["csv", "label images"])
def test_truth_of_other_kinds_is_the_same(kind: str) -> None:
    _, records = images(4)
    if kind == "csv":
        rows = [
            f"{Path(record.file_name).stem},{text}\n"
            for record in records
            for text in record.masks.to_strings(order="row")
        ]
        Path("truth.csv").write_text("id,predicted\n" + "".join(rows))
        truth = "truth.csv"
    else:
        truth = "truth"
        Path(truth).mkdir()
        for record in records:
            label_map = record.masks.to_label_map().astype(np.uint16)
            np.save(f"truth/{Path(record.file_name).stem}.npy", label_map)
    task = read_task(["fold0.pkl", "fold1.pkl"], [truth], "configs/leaf.py")
    expected = read_task(["fold0.pkl", "fold1.pkl"], ["all.json"], "configs/leaf.py")
    assert [one.masks for one in task.records] == [one.masks for one in expected.records]
    assert task.about["annotations"] != expected.about["annotations"]
    assert len(task.about["annotations"]) == 1


@pytest.mark.parametrize(
    ("predictions", "annotations", "message"),
    [
        ("all.json", "all.json", r"all\.json holds annotations: final cells.*cellseg test CONFIG"),
        ("a.csv", "all.json", r"a\.csv holds csv of cells: final cells.*--out val\.pkl"),
        ("fold0.pkl", "fold1.pkl", r"fold1\.pkl holds raw predictions, which are no annotations"),
    ],
)
def test_what_is_neither_predictions_nor_truth(
    predictions: str, annotations: str, message: str
) -> None:
    Path("a.csv").write_text("id,predicted\nimage0,1 2\n")
    with pytest.raises(UsageError, match=message):
        read_task([predictions], [annotations], "configs/leaf.py")


def test_annotations_that_cannot_be_used_are_named_or_left_out() -> None:
    content = json.loads(Path("all.json").read_text())
    content["annotations"][0]["segmentation"] = 7
    Path("all.json").write_text(json.dumps(content))
    with pytest.raises(
        DataError, match=r"(?s)all\.json: annotation 1 of .*--on-error skip .* and tune"
    ):
        read_task(["fold1.pkl"], ["all.json"], "configs/leaf.py")
    task = read_task(["fold1.pkl"], ["all.json"], "configs/leaf.py", on_error="skip")
    whole = read_task(["fold1.pkl"], ["fold1.json"], "configs/leaf.py")
    assert [len(one.masks) for one in task.records] == [
        len(whole.records[0].masks) - 1,
        len(whole.records[1].masks),
    ]


def test_an_error_in_the_list_names_the_config() -> None:
    with pytest.raises(UsageError, match=r"^configs/leaf\.py: .* no number 'MinArea'"):
        read_task(["fold0.pkl"], ["all.json"], "configs/leaf.py", only=["MinArea"])


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("tuned.json", r"ends with \.py"),
        ("configs/leaf.py", "this tool did not write it"),
        ("tuned.py", r"^above\.py inherits from tuned\.py"),
    ],
)
def test_places_where_the_result_may_not_be_written(out: str, message: str) -> None:
    task = read_task(["fold0.pkl"], ["all.json"], "configs/leaf.py")
    write_config("tuned.py", "configs/leaf.py", found(task.steps), "")
    Path("above.py").write_text('_base_ = "./configs/../tuned.py"\n')
    with pytest.raises(UsageError, match=message):
        check_out(out, "above.py")


@pytest.mark.parametrize("out", ["tuned.py", "new/folder/tuned.py", "configs/tuned.py"])
def test_the_result_is_a_config_that_scores_what_it_says(
    out: str, write_twice: Callable[..., None]
) -> None:
    task = read_task(["fold0.pkl", "fold1.pkl"], ["all.json"], "configs/leaf.py")
    steps = [
        {"type": "ScoreThreshold", "score_thr": {"astro": 0.75, "cort": 0.25}},
        *task.steps[1:],
    ]
    write_twice(out, "configs/leaf.py", found(steps), "4 images of\nseveral {{files}}")
    config = load_config(out)
    assert config.postprocess == steps
    assert config.metainfo.classes == CLASSES
    assert (
        config.val_evaluator.postprocess == steps
    )  # what validation scores is what gets submitted
    report = evaluate_files("fold0.pkl", "fold0.json", config=out)
    assert report.overall["kaggle_map"] == 1
    assert "# overall            4    0.5000" in Path(out).read_text()


@pytest.fixture
def write_twice() -> Callable[..., None]:
    """Write a result, and another over it."""

    def write(out: str, config: str, result: Result, source: str) -> None:
        write_config(out, config, found([]), "x")
        check_out(out, config)
        write_config(out, config, result, source)

    return write


def test_strings_of_all_kinds_come_back() -> None:
    steps = [
        {"type": "Some", "text": 'it\'s "so" \\ \n', "more": [1, 0.25, None, True, {"a-b": "c"}]}
    ]
    write_config("tuned.py", "configs/leaf.py", found(steps), "")
    assert load_config("tuned.py").postprocess == steps
