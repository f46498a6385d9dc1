"""Thresholds of a pixel code, searched for in dumps that hold the maps."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.engine.config import load_config
from cellseg_mmdet.errors import DataError, UsageError
from cellseg_mmdet.pixel_codes import build_pixel_code
from cellseg_mmdet.structures import ImagePrediction, ImageRecord, load_predictions
from cellseg_mmdet.tuning.decoding import Decoder, decoded
from cellseg_mmdet.tuning.files import read_task
from tests.pixel_codes.scenes import disk, stacked

SIDE = 40
CODE = {"type": "FlowCode"}
CONFIG = """\
metainfo = dict(classes=("cell",))
model = dict(type="PixelDetector", code=dict(type="FlowCode", join_px=3))
postprocess = [dict(type="ScoreThreshold", score_thr=0.1), dict(type="RemoveOverlaps")]
"""
COMMAND = [
    "preds.pkl",
    "--ann",
    "val.json",
    "--config",
    "leaf.py",
    "--out",
    "tuned.py",
    "--jobs",
    "1",
]


def picture(number: int) -> tuple[ImagePrediction, ImageRecord]:
    """Return two cells whose maps have a rim of two pixels too many, where foreground is less probable."""
    places = (10, 10 + number), (28, 26)
    true = stacked(*(disk(SIDE, SIDE, y, x, 5) for y, x in places))
    wide = stacked(*(disk(SIDE, SIDE, y, x, 7) for y, x in places))
    maps = build_pixel_code(CODE).encode(wide).maps
    maps[0] = np.where(true.to_label_map() > 0, 0.9, 0.6 * maps[0])
    name = f"image{number}"
    raw = ImagePrediction(
        name,
        None,
        SIDE,
        SIDE,
        wide.boxes,
        np.ones(2),
        np.zeros(2, int),
        wide,
        maps=maps.astype(np.float16),
    )
    return raw, ImageRecord(f"{name}.png", SIDE, SIDE, true, ("cell",) * 2)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pictures = [picture(number) for number in range(4)]
    write_dump(Path("preds.pkl"), [raw for raw, _ in pictures], with_maps=True)
    write_dump(Path("without.pkl"), [raw for raw, _ in pictures], with_maps=False)
    write_annotations("val.json", [record for _, record in pictures])
    Path("leaf.py").write_text(CONFIG)
    return tmp_path


def write_dump(path: Path, predictions: list[ImagePrediction], *, with_maps: bool) -> None:
    entries = [
        {
            "img_path": f"{one.image_id}.png",
            "ori_shape": (one.height, one.width),
            "pred_instances": {
                "bboxes": one.boxes,
                "scores": one.scores,
                "labels": one.labels,
                "masks": one.masks.to_coco(),
            },
        }
        | ({"pred_maps": one.maps} if with_maps else {})
        for one in predictions
    ]
    path.write_bytes(pickle.dumps(entries))


def test_cells_are_those_that_the_code_decodes() -> None:
    raw, _ = picture(0)
    found = decoded(raw, CODE | {"mask_thr": 0.7})
    wanted = build_pixel_code(CODE | {"mask_thr": 0.7}).decode(raw.maps.astype(np.float32))
    assert found.masks == wanted.masks and np.array_equal(found.scores, wanted.scores)
    assert found.mask_scores is found.scores and found.maps is None
    assert found.labels.tolist() == [0, 0] and found.boxes.shape == (2, 4)


def test_maps_behind_the_codes_are_classes() -> None:
    raw, record = picture(0)
    classes = np.zeros((2, SIDE, SIDE), np.float16)
    label_map = record.masks.to_label_map()
    classes[0, label_map == 1] = classes[1, label_map == 2] = 1
    found = decoded(replace(raw, maps=np.concatenate([raw.maps, classes])), CODE)
    assert found.labels.tolist() == [0, 1]


def test_what_was_decoded_is_kept() -> None:
    raw, _ = picture(0)
    decoder = Decoder()
    first = decoder(0, raw, CODE)
    assert decoder(0, raw, dict(CODE)) is first
    assert decoder(1, raw, CODE) is not first
    for number in range(4):
        decoder(0, raw, CODE | {"mask_thr": 0.1 + number / 10})
    assert decoder(0, raw, CODE) is not first


def test_maps_of_another_code_and_none() -> None:
    raw, _ = picture(0)
    with pytest.raises(DataError, match="image0: 3 maps; StarCode reads 34"):
        decoded(raw, {"type": "StarCode"})
    with pytest.raises(DataError, match="image0: it has no maps"):
        decoded(replace(raw, maps=None), CODE)


def test_maps_come_back_from_a_dump(workspace: Path) -> None:
    raw = load_predictions("preds.pkl")[0]
    assert raw.maps.dtype == np.float16 and np.array_equal(raw.maps, picture(0)[0].maps)
    assert load_predictions("without.pkl")[0].maps is None
    entries = pickle.loads(Path("preds.pkl").read_bytes())
    entries[0]["pred_maps"] = entries[0]["pred_maps"][:, :-1]
    Path("preds.pkl").write_bytes(pickle.dumps(entries))
    with pytest.raises(DataError, match=r"entry 0 .*pred_maps of shape \(3, 39, 40\)"):
        load_predictions("preds.pkl")


def test_which_numbers_are_searched_for(workspace: Path) -> None:
    names = [one.name for one in read_task(["preds.pkl"], ["val.json"], "leaf.py").parameters]
    assert names[:3] == ["FlowCode.mask_thr", "FlowCode.flow_thr", "FlowCode.min_px"]
    assert "ScoreThreshold.score_thr" in names
    task = read_task(["preds.pkl"], ["val.json"], "leaf.py", only=["ScoreThreshold.score_thr"])
    assert [step["type"] for step in task.steps] == ["ScoreThreshold", "RemoveOverlaps"]
    assert [one.step for one in task.parameters] == [0]
    task = read_task(["without.pkl"], ["val.json"], "leaf.py")
    assert not any(one.name.startswith("FlowCode") for one in task.parameters)
    assert "the numbers of FlowCode (mask_thr, flow_thr, min_px) are" in task.about_numbers()
    with pytest.raises(UsageError, match=r"no number 'FlowCode\.mask_thr'.*--maps"):
        read_task(["without.pkl"], ["val.json"], "leaf.py", only=["FlowCode.mask_thr"])


@pytest.mark.slow
def test_a_threshold_of_the_code_is_found_and_goes_on(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only = ["--only", "FlowCode.mask_thr"]
    cellseg(["tune", *COMMAND, *only, "--trials", "6"])
    cellseg(["tune", *COMMAND, *only, "--trials", "20"])
    assert "config with the numbers found in 20 trials" in capsys.readouterr().out
    config = load_config("tuned.py")
    assert 0.6 <= config.model.code.mask_thr < 0.9
    assert config.model.code.join_px == 3
    assert [step.type for step in config.postprocess] == ["ScoreThreshold", "RemoveOverlaps"]
    raw, record = picture(1)
    found = decoded(raw, config.model.code.to_dict())
    assert found.masks == record.masks
    with pytest.raises(UsageError, match=r"other .*numbers to search for"):
        cellseg(["tune", *COMMAND, "--trials", "20"])
