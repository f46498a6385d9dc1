"""The size of cells is estimated from looks at pictures of known discs, by a detector that is no network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.errors import ConfigError, UsageError
from cellseg_mmdet.images import Image, read_image
from cellseg_mmdet.images.scale import ScaleChoice, resized_image
from cellseg_mmdet.inference import infer_images, plan
from cellseg_mmdet.inference.model import Model
from cellseg_mmdet.inference.size_estimate import (
    RULES,
    Look,
    SizeRules,
    estimate_size,
    find_at_estimated_size,
)
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.structures import ImagePrediction
from tests.inference.bright_patches import BrightPatches, squares

TRAINED_PX = 25.0


def discs(diameter_px: float, side_px: int = 400, number: int | None = None) -> np.ndarray:
    """Return a dark picture with bright discs in rows, one and a half diameters apart."""
    picture = np.zeros((side_px, side_px), np.uint8)
    step = max(round(1.5 * diameter_px), round(diameter_px) + 3)
    centers = range(step // 2 + 1, side_px - step // 2, step)
    places = [(x, y) for y in centers for x in centers][:number]
    for x, y in places:
        cv2.circle(picture, (16 * x, 16 * y), round(8 * diameter_px), 200, -1, shift=4)
    return picture


class OfOneSize:
    """Finds bright patches as a network that was trained on one size would.

    Patches of less than 0.4 and over 2.6 times that size it does not see.
    """

    classes = ("cell",)
    cap = None
    cell_scale = {"diameter_px": TRAINED_PX}  # noqa: RUF012

    def __init__(self) -> None:
        self.sizes_hw: list[tuple[int, int]] = []

    def load(self, device: str | None = None) -> OfOneSize:
        return self

    def identity(self) -> dict[str, str]:
        return {}

    @property
    def postprocess(self):
        return build_pipeline([{"type": "ScoreThreshold", "score_thr": 0.3}], self.classes)

    def predict(self, images) -> list[ImagePrediction]:
        return [self._one(Path(name).stem, image) for name, image in images.items()]

    def _one(self, name: str, image: Image) -> ImagePrediction:
        pixels = getattr(image, "pixels", image)[..., 0]
        self.sizes_hw.append(pixels.shape)
        number, patches, stats, _ = cv2.connectedComponentsWithStats(
            (pixels > 100).astype(np.uint8)
        )
        label_map, scores = np.zeros(pixels.shape, np.int64), []
        for one in range(1, number):
            x, y, width, height, area = stats[one]
            ys, xs = np.nonzero(patches[y : y + height, x : x + width] == one)
            ys, xs = ys + y, xs + x
            ratio = np.sqrt(4 / np.pi * area) / TRAINED_PX
            if 0.4 <= ratio <= 2.6:
                scores.append(0.95 * 0.8 ** abs(np.log2(ratio)))
                label_map[ys, xs] = len(scores)
        masks = Runs.from_label_map(label_map)
        labels = np.zeros(len(masks), np.int64)
        boxes = masks.boxes.astype(np.float32)
        return ImagePrediction(
            name, 1, *pixels.shape, boxes, np.array(scores, np.float32), labels, masks
        )


def estimate(picture: np.ndarray, rules: SizeRules = RULES, *, in_tiles: bool = False):
    model, image = OfOneSize(), read_image(picture)

    def predict(factors_yx: tuple[float, float]) -> ImagePrediction:
        (raw,) = model.predict({"a.png": resized_image(image, factors_yx)})
        return raw

    window = image.part if in_tiles else None
    found = find_at_estimated_size(
        model, image.size_hw, predict, TRAINED_PX, window=window, rules=rules
    )
    return found, model


@pytest.mark.parametrize("diameter_px", [8, 12, 18, 25, 35, 50, 70, 100])
def test_discs_of_any_size_are_found_whole(diameter_px: int) -> None:
    picture = discs(diameter_px)
    number = cv2.connectedComponents((picture > 100).astype(np.uint8))[0] - 1
    result, _ = estimate(picture)
    assert result.diameter_px == pytest.approx(diameter_px, rel=0.1)
    assert 0.65 < result.factor * diameter_px / TRAINED_PX < 2.1
    assert len(result.look.found.final) == number
    again, _ = estimate(picture)
    assert (again.factor, again.diameter_px) == (result.factor, result.diameter_px)


@pytest.mark.parametrize("diameter_px", [18, 25, 45])
def test_cells_of_the_trained_size_cost_one_look(diameter_px: int) -> None:
    result, model = estimate(discs(diameter_px))
    assert result.factor == 1.0 and model.sizes_hw == [(400, 400)]


def test_a_picture_in_tiles_is_looked_at_whole_at_most_twice() -> None:
    picture = np.zeros((900, 1200), np.uint8)
    picture[600:, 900:] = discs(12, 300)  # the cells are in one corner
    result, model = estimate(picture, SizeRules(window_px=300), in_tiles=True)
    assert result.diameter_px == pytest.approx(12, rel=0.1)
    first_hw, *parts_hw, last_hw = model.sizes_hw
    assert first_hw == (900, 1200)
    assert parts_hw[0] == (300, 300) and max(parts_hw) < (900, 900)
    assert last_hw == pytest.approx((900 * result.factor, 1200 * result.factor), abs=1)
    assert 0.7 < result.factor * 12 / TRAINED_PX < 1.5
    number = cv2.connectedComponents((picture > 100).astype(np.uint8))[0] - 1
    assert len(result.look.found.final) == number


def test_a_picture_in_tiles_with_cells_of_the_trained_size_is_looked_at_once() -> None:
    result, model = estimate(discs(25), SizeRules(window_px=100), in_tiles=True)
    assert (result.factor, model.sizes_hw) == (1.0, [(400, 400)])


@pytest.mark.parametrize(
    "picture",
    [np.zeros((300, 200), np.uint8), np.full((90, 90), 7, np.uint8), discs(8, number=2)],
    ids=["empty", "gray", "two cells"],
)
def test_of_too_few_cells_nothing_is_said_and_the_picture_stays(picture: np.ndarray) -> None:
    result, _ = estimate(picture)
    assert (result.factor, result.diameter_px) == (1.0, None)
    assert result.look.found.raw.height == picture.shape[0]


def seeing(
    diameters: Callable[[float], list[float]],
) -> tuple[Callable[[float], Look[None]], list[float]]:
    factors: list[float] = []

    def look(factor: float) -> Look[None]:
        factors.append(factor)
        return Look(factor, np.array(diameters(factor), float), None)

    return look, factors


def test_the_factor_stays_within_bounds() -> None:
    look, factors = seeing(lambda factor: [600.0] * 5)
    result = estimate_size(look, TRAINED_PX, (4000, 4000))
    assert result.factor == RULES.factors[0] == min(factors)
    look, factors = seeing(lambda factor: [2.0] * 50)
    result = estimate_size(look, TRAINED_PX, (90, 90))
    assert result.factor == RULES.factors[1] == max(factors)


def test_a_large_picture_is_not_enlarged_on_a_guess() -> None:
    look, factors = seeing(lambda factor: [])
    assert estimate_size(look, TRAINED_PX, (3000, 3000)).num_looks == 3
    assert factors == [1.0, 0.5, 0.25]
    look, factors = seeing(lambda factor: [8.0] * 9)  # here it is no guess
    estimate_size(look, TRAINED_PX, (3000, 3000))
    assert factors == [1.0, pytest.approx(25 / 8)]


def test_the_first_scale_that_shows_enough_is_refined() -> None:
    look, factors = seeing(lambda factor: [6.0] * 9 if factor >= 2 else [])
    result = estimate_size(look, TRAINED_PX, (400, 400))
    assert factors == [1.0, 2.0, 4.0] and (result.factor, result.diameter_px) == (4.0, 6.0)


def test_what_is_seen_at_a_better_scale_corrects_the_estimate() -> None:
    look, factors = seeing(lambda factor: [12.0 if factor == 1 else 7.0] * 9)
    result = estimate_size(look, TRAINED_PX, (400, 400))
    assert factors == [1.0, pytest.approx(25 / 12), pytest.approx(25 / 7)]
    assert (result.factor, result.diameter_px, result.num_looks) == (factors[-1], 7.0, 3)


def test_a_scale_that_shows_too_few_cells_is_not_taken() -> None:
    look, factors = seeing(lambda factor: [60.0] * 9 if factor == 1 else [50.0] * 2)
    result = estimate_size(look, TRAINED_PX, (400, 400))
    assert factors == [1.0, pytest.approx(25 / 60)]
    assert (result.factor, result.diameter_px) == (1.0, 60.0)


def test_specks_do_not_move_the_estimate() -> None:
    result, _ = estimate(np.maximum(discs(25), discs(3)))
    assert result.factor == 1.0


def test_a_choice_of_auto() -> None:
    auto = ScaleChoice(diameter_px="auto")
    assert auto.is_automatic and not ScaleChoice(diameter_px=3.0).is_automatic
    assert auto.trained_px({"diameter_px": 25}) == 25.0
    with pytest.raises(UsageError, match=r"--diameter auto needs the scale of the training"):
        auto.trained_px({"pixel_size_um": 1.0})
    with pytest.raises(ConfigError, match="must be a positive number"):
        auto.trained_px({"diameter_px": -1})
    with pytest.raises(UsageError, match="give one of"):
        ScaleChoice(2.0, None, "auto").trained_px({"diameter_px": 25})


@pytest.mark.parametrize("executor", ["local", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_run_says_what_it_estimated_also_when_it_goes_on(tmp_path: Path, executor: str) -> None:
    for name, diameter in {"small": 10, "usual": 25, "large": 75}.items():
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), discs(diameter, 300))
    assert cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((300, 300), np.uint8))
    out = tmp_path / "out"
    chosen = ScaleChoice(diameter_px="auto")
    runs = [
        infer_images(
            OfOneSize(), plan([tmp_path]), out, write=["coco"], scale=chosen, executor=executor
        )
        for _ in range(2)
    ]
    assert runs[1].num_resumed == 4 and runs[0].sizes == runs[1].sizes
    sizes = dict(zip(["empty", "large", "small", "usual"], runs[0].sizes, strict=True))
    assert sizes["empty"] == (None, 1.0) and sizes["usual"][1] == 1.0
    assert sizes["large"][1] <= 0.5 < 1.5 < sizes["small"][1]
    said = str(runs[1]).splitlines()[-2]
    assert re.fullmatch(
        r"size of cells: median 1[01] to 7[56] px in 3 images, 1 with too few cells to say; "
        r"2 resized, by 0\.\d\d to [12]\.\d\d",
        said,
    )


def test_batches_change_nothing(tmp_path: Path) -> None:
    for number, diameter in enumerate((10, 25, 75)):
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), discs(diameter, 200))
    found = [
        infer_images(
            OfOneSize(), plan([tmp_path]), tmp_path / str(size), write=["coco"],
            scale=ScaleChoice(diameter_px="auto"), batch_size=size,
        ).sizes
        for size in (1, 3)
    ]  # fmt: skip
    assert found[0] == found[1]
    files = [(tmp_path / size / "predictions.json").read_bytes() for size in ("1", "3")]
    assert files[0] == files[1]


def test_without_auto_nothing_is_estimated_or_said(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), squares(30, 50, 4, 9))
    summary = infer_images(BrightPatches(), plan([tmp_path]), tmp_path / "out")
    assert summary.sizes == () and "size of cells" not in str(summary)
    with pytest.raises(UsageError, match="--diameter auto needs the scale of the training"):
        infer_images(
            BrightPatches(), plan([tmp_path]), tmp_path / "2", scale=ScaleChoice(diameter_px="auto")
        )


def test_a_model_in_python_takes_sizes_by_itself_and_by_call() -> None:
    picture = discs(75, 300)
    number = cv2.connectedComponents((picture > 100).astype(np.uint8))[0] - 1
    plain = Model(OfOneSize())
    assert len(plain(picture)) == 0 and plain(picture).scale == 1.0
    for cells in (
        Model(OfOneSize(), ScaleChoice(diameter_px="auto"))(picture),
        plain(picture, diameter_px="auto"),
        plain(picture, diameter_px=75),
        plain(read_image(picture), scale=1 / 3),
    ):
        assert len(cells) == number and cells.size_hw == picture.shape
        assert 0.2 < cells.scale <= 0.5
        assert cells[:1].scale == cells.scale
        assert np.median(cells.areas_px) == pytest.approx(np.pi / 4 * 75**2, rel=0.05)
    automatic = Model(OfOneSize(), ScaleChoice(diameter_px="auto"))
    assert automatic(picture, scale=1.0).scale == 1.0
    with pytest.raises(UsageError, match="give one of"):
        plain(picture, scale=2, diameter_px=3)
    with pytest.raises(UsageError, match="needs the scale of the training"):
        plain(picture, pixel_size_um=0.5)
