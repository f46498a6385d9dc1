from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from cellseg_mmdet.annotations.files import write_annotations
from cellseg_mmdet.engine.cell_metric import CellMetric
from cellseg_mmdet.errors import ConfigError, DataError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord

CLASSES = ("astro", "cort")
LABEL_MAP = np.array([[1, 1, 0, 2], [1, 1, 0, 2]])
ROTATED = LABEL_MAP[:, ::-1].copy()


def record(name: str, label_map: np.ndarray, cell_type: str) -> ImageRecord:
    masks = Runs.from_label_map(label_map)
    return ImageRecord(name, 2, 4, masks, (cell_type,) * len(masks), cell_type)


RECORDS = [
    record("a.png", LABEL_MAP, "cort"),
    record("b.png", ROTATED, "astro"),
    record("c.png", ROTATED, "cort"),
]


def sample(name: str, label_map: np.ndarray, as_rle: bool = False) -> DetDataSample:
    """Predict each cell of a label map, the first with score 0.9, the second with 0.4."""
    dense = np.stack([label_map == 1, label_map == 2])
    masks = Runs.from_label_map(label_map).to_coco() if as_rle else torch.from_numpy(dense)
    instances = InstanceData(
        bboxes=torch.zeros(2, 4),
        scores=torch.tensor([0.9, 0.4]),
        labels=torch.tensor([0, 1]),
        masks=masks,
    )
    meta = dict(img_id=3, img_path=f"/data/train/{name}", ori_shape=(2, 4))
    return DetDataSample(metainfo=meta, pred_instances=instances)


@pytest.fixture
def ann_file(tmp_path: Path) -> str:
    path = tmp_path / "val.json"
    write_annotations(path, RECORDS, categories=CLASSES)
    return str(path)


def evaluate(samples: list[DetDataSample], size: int | None = None, **config: Any) -> dict:
    evaluator = Evaluator([dict(type="mmdet.CellMetric", **config)])
    evaluator.dataset_meta = dict(classes=CLASSES)
    for one in samples:
        evaluator.process([one])
    return evaluator.evaluate(len(samples) if size is None else size)


SAMPLES = [sample("a.png", LABEL_MAP), sample("b.png", ROTATED, True), sample("c.png", LABEL_MAP)]


def test_scores_of_masks_as_they_are(ann_file: str) -> None:
    # Of the last image neither cell is found.
    assert evaluate(SAMPLES, ann_file=ann_file) == pytest.approx(
        {"cell/kaggle_map": 2 / 3, "cell/kaggle_map_astro": 1, "cell/kaggle_map_cort": 0.5}
    )


def test_postprocess_is_applied(ann_file: str) -> None:
    steps = [dict(type="ScoreThreshold", score_thr=dict(astro=0.5, cort=0.5))]
    scores = evaluate(SAMPLES[:2], ann_file=ann_file, postprocess=steps, prefix="final")
    assert scores == pytest.approx(
        {"final/kaggle_map": 0.5, "final/kaggle_map_astro": 0.5, "final/kaggle_map_cort": 0.5}
    )


def test_coco_ap_looks_at_raw_predictions(ann_file: str) -> None:
    steps = [dict(type="ScoreThreshold", score_thr=1.0)]
    scores = evaluate(
        SAMPLES[:2],
        ann_file=ann_file,
        metric=["kaggle_map", "coco_ap"],
        postprocess=steps,
        single_class="cell",
    )
    assert scores["cell/kaggle_map"] == 0
    assert scores["cell/segm_AP"] == scores["cell/segm_AP50"] == 1
    assert scores["cell/bbox_AP"] == 0


def test_an_image_that_the_sampler_repeats_counts_once(ann_file: str) -> None:
    # With two processes a third image is padded by a fourth, a repetition of the first.
    padded = evaluate([*SAMPLES, SAMPLES[0]], size=3, ann_file=ann_file)
    assert padded == evaluate(SAMPLES, ann_file=ann_file)


def test_metrics_of_several_processes(ann_file: str) -> None:
    names = ["aji", "aji_plus", "coco_ap", "count_error", "dice", "f1", "iou", "kaggle_map", "pq"]

    def metric() -> CellMetric:
        built = CellMetric(ann_file, names)
        built.dataset_meta = dict(classes=CLASSES)
        return built

    ranks = [metric(), metric()]
    for index, one in enumerate(SAMPLES):
        ranks[index % 2].process(None, [one.to_dict()])
    # What a process sends is a pickle; mmengine puts the images in order again.
    first, second = (pickle.loads(pickle.dumps(rank.results)) for rank in ranks)
    alone = metric()
    alone.process(None, [one.to_dict() for one in SAMPLES])
    gathered = alone.compute_metrics([first[0], second[0], first[1]])
    assert gathered == alone.compute_metrics(alone.results)
    for of in ("", "_astro", "_cort"):
        assert {f"{name}{of}" for name in ("pq", "sq", "rq", "f1_75", "iou")} <= set(gathered)
    # Of two images of a type one is perfect; in the other two cells of half the right pixels are no hits.
    assert gathered["pq_cort"] == gathered["f1_95_cort"] == 0.5
    assert gathered["aji_cort"] == 0.75
    assert gathered["count_error"] == 0


def test_what_is_kept_of_an_image_is_small(ann_file: str) -> None:
    metric = CellMetric(ann_file)
    metric.process(None, [one.to_dict() for one in SAMPLES])
    assert len(metric.results) == len(SAMPLES)
    assert len(pickle.dumps(metric.results[0])) < 200


def test_an_image_without_instances(ann_file: str) -> None:
    nothing = sample("a.png", LABEL_MAP)
    nothing.pred_instances = nothing.pred_instances[nothing.pred_instances.scores > 1]
    assert evaluate([nothing], ann_file=ann_file)["cell/kaggle_map"] == 0


def test_the_pickle_format_is_read(tmp_path: Path, ann_file: str) -> None:
    path = tmp_path / "val.pkl"
    write_annotations(path, RECORDS, categories=CLASSES)
    assert evaluate(SAMPLES, ann_file=str(path)) == evaluate(SAMPLES, ann_file=ann_file)


def test_an_image_that_is_not_annotated_is_an_error(ann_file: str) -> None:
    with pytest.raises(DataError, match=r"image 'x' is not in .*val.json; its 3 are a, b, c"):
        evaluate([sample("x.png", LABEL_MAP)], ann_file=ann_file)


def test_images_of_one_name_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "val.json"
    write_annotations(path, [RECORDS[0], replace(RECORDS[0], file_name="x/a.png")])
    with pytest.raises(DataError, match=r"val.json: a.png and x/a.png share the name 'a'"):
        CellMetric(path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(metric="mAP"), "unknown metric 'mAP'; there are aji, aji_plus, coco_ap, count_error"),
        (dict(postprocess=[dict(type="Blur")]), r"postprocess\[0\]: unknown .* 'Blur'"),
    ],
)
def test_a_wrong_config_is_an_error_before_the_first_image(
    ann_file: str, config: dict[str, Any], message: str
) -> None:
    metric = METRICS.build(dict(type="CellMetric", ann_file=ann_file, **config))
    with pytest.raises(ConfigError, match=message):
        metric.dataset_meta = dict(classes=CLASSES)
