from __future__ import annotations

import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS

from cellseg_mmdet.engine import load_config, prepare_model_cfg
from cellseg_mmdet.errors import CheckpointError, UnsafeCheckpointError, UsageError
from cellseg_mmdet.images import read_image
from cellseg_mmdet.inference import Predictor
from cellseg_mmdet.inference.predictor import array_pipeline
from cellseg_mmdet.structures import ImagePrediction, from_dump_entry

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "configs/mask_rcnn/mask-rcnn_r18_fpn_demo_synthetic.py"
CLASSES = ("one",)  # of the checkpoint; the config has another name
# An untrained model is sure of nothing: keep what it finds, but not all of it.
OPTIONS = {
    "model.test_cfg.rpn.max_per_img": 50,
    "model.test_cfg.rcnn.score_thr": 0.0,
    "model.test_cfg.rcnn.max_per_img": 20,
}


def save_weights(path: Path, **meta: object) -> Path:
    torch.manual_seed(0)
    cfg = load_config(CONFIG)
    prepare_model_cfg(cfg)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.save({"state_dict": model.state_dict(), "meta": meta}, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_weights(
        tmp_path_factory.mktemp("weights") / "model.pth", dataset_meta={"classes": CLASSES}
    )


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return Predictor(CONFIG, str(checkpoint), device="cpu", cfg_options=OPTIONS)


@pytest.fixture(scope="module")
def image_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "field.of.view.png"
    pixels = np.random.default_rng(0).integers(100, 156, (64, 96), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.GaussianBlur(pixels, (0, 0), 3))
    return path


def assert_same(first: ImagePrediction, second: ImagePrediction) -> None:
    assert (first.image_id, first.height, first.width) == (
        second.image_id,
        second.height,
        second.width,
    )
    assert (first.labels == second.labels).all()
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)
    np.testing.assert_allclose(first.boxes, second.boxes, atol=1e-3)
    assert first.masks == second.masks


def test_prediction_is_what_the_test_pipeline_and_model_give(
    predictor: Predictor, image_file: Path
) -> None:
    (prediction,) = predictor.predict({str(image_file): read_image(image_file)})
    data = Compose(predictor.cfg.test_dataloader.dataset.pipeline)(
        {"img_path": str(image_file), "img_id": 7}
    )
    with torch.no_grad():
        (sample,) = predictor.model.test_step(
            {"inputs": [data["inputs"]], "data_samples": [data["data_samples"]]}
        )
    assert len(prediction) == 20
    assert prediction.image_id == "field.of.view"
    assert_same(prediction, from_dump_entry(sample.to_dict()))


def test_batch_gives_what_single_images_give(predictor: Predictor, image_file: Path) -> None:
    image = read_image(image_file).pixels[..., 0]
    images = {"a.png": image, "b.png": np.ascontiguousarray(image[::-1])}
    for together, (name, pixels) in zip(predictor.predict(images), images.items(), strict=True):
        assert_same(together, predictor.predict({name: pixels})[0])


@pytest.mark.slow
def test_views_are_merged_to_what_one_finds(checkpoint: Path, image_file: Path) -> None:
    def tta_of(*flips: float) -> dict[str, object]:
        resize = [{"type": "Resize", "scale_factor": 1.5}]
        flip = [{"type": "RandomFlip", "prob": prob} for prob in flips]
        meta_keys = ("img_path", "ori_shape", "img_shape", "scale_factor", "homography_matrix")
        pack = [{"type": "PackDetInputs", "meta_keys": meta_keys}]
        views = {"type": "TestTimeAug", "transforms": [resize, flip, pack]}
        return {
            "tta_model": {"type": "CellTTAModel"},
            "tta_pipeline": [{"type": "LoadCellImage"}, views],
        }

    image = read_image(image_file).pixels[..., 0]
    images = {str(image_file): image, "mirrored.png": np.ascontiguousarray(image[:, ::-1])}
    plain, once, twice = (
        Predictor(CONFIG, str(checkpoint), device="cpu", cfg_options=OPTIONS | tta, tta=bool(tta))
        for tta in ({}, tta_of(0.0), tta_of(0.0, 1.0))
    )

    for expected, found in zip(plain.predict(images), once.predict(images), strict=True):
        assert_same(found, expected.select(expected.by_descending_score()))
    first, mirrored = twice.predict(images)
    assert (first.image_id, mirrored.image_id) == ("field.of.view", "mirrored")
    # Both see the same two pictures.
    np.testing.assert_allclose(first.scores, mirrored.scores, atol=1e-5)
    x1, y1, x2, y2 = first.boxes.T
    width = image.shape[1]
    np.testing.assert_allclose(
        mirrored.boxes, np.stack([width - x2, y1, width - x1, y2], 1), atol=1e-3
    )
    np.testing.assert_array_equal(mirrored.masks.areas, first.masks.areas)


def test_classes_are_those_of_the_checkpoint_else_of_the_config(
    predictor: Predictor, tmp_path: Path
) -> None:
    assert predictor.classes == CLASSES
    without = Predictor(CONFIG, str(save_weights(tmp_path / "bare.pth")), device="cpu")
    assert without.classes == tuple(without.cfg.test_dataloader.dataset.metainfo.classes)


def test_postprocess_is_the_list_of_the_config(checkpoint: Path, image_file: Path) -> None:
    options = OPTIONS | {"postprocess": [{"type": "ScoreThreshold", "score_thr": 1.0}]}
    predictor = Predictor(CONFIG, str(checkpoint), device="cpu", cfg_options=options)
    (raw,) = predictor.predict({str(image_file): read_image(image_file)})
    assert len(raw) == 20 and len(predictor.postprocess(raw)) == 0


def test_annotations_are_not_loaded() -> None:
    cfg = load_config(CONFIG)
    steps = cfg.test_dataloader.dataset.pipeline
    with_annotations = [steps[0], {"type": "LoadAnnotations", "with_mask": True}, *steps[1:]]
    cfg.test_dataloader.dataset.pipeline = with_annotations
    found = [step["type"] for step in array_pipeline(cfg)]
    assert found == ["LoadCellImage", *(step["type"] for step in steps[1:])]


def test_pipeline_that_loads_no_image_is_refused() -> None:
    cfg = load_config(CONFIG)
    cfg.test_dataloader.dataset.pipeline = [{"type": "PackDetInputs"}]
    with pytest.raises(
        UsageError, match="must begin with LoadCellImage; it begins with PackDetInputs"
    ):
        array_pipeline(cfg)


def test_checkpoint_of_another_model_is_refused(checkpoint: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"does not fit the model.*fc_cls.*size mismatch|size mismatch.*fc_cls",
    ):
        Predictor(
            CONFIG,
            str(checkpoint),
            device="cpu",
            cfg_options={"model.roi_head.bbox_head.num_classes": 7},
        )


def test_checkpoint_that_runs_code_is_refused_unless_trusted(
    checkpoint: Path, tmp_path: Path
) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "was_run"),)

    content = torch.load(checkpoint, weights_only=True)
    evil = tmp_path / "evil.pth"
    torch.save(content | {"extra": Payload()}, evil, pickle_module=pickle)
    with pytest.raises(UnsafeCheckpointError, match="--trust-checkpoint"):
        Predictor(CONFIG, str(evil), device="cpu")
    assert not (tmp_path / "was_run").exists()
    assert Predictor(CONFIG, str(evil), device="cpu", trust_checkpoint=True).classes == CLASSES


def test_missing_files_and_device_are_named(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.py"):
        Predictor(tmp_path / "nothing.py", str(checkpoint))
    with pytest.raises((CheckpointError, OSError), match=r"nothing\.pth"):
        Predictor(CONFIG, str(tmp_path / "nothing.pth"), device="cpu")
    with pytest.raises(UsageError, match="'toaster'"):
        Predictor(CONFIG, str(checkpoint), device="toaster")
