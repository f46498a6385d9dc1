from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.evaluation import DumpDetResults
from mmdet.registry import METRICS
from mmengine.logging import MMLogger
from pycocotools import mask as coco_mask

from cellseg_mmdet.engine.prediction_dump import DumpPredictions, check_output
from cellseg_mmdet.errors import ConfigError, UsageError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.encoded import EncodedMasks
from cellseg_mmdet.structures import load_predictions


def prediction(img_id: int) -> dict:
    """The prediction of one 4 x 6 image: one cell, 2 pixels high and 3 wide, in its corner."""
    mask = torch.zeros(1, 4, 6, dtype=torch.bool)
    mask[0, :2, :3] = True
    return {
        "img_id": img_id,
        "img_path": f"{img_id}.png",
        "ori_shape": (4, 6),
        "gt_instances": {"labels": torch.tensor([0])},
        "pred_instances": {
            "bboxes": torch.tensor([[0.0, 0.0, 3.0, 2.0]]),
            "scores": torch.tensor([0.9]),
            "labels": torch.tensor([0]),
            "masks": mask,
        },
    }


def test_the_file_has_the_layout_of_mmdet(tmp_path: Path):
    out = tmp_path / "new folder" / "preds.pkl"
    dump = METRICS.build({"type": "DumpPredictions", "out_file_path": str(out)})
    for img_id in (3, 7):
        dump.process({}, [prediction(img_id)])

    assert dump.evaluate(2) == {}

    first, second = pickle.loads(out.read_bytes())
    assert (first["img_id"], first["img_path"], first["ori_shape"]) == (3, "3.png", (4, 6))
    assert second["img_id"] == 7
    assert "gt_instances" not in first
    assert first["pred_instances"]["bboxes"].tolist() == [[0, 0, 3, 2]]
    (rle,) = first["pred_instances"]["masks"]
    assert rle["size"] == [4, 6]
    np.testing.assert_array_equal(coco_mask.toBbox(rle), [0, 0, 3, 2])
    assert os.listdir(out.parent) == ["preds.pkl"]


def test_encoded_masks_are_written_as_mmdet_writes_tensors(tmp_path: Path):
    encoded = prediction(1)
    encoded["pred_instances"]["masks"] = EncodedMasks(Runs.from_label_map(np.eye(4, 6, dtype=int)))
    dense = prediction(1)
    dense["pred_instances"]["masks"] = torch.eye(4, 6, dtype=torch.bool)[None]

    dumps = [DumpPredictions(str(tmp_path / "a.pkl")), DumpDetResults(str(tmp_path / "b.pkl"))]
    for dump, sample in zip(dumps, (encoded, dense), strict=True):
        dump.process({}, [sample])
        dump.evaluate(1)

    ours, of_mmdet = (
        pickle.loads((tmp_path / name).read_bytes())[0] for name in ("a.pkl", "b.pkl")
    )
    assert ours.keys() == of_mmdet.keys()
    assert ours["pred_instances"].keys() == of_mmdet["pred_instances"].keys()
    assert ours["pred_instances"]["masks"] == of_mmdet["pred_instances"]["masks"]


def test_soft_masks_are_written_and_the_log_states_their_size(tmp_path: Path, capfd):
    MMLogger.get_instance("dump", logger_name="dump")
    out = tmp_path / "preds.pkl"
    dump = DumpPredictions(str(out))
    soft_masks = torch.arange(2 * 28 * 28).reshape(2, 28, 28).to(torch.uint8)
    for img_id in (1, 2):
        sample = prediction(img_id)
        sample["pred_instances"]["soft_masks"] = soft_masks[img_id - 1 : img_id]
        sample["pred_instances"]["maskness"] = torch.tensor([0.5])
        dump.process({}, [sample])

    dump.evaluate(2)

    first, second = load_predictions(out)
    np.testing.assert_array_equal(first.soft_masks, soft_masks[:1])
    np.testing.assert_array_equal(second.soft_masks, soft_masks[1:])
    assert second.mask_scores.tolist() == [0.5]
    told = capfd.readouterr()
    assert "; 1,568 bytes of it are the soft masks of 2 instances" in told.out + told.err


def test_the_metrics_after_it_see_the_whole_sample(tmp_path: Path):
    sample = prediction(1)
    masks = sample["pred_instances"]["masks"]

    DumpPredictions(str(tmp_path / "preds.pkl")).process({}, [sample])

    assert "gt_instances" in sample
    assert sample["pred_instances"]["masks"] is masks


def test_boxes_alone_are_written(tmp_path: Path):
    sample = prediction(1)
    del sample["pred_instances"]["masks"]
    dump = DumpPredictions(str(tmp_path / "preds.pkl"))

    dump.process({}, [sample])

    assert dump.results[0]["pred_instances"].keys() == {"bboxes", "scores", "labels"}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2], "2 predictions for 3 images"),
        ([1, 2, 1], r"more than one for \['1\.png \(id 1\)'\]"),
    ],
    ids=["missing", "twice"],
)
def test_an_incomplete_dump_is_not_written(tmp_path: Path, ids: list[int], message: str):
    out = tmp_path / "preds.pkl"
    out.write_bytes(b"the last run")
    dump = DumpPredictions(str(out))
    dump.process({}, [prediction(img_id) for img_id in ids])

    with pytest.raises(ConfigError, match=rf"preds\.pkl was not written: .*{message}"):
        dump.evaluate(3)

    assert out.read_bytes() == b"the last run"


@pytest.mark.parametrize("name", ["preds.json", "preds", "preds.pkl.gz"])
def test_the_name_must_be_that_of_a_pickle(tmp_path: Path, name: str):
    with pytest.raises(UsageError, match=rf"{name}: .*must end with \.pkl or \.pickle"):
        check_output(str(tmp_path / name))


def test_a_folder_is_no_file(tmp_path: Path):
    (tmp_path / "preds.pkl").mkdir()

    with pytest.raises(UsageError, match="this is a folder"):
        check_output(str(tmp_path / "preds.pkl"))


def test_a_folder_that_cannot_be_written_is_found_before_the_run(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match=r"--out .*preds\.pkl: cannot write there"):
        check_output(str(tmp_path / "file" / "preds.pkl"))
