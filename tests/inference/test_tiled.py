"""The run core in tiles: what `cellseg infer --tile` finds is what it finds in the whole picture."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS

from cellseg_mmdet.engine import load_config, prepare_model_cfg
from cellseg_mmdet.errors import ConfigError, ImageError, UsageError
from cellseg_mmdet.images import PlaneSelection, open_image
from cellseg_mmdet.images.scale import ScaleChoice
from cellseg_mmdet.images.tile_choice import TileChoice
from cellseg_mmdet.inference import Model, ModelSpec, Predictor, infer_images, plan
from cellseg_mmdet.inference.predictor import array_pipeline
from cellseg_mmdet.inference.seen import SeenPictures
from cellseg_mmdet.structures import ImagePrediction
from cellseg_mmdet.structures.prediction_dump import load_predictions
from cellseg_mmdet.tiling import Cover
from cellseg_mmdet.tiling.scratch import Scratch
from tests.tiling.networks import random_weights

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs/pixel"
DSB2018 = CONFIGS / "pixel_lite0_rim_cpu_dsb2018.py"
SARTORIUS = CONFIGS / "pixel_lite0_rim_cpu_sartorius.py"  # resizes by 1.5
UNTRAINED = {
    "model.backbone.init_cfg": None,
    "postprocess.0.score_thr": 0.0,
}


def blobs(height: int, width: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((height, width, channels))
    smooth = cv2.GaussianBlur(noise, (0, 0), 5).reshape(height, width, channels)
    return np.rint(1000 + 9000 * smooth).clip(0, 4095).astype(np.uint16)


def spec(config: Path, folder: Path, **options: Any) -> ModelSpec:
    """Write random weights that find many cells."""
    cfg = load_config(config, UNTRAINED)
    prepare_model_cfg(cfg)
    model = random_weights(MODELS.build(cfg.model))
    path = folder / f"{config.stem}.pth"
    torch.save(
        {"state_dict": model.state_dict(), "meta": {"dataset_meta": {"classes": ("cell",)}}}, path
    )
    return ModelSpec(str(config), str(path), device="cpu", cfg_options=UNTRAINED, **options)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def picture_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "field.tif"
    tifffile.imwrite(path, blobs(330, 420)[..., 0], tile=(64, 64), compression="zlib")
    return path


def found(
    model: ModelSpec, path: Path, out: Path, tile: TileChoice, **options: Any
) -> ImagePrediction:
    summary = infer_images(model, plan([path]), out, write=["dump"], tile=tile, **options)
    assert summary.num_images == 1
    (prediction,) = load_predictions(out / "predictions.pkl")
    return prediction


def assert_same(tiled: ImagePrediction, whole: ImagePrediction) -> None:
    assert len(whole) > 10
    assert tiled.masks == whole.masks
    # Random weights; of trained ones scores agree within 1e-5 (tests/tiling/test_real_images.py).
    np.testing.assert_allclose(tiled.scores, whole.scores, rtol=0, atol=2e-5)
    np.testing.assert_array_equal(tiled.labels, whole.labels)
    assert (tiled.image_id, tiled.img_path) == (whole.image_id, whole.img_path)


@pytest.mark.parametrize(
    ("config", "tta", "scale"),
    [
        (DSB2018, False, ScaleChoice()),
        (DSB2018, False, ScaleChoice(scale=0.8)),
        (DSB2018, True, ScaleChoice()),
        (SARTORIUS, False, ScaleChoice()),
        (SARTORIUS, True, ScaleChoice(scale=0.6)),
    ],
    ids=["as it is", "scale", "tta", "resize", "resize, scale and tta"],
)
def test_tiles_and_whole(
    config: Path, tta: bool, scale: ScaleChoice, weights: Path, picture_file: Path, tmp_path: Path
) -> None:
    model = spec(config, weights, tta=tta)
    whole = found(model, picture_file, tmp_path / "whole", TileChoice("off"), scale=scale)
    tiled = found(model, picture_file, tmp_path / "tiled", TileChoice(128), scale=scale)
    assert_same(tiled, whole)


def test_auto_cuts_what_does_not_fit(weights: Path, picture_file: Path, tmp_path: Path) -> None:
    model = spec(DSB2018, weights)
    predictor = model.load()
    assert not predictor.tiled(TileChoice("auto", memory_gb=8)).applies((330, 420))
    tight = TileChoice("auto", memory_gb=0.03)
    assert predictor.tiled(tight).applies((330, 420))
    whole = found(model, picture_file, tmp_path / "whole", TileChoice("off"))
    assert_same(found(model, picture_file, tmp_path / "tiled", tight), whole)
    with pytest.raises(ImageError, match="smallest tile of this model takes"):
        found(model, picture_file, tmp_path / "none", TileChoice("auto", memory_gb=0.001))


def test_a_level_of_a_pyramid(weights: Path, tmp_path: Path) -> None:
    full = blobs(640, 512)[..., 0]
    path = tmp_path / "pyramid.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        metadata = dict(axes="YX", PhysicalSizeX=0.5, PhysicalSizeY=0.5)
        writer.write(full, subifds=1, tile=(64, 64), metadata=metadata)
        writer.write(np.ascontiguousarray(full[::2, ::2]), subfiletype=1, tile=(64, 64))
    selection = PlaneSelection(level=1)
    with open_image(path, selection) as source:
        assert source.size_hw == (320, 256)
        assert source.levels == ((320, 256),)
        assert source.pixel_size_um == (1.0, 1.0)
        np.testing.assert_array_equal(
            source.read_window(10, 20, 30, 40)[..., 0], full[::2, ::2][10:40, 20:60]
        )
    with pytest.raises(ImageError, match=r"has no level 2; there are 0 \(640 x 512\), 1 \(320"):
        open_image(path, PlaneSelection(level=2))
    model = spec(DSB2018, weights)
    small = tmp_path / "small.tif"
    tifffile.imwrite(small, np.ascontiguousarray(full[::2, ::2]))
    whole = found(model, small, tmp_path / "whole", TileChoice("off"))
    tiled = found(model, path, tmp_path / "tiled", TileChoice(128), selection=selection)
    assert tiled.masks == whole.masks


def test_from_python(weights: Path, picture_file: Path) -> None:
    model = Model(spec(DSB2018, weights).load())
    pixels = tifffile.imread(picture_file)
    whole, tiled = model(pixels, tile="off"), model(pixels, tile=128)
    assert len(whole) > 10
    assert tiled.masks == whole.masks
    with open_image(picture_file) as source:
        assert model(source, tile=128).masks == whole.masks
    assert model(pixels).masks == whole.masks  # which fits
    with pytest.raises(ConfigError, match="tile=3"):
        model(pixels, tile=3)


def test_a_pipeline_that_cannot_be_cut(weights: Path) -> None:
    model = spec(DSB2018, weights)
    predictor = Predictor(model.config, model.checkpoint, device="cpu", cfg_options=UNTRAINED)
    loading, packing = predictor._pipeline.transforms
    predictor._pipeline.transforms = [loading, loading, packing]
    with pytest.raises(UsageError, match=r"LoadCellImage, PackDetInputs there.*--tile off"):
        predictor.tiled(TileChoice(128)).applies((1000, 1000))
    assert not predictor.tiled(TileChoice("off")).applies((1000, 1000))


@pytest.mark.parametrize("factors_yx", [(1.0, 1.0), (0.5, 0.5)], ids=["as it is", "resized"])
def test_what_the_network_sees_is_read_by_window(
    tmp_path: Path, factors_yx: tuple[float, float]
) -> None:
    size, path = 6000, tmp_path / "large.tif"
    tile = blobs(240, 240, 3)
    count = (size // 240) ** 2
    tifffile.imwrite(
        path, (tile for _ in range(count)), shape=(size, size, 3), dtype=np.uint16,
        tile=(240, 240), photometric="rgb",
    )  # fmt: skip
    pipeline = Compose(array_pipeline(load_config(DSB2018, UNTRAINED)))
    tracemalloc.start()
    try:
        with open_image(path) as source, Scratch(0, str(tmp_path)) as scratch:
            seen, size_hw = SeenPictures(pipeline).picture(source, scratch, factors_yx)
            for core, _ in Cover(*size_hw, 1000, 0):
                assert seen.read(*core).shape == (core.height, core.width, 3)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 150e6  # of 216 MB, which would be 1.3 GB while its percentiles are taken


_LARGE = """
import resource, sys
import numpy as np, tifffile
from cellseg_mmdet.images.tile_choice import TileChoice
from cellseg_mmdet.inference import infer_images, plan
from tests.inference.test_tiled import DSB2018, spec
from pathlib import Path

folder = Path(sys.argv[1])
size = int(sys.argv[2])
rng = np.random.default_rng(0)
patch = rng.integers(0, 255, (256, 256), dtype=np.uint8)

def tiles():
    for _ in range((size // 256) ** 2):
        yield patch

tifffile.imwrite(folder / "large.tif", tiles(), shape=(size, size), dtype=np.uint8, tile=(256, 256))
model = spec(DSB2018, folder, tta=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(infer_images(
    model, plan([folder / "large.tif"]), folder / "out", write=["coco"], tile=TileChoice("auto", 0.5)
))
print("grown", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_a_large_picture_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _LARGE, str(tmp_path), "2560"],
        capture_output=True, text=True, cwd=root, env=environment(root), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    grown_mb = float(done.stdout.split()[-1])
    # The network alone would take 1.4 GB for the whole picture.
    assert grown_mb < 700, done.stdout


def environment(root: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}


def test_tiles_that_overlap_can_be_asked_for(weights: Path, picture_file: Path) -> None:
    predictor = spec(DSB2018, weights).load()
    asked = predictor.tiled(TileChoice(256), cut_open=False, overlap=40)
    with open_image(picture_file) as image:
        asked.predict(image, "field.image")
    assert asked.overlapped is not None
    assert asked.overlapped.overlap == 40
    assert "asked for" in asked.pop_notes()[0]
    exact = predictor.tiled(TileChoice(256))
    with open_image(picture_file) as image:
        exact.predict(image, "field.image")
    assert exact.overlapped is None
    assert exact.pop_notes() == []


GROUP_NORM = {
    **UNTRAINED,
    "model.decoder.norm_cfg": dict(type="GN", num_groups=4),
}


def test_a_model_that_cannot_be_taken_apart(
    weights: Path, picture_file: Path, tmp_path: Path
) -> None:
    cfg = load_config(DSB2018, GROUP_NORM)
    prepare_model_cfg(cfg)
    path = tmp_path / "group_norm.pth"
    model = random_weights(MODELS.build(cfg.model))
    torch.save(
        {"state_dict": model.state_dict(), "meta": {"dataset_meta": {"classes": ("cell",)}}}, path
    )
    source = ModelSpec(str(DSB2018), str(path), device="cpu", cfg_options=GROUP_NORM)
    tiled = source.load().tiled(TileChoice(128))
    with open_image(picture_file) as image:
        found = tiled.predict(image, "field.image")
    assert len(found) > 10
    assert (found.height, found.width) == (330, 420)
    notes = tiled.pop_notes()
    assert "GroupNorm decoder.convs" in notes[0]
    assert "overlapping tiles" in notes[1]
    assert tiled.pop_notes() == []
    assert tiled.overlapped is not None
    assert tiled.overlapped.num_windows >= 12
    summary = infer_images(
        source, plan([picture_file]), tmp_path / "out", write=["coco"], tile=TileChoice(128)
    )
    assert "overlapping tiles" in summary.warnings[0]
