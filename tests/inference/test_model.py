from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS

from cellseg_mmdet.engine import load_config, prepare_model_cfg
from cellseg_mmdet.errors import ImageError, UsageError
from cellseg_mmdet.images import read_image
from cellseg_mmdet.inference.cells import Cells
from cellseg_mmdet.inference.model import Model, load_model
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction

CONFIG = "mask-rcnn_r18_fpn_demo_synthetic"
# An untrained model is sure of nothing: keep what it finds, but not all of it.
OPTIONS = {
    "model.test_cfg.rpn.max_per_img": 50,
    "model.test_cfg.rcnn.score_thr": 0.0,
    "model.test_cfg.rcnn.max_per_img": 10,
    "postprocess.1.score_thr": 0.0,
    "postprocess.6.min_area_px": 1,
}


class Seen:
    """Takes what it is given for the answer: it keeps the picture, and finds a cell in each gray value."""

    classes = ("cell",)
    device = torch.device("cpu")

    def predict(self, images):
        ((self.name, self.picture),) = images.items()
        pixels = getattr(self.picture, "pixels", self.picture)
        masks = Runs.from_label_map(pixels[..., 0].astype(np.int64))
        scores, labels = np.ones(len(masks)), np.zeros(len(masks), dtype=np.int64)
        image_id = Path(self.name).stem
        return [ImagePrediction(image_id, 1, *pixels.shape[:2], masks.boxes, scores, labels, masks)]

    def postprocess(self, prediction):
        return prediction


def seen(image: np.ndarray) -> np.ndarray:
    predictor = Seen()
    Model(predictor)(image)
    return predictor.picture


GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)
RGB = np.dstack([GRAY, GRAY + 100, GRAY + 200])


@pytest.mark.parametrize("image", [GRAY, GRAY[..., None]], ids=["(H, W)", "(H, W, 1)"])
def test_gray_has_one_channel(image: np.ndarray) -> None:
    np.testing.assert_array_equal(seen(image), GRAY[..., None])


@pytest.mark.parametrize(
    "image", [RGB, np.dstack([RGB, np.full_like(GRAY, 7)])], ids=["RGB", "RGBA"]
)
def test_colors_are_in_the_order_rgb_and_alpha_is_dropped(image: np.ndarray) -> None:
    np.testing.assert_array_equal(seen(image), RGB)


def test_black_and_white() -> None:
    np.testing.assert_array_equal(seen(GRAY > 5)[..., 0], np.where(GRAY > 5, 255, 0))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_values_of_other_types_are_the_intensitys_to_change(dtype: type) -> None:
    image = (300 * RGB.astype(float)).astype(dtype)
    np.testing.assert_array_equal(seen(image), image)


def test_an_array_is_not_changed() -> None:
    image = RGB.astype(np.float32)
    image.flags.writeable = False
    seen(image)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 40, 30)), r"shape \(3, 40, 30\); .* channels come first, give np\.moveaxis"),
        (np.zeros((40, 30, 2)), r"shape \(40, 30, 2\); allowed are \(H, W\), .*RGBA$"),
        (np.zeros((2, 40, 30, 3)), r"shape \(2, 40, 30, 3\); allowed"),
        (np.zeros(5), r"shape \(5,\); allowed"),
        (np.zeros((0, 30)), "has no pixels"),
        (np.zeros((4, 4), complex), "complex128 is no picture"),
        (np.array([["a"]]), "is no picture: give numbers"),
        ("a.tif", r"'a\.tif' is no array: give read_image\('a\.tif'\)"),
        (Path("a.tif"), r"no array: give read_image"),
    ],
)
def test_what_is_no_picture_is_refused(image: object, message: str) -> None:
    with pytest.raises(ImageError, match=f"^a1: .*{message}"):
        Model(Seen())(image, name="a1")


def test_cells_have_the_name_of_the_image() -> None:
    cells = Model(Seen())(GRAY, name="well.A1")
    assert isinstance(cells, Cells)
    assert (len(cells), cells.name, cells.classes) == (11, "well.A1", ("cell",))
    np.testing.assert_array_equal(cells.label_map(), GRAY)


def test_repr() -> None:
    assert repr(Model(Seen())) == "Model(classes=cell; on cpu)"


def test_a_picture_that_was_read_goes_on_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert cv2.imwrite(str(path), RGB[..., ::-1])
    predictor = Seen()
    picture = read_image(path)
    np.testing.assert_array_equal(picture.pixels, RGB)
    Model(predictor)(picture)
    assert predictor.picture is picture


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    cfg = load_config(CONFIG)
    prepare_model_cfg(cfg)
    model = MODELS.build(cfg.model)
    model.init_weights()
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    torch.save({"state_dict": model.state_dict(), "meta": {}}, path)
    return path


def test_a_loaded_model_finds_what_inference_finds(checkpoint: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pixels = cv2.GaussianBlur(random.integers(60, 196, (48, 64, 3), dtype=np.uint8), (0, 0), 3)
    assert cv2.imwrite(str(tmp_path / "a.png"), pixels)
    model = load_model(CONFIG, checkpoint, device="cpu", cfg_options=OPTIONS)
    cells = model(read_image(tmp_path / "a.png"))

    (raw,) = model.predictor.predict({"a.png": read_image(tmp_path / "a.png")})
    final = model.predictor.postprocess(raw)
    expected = final.select(final.by_descending_score())
    expected = expected.select(expected.masks.areas > 0)
    assert 0 < len(cells) == len(expected)
    assert cells.masks == expected.masks
    np.testing.assert_array_equal(cells.scores, expected.scores)
    assert (np.unique(cells.label_map()) == np.arange(len(cells) + 1)).all()
    assert model.classes == cells.classes and model.device == torch.device("cpu")


def test_a_config_that_is_missing_is_named(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=r"config none\.py: there is no such file"):
        load_model("none.py", checkpoint)
