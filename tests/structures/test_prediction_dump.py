from __future__ import annotations

import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.masks.encoded import EncodedMasks
from cellseg_mmdet.structures import (
    ImagePrediction,
    ImageRecord,
    from_dump_entry,
    from_records,
    load_predictions,
    to_dump_entry,
    write_predictions,
)
from cellseg_mmdet.structures.dumped_masks import read_masks

LABEL_MAP = np.array([[1, 1, 0], [0, 2, 2]])  # two cells in 2 x 3 pixels


def entry(path: str = "images/a.png", **changes: Any) -> dict[str, Any]:
    instances = {
        "bboxes": torch.tensor([[0.0, 0.0, 2.0, 1.0], [1.0, 1.0, 3.0, 2.0]]),
        "scores": torch.tensor([0.9, 0.4]),
        "labels": torch.tensor([1, 0]),
        "masks": Runs.from_label_map(LABEL_MAP).to_coco(),
    }
    instances.update(changes)
    return {
        "img_id": 7,
        "img_path": path,
        "ori_shape": (2, 3),
        "scale_factor": (2.0, np.float64(2.0)),
        "pred_instances": instances,
    }


def dump(path: Path, content: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_a_dump_is_read(tmp_path: Path, protocol: int) -> None:
    first, second = load_predictions(
        dump(tmp_path / "preds.pkl", [entry(), entry("images/b.png")], protocol)
    )
    assert (first.image_id, first.img_id, first.height, first.width) == ("a", 7, 2, 3)
    assert second.image_id == "b"
    assert first.boxes.tolist() == [[0, 0, 2, 1], [1, 1, 3, 2]]
    assert first.scores == pytest.approx([0.9, 0.4])
    assert first.labels.tolist() == [1, 0]
    assert first.masks.to_label_map().tolist() == LABEL_MAP.tolist()


def test_an_image_without_instances_is_read(tmp_path: Path) -> None:
    nothing = entry(
        bboxes=torch.zeros(0, 4),
        scores=torch.zeros(0),
        labels=torch.zeros(0, dtype=torch.int64),
        masks=[],
    )
    (prediction,) = load_predictions(dump(tmp_path / "preds.pkl", [nothing]))
    assert len(prediction) == 0
    assert prediction.masks == Runs.empty(2, 3)


SOFT_MASKS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def test_probabilities_are_read_and_selected_with_their_masks(tmp_path: Path) -> None:
    with_both = entry(maskness=torch.tensor([0.7, 0.6]), soft_masks=torch.from_numpy(SOFT_MASKS))

    plain, whole = load_predictions(
        dump(tmp_path / "preds.pkl", [entry("b.png"), with_both | {"img_path": "a.png"}])
    )
    chosen = whole.select(np.array([1]))

    assert plain.mask_scores is None and plain.soft_masks is None
    assert plain.select(np.array([1])).soft_masks is None
    assert chosen.mask_scores.tolist() == pytest.approx([0.6])
    np.testing.assert_array_equal(chosen.soft_masks, SOFT_MASKS[1:])
    np.testing.assert_array_equal(whole.soft_masks, SOFT_MASKS)


def test_where_nothing_was_found_no_probabilities_are_missing() -> None:
    nothing = entry(
        bboxes=torch.zeros(0, 4),
        scores=torch.zeros(0),
        labels=torch.zeros(0, dtype=torch.int64),
        masks=torch.zeros(0, 2, 3, dtype=torch.bool),
    )
    prediction = from_dump_entry(nothing)
    assert prediction.mask_scores.shape == (0,)
    assert prediction.soft_masks.shape == (0, 0, 0)


@given(
    hnp.arrays(
        np.uint8,
        st.tuples(*[st.integers(0, 4), st.integers(1, 7), st.integers(1, 7)]),
        elements=st.integers(0, 2),
    ),
    st.booleans(),
)
def test_dense_masks_of_any_kind_are_read(dense: np.ndarray, as_tensor: bool) -> None:
    masks = read_masks(torch.from_numpy(dense) if as_tensor else dense, *dense.shape[1:])
    assert np.array_equal(RoIMasks.from_runs(masks).to_ndarray(), dense > 0)
    # Runs as they are made everywhere else: none touches the next.
    assert masks == RoIMasks.from_ndarray(dense).to_runs()


def test_dense_masks_are_read_a_few_at_a_time() -> None:
    dense = np.broadcast_to(np.ones((1000, 1000), dtype=bool), (400, 1000, 1000))  # 1 MB
    tracemalloc.start()
    try:
        masks = read_masks(dense, 1000, 1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (masks.areas == 1_000_000).all() and len(masks.starts) == 400
    assert peak < 200e6  # the coordinates of all pixels are 9.6 GB


@pytest.mark.parametrize("as_array", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_dense_masks_are_read(as_array: Any) -> None:
    dense = np.stack([LABEL_MAP == 1, np.zeros_like(LABEL_MAP, bool)])
    prediction = from_dump_entry(entry(masks=as_array(dense)))
    assert prediction.masks.areas.tolist() == [2, 0]
    assert prediction.masks.to_label_map().tolist() == [[1, 1, 0], [0, 0, 0]]


def test_encoded_masks_are_taken_as_they_are() -> None:
    runs = Runs.from_label_map(LABEL_MAP)
    assert from_dump_entry(entry(masks=EncodedMasks(runs))).masks is runs
    with pytest.raises(DataError, match=r"a.png.*\(2, 3, 2\) for an image of 2 x 3"):
        from_dump_entry(entry(masks=EncodedMasks(Runs.from_label_map(LABEL_MAP.T))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "preds.pkl is no dump of predictions.*found dict"),
        ([[1, 2]], "preds.pkl: entry 0: expected a dict, found list"),
        ([{"img_path": "a.png"}], "entry 0: no 'ori_shape', 'pred_instances'; found 'img_path'"),
        ([entry(), entry("other/a.png")], "entry 1 is image 'a', which entry 0 is already"),
        ([entry(masks=Runs.empty(2, 3).to_coco())], r"entry 0 \(images/a.png\).*'masks': 0"),
        ([entry(masks=Runs.from_label_map(LABEL_MAP.T).to_coco())], r"size \[3, 2\] differs"),
        ([entry(masks=torch.ones(2, 2, 2, dtype=torch.bool))], r"\(2, 2, 2\).*2 x 3"),
        ([entry(scores=torch.tensor([0.5, float("nan")]))], "score of instance 1 is not finite"),
        ([entry(bboxes=torch.zeros(2, 5))], r"bboxes of shape \(2, 5\), expected \(N, 4\)"),
        ([entry(maskness=np.ones((2, 1)))], r"maskness of shape \(2, 1\), expected \(N\)"),
        ([entry(maskness=np.ones(3))], r"numbers of instances differ.*'mask_scores': 3"),
        ([entry(soft_masks=SOFT_MASKS[0])], r"of shape \(3, 4\), expected \(N, any, any\)"),
        ([entry(soft_masks=SOFT_MASKS[:1])], r"numbers of instances differ.*'soft_masks': 1"),
        ([entry(soft_masks=SOFT_MASKS / 255)], "soft_masks of type float64, expected uint8"),
    ],
    ids=[
        "no list", "no dict", "no keys", "duplicate", "count", "rle size", "dense size", "nan",
        "boxes", "maskness", "maskness count", "soft", "soft count", "soft type",
    ],
)  # fmt: skip
def test_another_layout_is_an_error(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_predictions(dump(tmp_path / "preds.pkl", content))


def test_boxes_alone_are_an_error() -> None:
    boxes_only = entry()
    del boxes_only["pred_instances"]["masks"]
    with pytest.raises(DataError, match=r"entry 3 \(images/a.png\).*no masks.*mask head"):
        from_dump_entry(boxes_only, where="entry 3")


def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    path = dump(tmp_path / "preds.pkl", [entry()])
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"preds\.pkl"):
            load_predictions(path)


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    class Exploit:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "touched",)

    path = dump(tmp_path / "preds.pkl", [entry(), Exploit()])
    with pytest.raises(DataError, match=r"preds\.pkl"):
        load_predictions(path)
    assert not (tmp_path / "touched").exists()


def test_ground_truth_as_prediction() -> None:
    masks = Runs.from_label_map(LABEL_MAP)
    (prediction,) = from_records([ImageRecord("x/a.png", 2, 3, masks, ("cort", "astro"))])
    assert prediction.image_id == "a"
    assert prediction.labels.tolist() == [1, 0]
    assert prediction.scores.tolist() == [1, 1]
    assert prediction.masks == masks


def test_an_entry_is_read_as_it_was_written() -> None:
    rng = np.random.default_rng(0)
    masks = Runs.from_label_map(rng.integers(0, 4, (9, 7)))
    before = ImagePrediction(
        image_id="a",
        img_id=5,
        height=9,
        width=7,
        boxes=masks.boxes.astype(np.float32),
        scores=rng.random(3),
        labels=np.array([0, 2, 1]),
        masks=masks,
        mask_scores=rng.random(3),
        soft_masks=rng.integers(0, 256, (3, 4, 4), dtype=np.uint8),
        img_path="some/a.tif",
    )
    after = from_dump_entry(to_dump_entry(before))
    assert (after.image_id, after.img_id, after.img_path) == ("a", 5, "some/a.tif")
    assert (after.masks.to_label_map() == masks.to_label_map()).all()
    for name in ("boxes", "scores", "labels", "mask_scores", "soft_masks"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    without = to_dump_entry(replace(before, mask_scores=None, soft_masks=None))
    assert set(without["pred_instances"]) == {"bboxes", "scores", "labels", "masks"}


def test_of_a_sample_the_truth_is_left_out_and_all_else_kept() -> None:
    masks = np.zeros((1, 4, 5), bool)
    masks[0, 1, 2] = True
    sample = {
        "img_path": "a.png",
        "ori_shape": (4, 5),
        "cell_type": "cort",
        "gt_instances": {"masks": masks},
        "pred_instances": {"masks": masks, "scores": np.ones(1)},
    }
    entry = to_dump_entry(sample)
    assert "gt_instances" not in entry and entry["cell_type"] == "cort"
    assert Runs.from_coco(entry["pred_instances"]["masks"], 4, 5).areas.tolist() == [1]
    assert sample["pred_instances"]["masks"] is masks


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_dump_written_entry_by_entry_is_one_pickle(tmp_path: Path, count: int) -> None:
    entries = [
        {
            "img_id": number,
            "img_path": f"{number}.png",
            "ori_shape": (4, 5),
            "pred_instances": {
                "bboxes": torch.zeros(0, 4),
                "scores": np.zeros(0),
                "labels": np.zeros(0, int),
                "masks": [],
            },
        }
        for number in range(count)
    ]
    assert write_predictions(tmp_path / "a.pkl", iter(entries)) == count
    loaded = pickle.loads((tmp_path / "a.pkl").read_bytes())
    assert [entry["img_path"] for entry in loaded] == [entry["img_path"] for entry in entries]
    assert [one.img_id for one in load_predictions(tmp_path / "a.pkl")] == list(range(count))
