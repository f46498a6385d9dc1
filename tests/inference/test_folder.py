from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.images import Image, ImageError, find_images
from cellseg_mmdet.images.intensity import to_bgr8
from cellseg_mmdet.images.scale import ScaleChoice
from cellseg_mmdet.inference import infer_images
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.structures import ImagePrediction


class BrightPatches:
    """A 'model' whose raw predictions are the connected bright patches of an image, scored by their area."""

    classes = ("dim", "bright")

    def __init__(self, min_score: float = 0.0) -> None:
        self.batches: list[list[str]] = []
        self.postprocess = build_pipeline(
            [{"type": "ScoreThreshold", "score_thr": min_score}], self.classes
        )

    def predict(self, images: Mapping[str, Image]) -> list[ImagePrediction]:
        self.batches.append([Path(name).stem for name in images])
        return [self._one(Path(name).stem, to_bgr8(image)) for name, image in images.items()]

    def _one(self, image_id: str, image: np.ndarray) -> ImagePrediction:
        _, patches = cv2.connectedComponents((image[..., 0] > 128).astype(np.uint8))
        masks = Runs.from_label_map(patches)
        return ImagePrediction(
            image_id=image_id,
            img_id=None,
            height=image.shape[0],
            width=image.shape[1],
            boxes=masks.boxes.astype(np.float32),
            scores=masks.areas / 100.0,
            labels=np.ones(len(masks), np.int64),
            masks=masks,
        )


def squares(height: int, width: int, *sides_px: int) -> np.ndarray:
    """A dark image with one bright square of each side, 20 pixels apart, the first at (x=2, y=3)."""
    image = np.zeros((height, width), np.uint8)
    for index, side in enumerate(sides_px):
        image[3 : 3 + side, 2 + 20 * index : 2 + 20 * index + side] = 200
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "images"
    source.mkdir()
    for name, pixels in {
        "a.png": squares(30, 50, 4, 9),
        "b.tif": squares(30, 50),
        "c.png": squares(40, 50, 10).astype(np.uint16) * 200,
        "d.png": squares(30, 50, 5),
    }.items():
        assert cv2.imwrite(str(source / name), pixels)
    return source


def read_rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_submission_has_a_row_per_cell_best_first_and_one_for_an_image_without(
    folder: Path, tmp_path: Path
) -> None:
    summary = infer_images(BrightPatches(), find_images([folder]), tmp_path / "out")
    rows = read_rows(tmp_path / "out/submission.csv")
    assert rows[0] == ["id", "predicted"]
    assert [image_id for image_id, _ in rows[1:]] == ["a", "a", "b", "c", "d"]
    assert (
        rows[2][1] == "153 4 203 4 253 4 303 4"
    )  # the smaller square of a: row 3 (0-based), column 2, 50 wide
    assert rows[3][1] == ""
    assert (summary.num_images, summary.num_cells, summary.skipped) == (4, 4, ())


def test_coco_results_load_against_the_images_beside_them(folder: Path, tmp_path: Path) -> None:
    infer_images(BrightPatches(), find_images([folder]), tmp_path / "out")
    with contextlib.redirect_stdout(io.StringIO()):
        data_set = COCO(str(tmp_path / "out/images.json"))
        results = data_set.loadRes(str(tmp_path / "out/predictions.json"))
    names = {Path(image["file_name"]).name: image["id"] for image in data_set.dataset["images"]}
    assert names == {"a.png": 1, "b.tif": 2, "c.png": 3, "d.png": 4}
    (cell,) = results.loadAnns(results.getAnnIds(imgIds=[3]))
    mask = Runs.from_coco([cell["segmentation"]]).to_label_map()
    assert ((mask > 0) == (squares(40, 50, 10) > 0)).all()
    assert cell["bbox"] == [2, 3, 10, 10]
    assert data_set.loadCats(cell["category_id"])[0]["name"] == "bright"


def test_what_is_written_went_through_postprocess(folder: Path, tmp_path: Path) -> None:
    summary = infer_images(BrightPatches(min_score=0.5), find_images([folder]), tmp_path / "out")
    assert summary.num_cells == 2  # sides 9 and 10; 4 and 5 have areas below 50
    assert len(json.loads((tmp_path / "out/predictions.json").read_text())) == 2


def test_overlays_show_the_cells_unless_unwanted(folder: Path, tmp_path: Path) -> None:
    infer_images(BrightPatches(), find_images([folder]), tmp_path / "with")
    assert sorted(path.name for path in (tmp_path / "with/overlays").iterdir()) == [
        "a.png",
        "b.png",
        "c.png",
        "d.png",
    ]
    picture = cv2.imread(str(tmp_path / "with/overlays/a.png"))
    colored = picture.max(axis=2) != picture.min(axis=2)
    assert colored[2 * 3 : 2 * 7, 2 * 2 : 2 * 6].all() and not colored[40:].any()
    infer_images(BrightPatches(), find_images([folder]), tmp_path / "without", overlays=False)
    assert not (tmp_path / "without/overlays").exists()


def test_batches_hold_images_of_one_size_and_change_nothing(folder: Path, tmp_path: Path) -> None:
    model = BrightPatches()
    infer_images(model, find_images([folder]), tmp_path / "two", batch_size=2)
    assert model.batches == [["a", "b"], ["c"], ["d"]]
    infer_images(BrightPatches(), find_images([folder]), tmp_path / "one")
    for name in ("submission.csv", "predictions.json", "images.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_unreadable_image_stops_the_run_by_name(folder: Path, tmp_path: Path) -> None:
    (folder / "b.tif").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"b\.tif"):
        infer_images(BrightPatches(), find_images([folder]), tmp_path / "out")
    assert not (tmp_path / "out/submission.csv").exists()


def test_skipping_keeps_the_good_images_and_lists_the_others(folder: Path, tmp_path: Path) -> None:
    (folder / "b.tif").write_bytes(b"not a picture")
    summary = infer_images(
        BrightPatches(), find_images([folder]), tmp_path / "out", on_error="skip"
    )
    assert [row[0] for row in read_rows(tmp_path / "out/submission.csv")[1:]] == [
        "a",
        "a",
        "c",
        "d",
    ]
    assert len(summary.skipped) == 1 and "b.tif" in str(summary)
    assert str(summary).splitlines()[-1] == "4 cells in 3 images, 1 image could not be read"


def test_no_readable_image_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"none of 1 image.*broken\.png"):
        infer_images(BrightPatches(), find_images([tmp_path]), tmp_path / "out", on_error="skip")


def test_unknown_format_is_found_before_predicting(folder: Path, tmp_path: Path) -> None:
    model = BrightPatches()
    with pytest.raises(ConfigError, match="sartorius"):
        infer_images(model, find_images([folder]), tmp_path / "out", submission_format="excel")
    assert model.batches == []


@pytest.mark.parametrize(
    "choice", [ScaleChoice(scale=0.5), ScaleChoice(diameter_px=20), ScaleChoice(pixel_size_um=0.25)]
)
def test_images_are_resized_for_the_model_and_masks_back(
    tmp_path: Path, choice: ScaleChoice
) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), squares(80, 120, 12, 16))
    seen: list[tuple[int, int]] = []

    class Watched(BrightPatches):
        def _one(self, image_id: str, image: np.ndarray) -> ImagePrediction:
            seen.append(image.shape[:2])
            return super()._one(image_id, image)

    infer_images(
        Watched(),
        find_images([tmp_path / "a.png"]),
        tmp_path / "out",
        scale=choice,
        cell_scale={"diameter_px": 10.0, "pixel_size_um": 0.5},
    )
    assert seen == [(40, 60)]
    images = json.loads((tmp_path / "out/images.json").read_text())["images"]
    assert (images[0]["height"], images[0]["width"]) == (80, 120)
    found = json.loads((tmp_path / "out/predictions.json").read_text())
    areas = sorted(int(mask_utils.area(one["segmentation"])) for one in found)
    assert abs(areas[0] - 12 * 12) <= 30 and abs(areas[1] - 16 * 16) <= 40
