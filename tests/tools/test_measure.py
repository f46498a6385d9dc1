from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.errors import CellsegError, DataError, UsageError
from cellseg_mmdet.masks import Runs
from tests.visualization.checked_page import check_page

CONFIG = """
postprocess = [dict(type="ScoreThreshold", score_thr=0.5)]
test_dataloader = dict(dataset=dict(metainfo=dict(classes=("astro", "cort"))))
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two label images, their pictures of 16 bits with a pixel size, and their dump."""
    monkeypatch.chdir(tmp_path)
    Path("masks").mkdir()
    Path("images").mkdir()
    entries = []
    for number, name in enumerate(["plate1_A1", "plate2_B7"]):
        label_map = np.zeros((30, 40), np.uint16)
        label_map[3:9, 4:12] = 1
        label_map[15:20, 20 : 25 + number] = 2
        cv2.imwrite(f"masks/{name}.png", label_map)
        tifffile.imwrite(
            f"images/{name}.tif",
            (label_map * 1000 + 500).astype(np.uint16),
            resolution=(2e4, 2e4),
            resolutionunit="CENTIMETER",
        )
        masks = Runs.from_label_map(label_map)
        instances = {
            "bboxes": masks.boxes.astype(np.float32),
            "scores": np.array([0.4, 0.9]),
            "labels": np.array([0, 1]),
            "masks": masks.to_coco(),
        }
        entries.append(
            {
                "img_id": number,
                "img_path": f"images/{name}.tif",
                "ori_shape": (30, 40),
                "pred_instances": instances,
            }
        )
    Path("dump.pkl").write_bytes(pickle.dumps(entries))
    Path("config.py").write_text(CONFIG)
    return tmp_path


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_label_images(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cellseg(["measure", "masks", "images", "--out", "cells.csv"])
    rows = rows_of("cells.csv")
    assert [(row["image"], row["id"], row["class"]) for row in rows] == [
        ("plate1_A1", "1", "cell"),
        ("plate1_A1", "2", "cell"),
        ("plate2_B7", "1", "cell"),
        ("plate2_B7", "2", "cell"),
    ]
    assert [row["area_px"] for row in rows] == ["48", "25", "48", "30"]
    assert float(rows[0]["area_um2"]) == pytest.approx(48 * 0.25)
    assert [row["mean_gray"] for row in rows[:2]] == ["1500", "2500"]
    assert [row["background_gray"] for row in rows[:2]] == ["500", "500"]
    assert capsys.readouterr().out == "cells.csv: 4 cells of 2 images\n"


def test_shapes_alone_need_no_images(data: Path) -> None:
    cellseg(["measure", "masks", "--out", "cells.csv"])
    assert "mean_gray" not in rows_of("cells.csv")[0]
    assert "area_um2" not in rows_of("cells.csv")[0]


def test_a_dump_is_measured_after_its_post_processing(data: Path) -> None:
    arguments = ["measure", "dump.pkl", "images", "--out", "cells.csv"]
    with pytest.raises(UsageError, match="--config"):
        cellseg(arguments)
    cellseg([*arguments, "--config", "config.py"])
    assert [(row["class"], row["area_px"]) for row in rows_of("cells.csv")] == [
        ("cort", "25"),
        ("cort", "30"),
    ]
    cellseg([*arguments, "--config", "config.py", "--no-postprocess"])
    assert [row["class"] for row in rows_of("cells.csv")] == ["astro", "cort"] * 2
    cellseg([*arguments, "--no-postprocess"])
    assert [row["class"] for row in rows_of("cells.csv")] == ["0", "1"] * 2


def test_a_submission_takes_its_sizes_from_the_images(data: Path) -> None:
    Path("s.csv").write_text("id,predicted\nplate1_A1,1 3 41 3\nplate2_B7,\n")
    cellseg(["measure", "s.csv", "images", "--out", "cells.csv"])
    (row,) = rows_of("cells.csv")
    assert (row["area_px"], row["touches_border"]) == ("6", "1")
    with pytest.raises(DataError, match="plate1_A1"):
        cellseg(["measure", "s.csv", "--out", "cells.csv"])


def test_coco_results_have_their_categories(data: Path) -> None:
    masks = Runs.from_label_map(np.pad(np.ones((4, 5), int), ((3, 23), (2, 33))))
    rle = masks.to_coco(text=True)[0]
    result = {"image_id": 7, "category_id": 3, "segmentation": rle, "score": 0.25}
    images = {
        "images": [{"id": 7, "file_name": "plate1_A1.tif", "height": 30, "width": 40}],
        "categories": [{"id": 2, "name": "cort"}, {"id": 3, "name": "shsy5y"}],
        "annotations": [],
    }
    Path("results").mkdir()
    Path("results/predictions.json").write_text(json.dumps([result]))
    Path("results/images.json").write_text(json.dumps(images))
    cellseg(["measure", "results/predictions.json", "images", "--out", "cells.csv"])
    (row,) = rows_of("cells.csv")
    assert (row["class"], row["score"], row["area_px"]) == ("shsy5y", "0.25", "20")


def test_groups_summaries_and_page(data: Path) -> None:
    arguments = ["measure", "masks", "images", "--out", "cells.csv", "--summary", "s.csv"]
    group = r"(?P<plate>plate\d+)_(?P<well>[A-H]\d+)"
    cellseg([*arguments, "--group", group, "--page", "report"])
    assert [(row["plate"], row["well"]) for row in rows_of("cells.csv")][::2] == [
        ("plate1", "A1"),
        ("plate2", "B7"),
    ]
    assert [row["cells"] for row in rows_of("s.csv")] == ["2", "2"]
    groups = rows_of("s_groups.csv")
    assert [(row["plate"], row["well"], row["images"]) for row in groups] == [
        ("plate1", "A1", "1"),
        ("plate2", "B7", "1"),
    ]
    text = Path("report/index.html").read_text(encoding="utf-8")
    check_page(text)
    assert "plate1, A1" in text and "Areas of all cells" in text
    cellseg([*arguments, "--group", "plate[0-9]+"])
    assert [row["group"] for row in rows_of("cells.csv")][::2] == ["plate1", "plate2"]


def test_a_page_of_no_cells(data: Path) -> None:
    Path("none").mkdir()
    cv2.imwrite("none/plate1_A1.png", np.zeros((30, 40), np.uint16))
    cellseg(["measure", "none", "--out", "cells.csv", "--page", "report", "--group", "plate"])
    check_page(Path("report/index.html").read_text(encoding="utf-8"))
    assert rows_of("cells.csv") == []


def test_pixel_sizes(data: Path) -> None:
    for given, area in ((["0.5"], 12), (["1", "2"], 96)):
        cellseg(["measure", "masks", "--out", "cells.csv", "--pixel-size", *given])
        assert float(rows_of("cells.csv")[0]["area_um2"]) == area


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "cells.xls"], "cells.xls: the name of a table ends with .csv or .parquet"),
        (["--out", "c.csv", "--summary", "s.txt"], "s.txt: the name of a summary ends with .csv"),
        (["--out", "c.csv", "--pixel-size", "1", "2", "3"], "--pixel-size: give one number"),
        (["--out", "c.csv", "--group", "(a"], r"--group \(a: no regular expression"),
        (["--out", "c.csv", "--group", "(?P<class>p)"], "there are columns class already"),
        (
            ["--out", "c.csv", "--group", "dish"],
            "--group dish fits nowhere in the name of .*plate1_A1",
        ),
    ],
)
def test_arguments_that_do_not_fit(data: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cellseg(["measure", "masks", "images", *arguments])
    assert not list(data.glob("c*.csv"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pixel-size", "0"], "0: must be micrometres, more than 0"),
        (["--neighbours", "x"], "x: must be pixels, from 0 on"),
        (["--ring", "1", "-2"], "argument"),
    ],
)
def test_numbers_that_are_none(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cellseg(["measure", "masks", "--out", "c.csv", *arguments])
    assert message in capsys.readouterr().err


def test_an_image_that_is_not_there_is_named(data: Path) -> None:
    Path("images/plate2_B7.tif").unlink()
    with pytest.raises(
        DataError, match="masks: its image 'plate2_B7' is not among the 1 images of images"
    ):
        cellseg(["measure", "masks", "images", "--out", "cells.csv"])


def test_an_image_of_another_size_leaves_no_table(data: Path) -> None:
    tifffile.imwrite("images/plate2_B7.tif", np.zeros((30, 41), np.uint16))
    with pytest.raises(
        CellsegError, match="plate2_B7: the cells are of an image of 30 x 40 pixels"
    ):
        cellseg(["measure", "masks", "images", "--out", "cells.csv"])
    assert not Path("cells.csv").exists()
    assert not list(data.glob(".*"))
