from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS

from cellseg_mmdet.cli import run as cellseg
from cellseg_mmdet.engine import UsageError, load_config, prepare_model_cfg
from cellseg_mmdet.images import ImageError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs/mask_rcnn/mask-rcnn_r18_fpn_demo_synthetic.py")
# An untrained model is sure of nothing: keep what it finds, but little of it.
OPTIONS = [
    "--cfg-options",
    "model.test_cfg.rpn.max_per_img=50",
    "model.test_cfg.rcnn.score_thr=0.0",
    "model.test_cfg.rcnn.max_per_img=10",
    "postprocess.1.score_thr=0.0",
    "postprocess.6.min_area_px=1",
]


@pytest.fixture(scope="module")
def infer() -> Callable[[list[str]], None]:
    return lambda arguments: cellseg(["infer", *arguments])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    cfg = load_config(CONFIG)
    prepare_model_cfg(cfg)
    model = MODELS.build(cfg.model)
    model.init_weights()
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    torch.save({"state_dict": model.state_dict(), "meta": {}}, path)
    return str(path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("a.png", "deep/b.tif"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(100, 156, (48, 64), dtype=np.uint8)
        assert cv2.imwrite(str(path), cv2.GaussianBlur(pixels, (0, 0), 3))
    return tmp_path / "images"


def test_folder_becomes_submission_results_and_overlays(
    infer, checkpoint: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    common = [CONFIG, checkpoint, str(images), "--out-dir", str(out), "--device", "cpu"]
    infer([*common, "--recursive", "--batch-size", "2", "--format", "dsb2018", *OPTIONS])

    with (out / "submission.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["ImageId", "EncodedPixels"]
    assert {image_id for image_id, _ in rows[1:]} == {"a", "b"}
    results = json.loads((out / "predictions.json").read_text())
    assert 0 < len(results) == sum(bool(mask) for _, mask in rows[1:]) <= 20
    assert sorted(path.name for path in (out / "overlays").iterdir()) == ["a.png", "b.png"]
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert last_line == f"{len(results)} cells in 2 images"


def test_unreadable_image_stops_or_is_skipped_and_listed(
    infer, checkpoint: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "broken.png").write_bytes(b"not a picture")
    common = [
        CONFIG,
        checkpoint,
        str(images),
        "--out-dir",
        str(tmp_path / "out"),
        "--device",
        "cpu",
        "--no-overlays",
    ]
    with pytest.raises(ImageError, match=r"broken\.png"):
        infer([*common, *OPTIONS])
    infer([*common, "--on-error", "skip", *OPTIONS])
    said = capsys.readouterr().err
    assert "skipped" in said and "broken.png" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".cellseg-run",
        "failed.csv",
        "images.json",
        "predictions.json",
        "submission.csv",
    ]


def test_a_run_of_other_options_is_refused_and_removed_when_asked(
    infer, checkpoint: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [CONFIG, checkpoint, str(images), "--out-dir", str(tmp_path / "out"), *OPTIONS]
    infer([*common, "--device=cpu", "--write", "dump", "coco"])
    infer([*common, "--device=cpu", "--write", "dump", "coco"])
    assert "1 of them finished by an earlier run" in capsys.readouterr().out
    other = [*common, "model.test_cfg.rcnn.max_per_img=5", "--device=cpu"]
    with pytest.raises(UsageError, match=r"a run with another model: .*--no-resume"):
        infer(other)
    infer([*other, "--no-resume"])
    assert not (tmp_path / "out/predictions.pkl").exists()
    assert (tmp_path / "out/submission.csv").exists()


def test_images_of_one_stem_are_told_apart(
    infer, checkpoint: str, images: Path, tmp_path: Path
) -> None:
    twin = images / "deep/a.tif"
    twin.write_bytes((images / "deep/b.tif").read_bytes())
    out = tmp_path / "out"
    arguments = [CONFIG, checkpoint, str(images), str(twin), "--out-dir", str(out)]
    infer([*arguments, "--device", "cpu", *OPTIONS])
    names = {path.stem for path in (out / "overlays").iterdir()}
    assert len(names) == 2 and "a" not in names


TTA_LEAF = """\
_base_ = {config!r}
tta_model = dict(type="CellTTAModel")
tta_pipeline = {pipeline}
"""
VIEWS = """[
    dict(type="LoadCellImage"),
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="Resize", scale_factor=1.5)],
            [dict(type="RandomRotate90", turns=[number]) for number in (0, 1)],
            [
                dict(
                    type="PackDetInputs",
                    meta_keys=("ori_shape", "img_shape", "scale_factor", "homography_matrix"),
                )
            ],
        ],
    ),
]"""


def test_views_are_merged(infer, checkpoint: str, images: Path, tmp_path: Path) -> None:
    config = tmp_path / "leaf.py"
    found = {}
    for name, tta in (("plain", []), ("merged", ["--tta"])):
        out = tmp_path / name
        config.write_text(TTA_LEAF.format(config=CONFIG, pipeline=VIEWS))
        arguments = [str(config), checkpoint, str(images), "--out-dir", str(out), "--no-overlays"]
        infer([*arguments, "--device", "cpu", *tta, *OPTIONS])
        found[name] = json.loads((out / "predictions.json").read_text())
    assert found["merged"] and found["merged"] != found["plain"]

    config.write_text(TTA_LEAF.format(config=CONFIG, pipeline=None))
    with pytest.raises(UsageError, match=r"--tta needs tta_pipeline, which .*leaf\.py has not"):
        infer([*arguments, "--tta"])
