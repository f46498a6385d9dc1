from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cellseg_mmdet.engine.checkpoint import read_checkpoint
from cellseg_mmdet.models.mask_heads import paste_masks
from cellseg_mmdet.structures import ImagePrediction, load_predictions

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_a_fault_of_the_data_is_told_in_one_line(tmp_path):
    config = ROOT / "configs/mask_rcnn/mask-rcnn_r18_fpn_demo_synthetic.py"
    result = subprocess.run(
        [sys.executable, ROOT / "tools/train.py", config, "--work-dir", tmp_path],
        env=os.environ | {"CELLSEG_DATA": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "error: " in result.stderr
    assert "train_fold0.json: no such annotation file" in result.stderr


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_training_is_resumed_from_the_newest_checkpoint(tiny_run, checkpoint, tmp_path):
    first = read_checkpoint(checkpoint)
    (tmp_path / "epoch_1.pth").symlink_to(checkpoint)
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_1.pth"))

    arguments = (tiny_run.config, "--resume", "--work-dir", tmp_path)
    tiny_run.tool("train", *arguments, options=("train_cfg.max_epochs=2",))

    second = read_checkpoint(tmp_path / "epoch_2.pth")
    assert (first["meta"]["epoch"], first["meta"]["iter"]) == (1, 4)
    assert (second["meta"]["epoch"], second["meta"]["iter"]) == (2, 8)
    losses = second["message_hub"]["log_scalars"]["train/loss"].data[0]
    assert losses[:4].tolist() == first["message_hub"]["log_scalars"]["train/loss"].data[0].tolist()
    assert len(losses) == 8


def test_images_without_annotations_are_predicted(tiny_run, checkpoint, tmp_path):
    content = json.loads((tiny_run.folder / "test.json").read_text())
    images_only = tiny_run.folder / "images_only.json"
    images_only.write_text(json.dumps(content | {"annotations": []}))
    options = ("test_evaluator=[]", "test_dataloader.dataset.ann_file=images_only.json")

    arguments = (tiny_run.config, checkpoint, "--work-dir", tmp_path, "--out", tmp_path / "p.pkl")
    tiny_run.tool("test", *arguments, options=options)

    predictions = pickle.loads((tmp_path / "p.pkl").read_bytes())
    assert [prediction["img_id"] for prediction in predictions] == tiny_run.test_ids


def predictions(tiny_run, checkpoint, folder, *arguments) -> list[ImagePrediction]:
    out = folder / "preds.pkl"
    tiny_run.tool(
        "test", tiny_run.config, checkpoint, "--work-dir", folder, "--out", out, *arguments
    )
    return load_predictions(out)


def test_views_are_merged(tiny_run, checkpoint, tmp_path):
    plain = predictions(tiny_run, checkpoint, tmp_path)
    merged = predictions(tiny_run, checkpoint, tmp_path, "--tta")

    assert [prediction.img_id for prediction in merged] == tiny_run.test_ids
    for one, several in zip(plain, merged, strict=True):
        assert (one.height, one.width) == (several.height, several.width)
        assert len(several) == 20  # max_per_img
        assert (np.diff(several.scores) <= 0).all()
        assert several.masks.areas.any()
        assert several.soft_masks is None
        assert not np.array_equal(one.boxes, several.boxes)
    assert max(prediction.scores.max() for prediction in merged) > 0.01


def test_views_of_stock_masks_are_refused_in_one_line(tiny_run, checkpoint, tmp_path):
    arguments = (tiny_run.config, checkpoint, "--work-dir", tmp_path, "--tta")
    with pytest.raises(SystemExit, match=r"error: .*CellTTAModel.* RoIFCNMaskHead"):
        tiny_run.tool("test", *arguments, options=("model.roi_head.mask_head.type=FCNMaskHead",))


@pytest.mark.parametrize("tta", [(), ("--tta",)], ids=["plain", "tta"])
def test_soft_masks_are_those_of_the_masks(tiny_run, checkpoint, tmp_path, capfd, tta):
    found = predictions(tiny_run, checkpoint, tmp_path, "--soft-masks", *tta)

    for prediction in found:
        assert prediction.soft_masks.shape == (len(prediction), 12, 12)
        pasted = paste_masks(
            torch.from_numpy(prediction.soft_masks / np.float32(255)),
            torch.from_numpy(prediction.boxes),
            prediction.height,
            prediction.width,
            threshold=0.05,
        )
        # The 8 bits of a probability decide a pixel here and there.
        np.testing.assert_allclose(pasted.areas, prediction.masks.areas, rtol=0.1, atol=5)
    count = sum(map(len, found))
    told = capfd.readouterr()
    expected = f"; {count * 144:,} bytes of it are the soft masks of {count:,} instances"
    assert expected in told.out + told.err


def test_painted_images_are_written(tiny_run, checkpoint, tmp_path):
    arguments = (tiny_run.config, checkpoint, "--work-dir", tmp_path, "--show-dir", "painted")
    tiny_run.tool("test", *arguments)

    painted = sorted(path.name for path in tmp_path.glob("*/painted/*.png"))
    assert painted == sorted(f"{img_id}.png" for img_id in tiny_run.test_ids)


@pytest.fixture
def bomb(checkpoint, tmp_path) -> tuple[Path, Path]:
    """Return a usable checkpoint with a bomb in it, and what the bomb would make."""
    path, marker = tmp_path / "bomb.pth", tmp_path / "exploded"
    torch.save(read_checkpoint(checkpoint) | {"extra": Bomb(marker)}, path)
    return path, marker


@pytest.mark.parametrize("tool", ["train", "test"])
def test_code_in_a_checkpoint_is_refused(tiny_run, bomb, tmp_path, tool):
    path, marker = bomb
    source = {"train": ("--resume", path), "test": (path,)}[tool]

    with pytest.raises(SystemExit, match=r"error: checkpoint .*bomb\.pth is refused.*mkdir"):
        tiny_run.tool(tool, tiny_run.config, *source, "--work-dir", tmp_path / "run")

    assert not marker.exists()


def test_code_in_a_trusted_checkpoint_is_run(tiny_run, bomb, tmp_path):
    path, marker = bomb

    tiny_run.tool(
        "test", tiny_run.config, path, "--trust-checkpoint", "--work-dir", tmp_path / "run"
    )

    assert marker.is_dir()


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("train", ["--resume", "none.pth"], r"checkpoint none\.pth: there is no such file"),
        ("test", ["none.pth"], r"checkpoint none\.pth: there is no such file"),
        ("test", ["https://x/y.pth", "--out", "preds.json"], r"must end with \.pkl or \.pickle"),
        ("test", ["https://x/y.pth", "--soft-masks"], "--soft-masks .* give --out too"),
        ("train", ["--launcher", "slurm"], "SLURM_PROCID.* is not set"),
        ("train", ["--auto-scale-lr"], "base_batch_size"),
    ],
)
def test_mistakes_end_in_one_line(tiny_run, tmp_path, monkeypatch, tool, arguments, message):
    for name in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        tiny_run.tool(tool, tiny_run.config, *arguments, "--work-dir", tmp_path)
