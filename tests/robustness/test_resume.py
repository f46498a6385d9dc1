"""A training that is resumed has the losses and ends with the weights of one that was not interrupted."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest
import torch

from cellseg_mmdet.engine.checkpoint import read_checkpoint
from tests.robustness.conftest import config_of
from tests.tools.conftest import TinyRun

pytestmark = [pytest.mark.slow, pytest.mark.long]


def train(run: TinyRun, kind: str, work_dir: Path, *options: str, resume: Path | None = None):
    arguments = [config_of(run, kind), "--work-dir", work_dir]
    if resume is not None:
        arguments += ["--resume", resume]
    run.tool("train", *arguments, options=options)
    return work_dir


def losses(work_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (work_dir / "losses.jsonl").read_text().splitlines()]


def assert_same_end(whole: Path, resumed: Path, first: int, last: str) -> None:
    assert losses(resumed) == losses(whole)[first:]
    expected, found = (read_checkpoint(folder / last) for folder in (whole, resumed))
    assert expected["state_dict"].keys() == found["state_dict"].keys()
    for key, value in expected["state_dict"].items():
        assert torch.equal(value, found["state_dict"][key]), key
    assert expected["param_schedulers"] == found["param_schedulers"]
    for name in ("loss", "lr"):
        one, two = (
            ckpt["message_hub"]["log_scalars"][f"train/{name}"] for ckpt in (expected, found)
        )
        assert one.data[0].tolist() == two.data[0].tolist()


@pytest.fixture(scope="module", params=["mask_rcnn", "unet"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def whole(random_run: TinyRun, kind: str) -> Path:
    """Train without an interruption; the seed is drawn."""
    return train(random_run, kind, random_run.folder / f"whole {kind}")


def test_it_goes_on_to_the_last_bit(random_run, kind, whole, tmp_path):
    points = {
        # In the first epoch, at its end before and after the epoch's hooks, in the last one and before its end.
        "mask_rcnn": ["iter_1", "iter_4", "epoch_1", "iter_11", "iter_12"],
        "unet": ["iter_10"],
    }[kind]
    last = "epoch_3.pth" if kind == "mask_rcnn" else "iter_14.pth"
    for point in points:
        resumed = train(random_run, kind, tmp_path / point, resume=whole / f"{point}.pth")
        first = read_checkpoint(whole / f"{point}.pth")["meta"]["iter"]
        if first == len(losses(whole)):
            assert not (resumed / "losses.jsonl").exists()
            (resumed / "losses.jsonl").touch()
        assert_same_end(whole, resumed, first, last)


def test_the_number_of_workers_plays_no_part(random_run, kind, whole, tmp_path):
    seed = read_checkpoint(next(whole.glob("*_1*.pth")))["meta"]["seed"]
    one = train(
        random_run,
        kind,
        tmp_path,
        f"randomness.seed={seed}",
        "train_dataloader.num_workers=0",
        "train_dataloader.persistent_workers=False",
    )
    # A seed that is given is that of the sampler as well; one that was drawn is not.
    assert len(losses(one)) == len(losses(whole))
    two = train(random_run, kind, tmp_path / "two", f"randomness.seed={seed}")
    assert losses(one) == losses(two)


def test_every_pass_has_random_numbers_of_its_own(whole, kind):
    found = losses(whole)
    assert len({line["loss"] for line in found}) == len(found)
    if kind == "mask_rcnn":
        orders = [[line["images"] for line in found[i : i + 4]] for i in (0, 4, 8)]
        assert orders[0] != orders[1] != orders[2]
        assert all(sorted(chain(*order)) == list(range(1, 9)) for order in orders)


def test_a_validation_that_was_cut_off_is_made_up_for(random_run, kind, whole, tmp_path):
    if kind == "unet":
        pytest.skip("one kind is enough")
    resumed = train(random_run, kind, tmp_path, resume=whole / "epoch_2.pth")
    (log,) = resumed.glob("*/*.log")
    text = log.read_text()
    assert "The validation after the last checkpoint is made up for." in text
    assert text.count("coco/segm_mAP:") == 2
    (log,) = train(random_run, kind, tmp_path / "2", resume=whole / "iter_9.pth").glob("*/*.log")
    assert "made up for" not in log.read_text()
