from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cellseg_mmdet.errors import DataError, UsageError
from cellseg_mmdet.fusion import Detections, FusionOptions
from cellseg_mmdet.fusion.dumps import fuse_dumps
from cellseg_mmdet.structures import load_predictions
from tests.fusion.scenes import HEIGHT, WIDTH, draw_detections, jittered, with_masks


def entry(number: int, detections: Detections, *, soft: bool = True) -> dict[str, Any]:
    """Return what `DumpPredictions` writes for an image, with the keys that it takes from mmdet."""
    instances = {
        "bboxes": torch.from_numpy(detections.boxes),
        "scores": torch.from_numpy(detections.scores),
        "labels": torch.from_numpy(detections.labels),
        "masks": detections.masks.to_coco(),
        "maskness": torch.from_numpy(detections.mask_scores),
    }
    if soft:
        instances["soft_masks"] = torch.from_numpy(detections.soft_masks)
    return {
        "img_id": number,
        "img_path": f"images/{number}.tif.png",
        "ori_shape": (HEIGHT, WIDTH),
        "img_shape": (80, 120),
        "scale_factor": (2.0, 2.0),
        "pred_instances": instances,
    }


def dump(path: str, entries: list[dict[str, Any]]) -> str:
    Path(path).write_bytes(pickle.dumps(entries))
    return path


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Detections, Detections]]:
    """Two sources' detections of three images, the second image without any; in a folder to write to."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    scenes = []
    for count in (12, 0, 5):
        first = draw_detections(rng, count)
        second = jittered(first, rng) if count else first
        scenes.append((with_masks(first, 14, rng), with_masks(second, 7, rng)))
    return scenes


@pytest.fixture
def dumps(scenes: list[tuple[Detections, Detections]]) -> tuple[str, str]:
    first, second = zip(*scenes, strict=True)
    return (
        dump("a.pkl", [entry(number, found) for number, found in enumerate(first)]),
        dump("b.pkl", [entry(number, found) for number, found in enumerate(second)][::-1]),
    )


def test_a_dump_alone_is_itself_by_falling_score(dumps: tuple[str, str]) -> None:
    summary = fuse_dumps(dumps[:1], "fused.pkl")
    assert str(summary) == "17 detections fused to 17 instances in 3 images"
    for before, after in zip(
        load_predictions(dumps[0]), load_predictions("fused.pkl"), strict=True
    ):
        order = before.by_descending_score()
        assert (after.image_id, after.img_id) == (before.image_id, before.img_id)
        assert after.masks == before.masks[order]
        for name in ("boxes", "scores", "labels", "soft_masks"):
            assert (getattr(after, name) == getattr(before, name)[order]).all()
        assert after.mask_scores == pytest.approx(before.mask_scores[order])


def test_the_layout_is_that_of_a_dump(dumps: tuple[str, str]) -> None:
    fuse_dumps(dumps, "fused.pkl")
    fused = pickle.loads(Path("fused.pkl").read_bytes())
    assert [(one["img_id"], one["img_path"], one["ori_shape"]) for one in fused] == [
        (number, f"images/{number}.tif.png", (HEIGHT, WIDTH)) for number in range(3)
    ]
    instances = fused[0]["pred_instances"]
    count = len(instances["scores"])
    assert count >= 12
    assert {
        name: (value.shape, value.dtype) for name, value in instances.items() if name != "masks"
    } == {
        "bboxes": ((count, 4), np.float32),
        "scores": ((count,), np.float32),
        "labels": ((count,), np.int64),
        "maskness": ((count,), np.float32),
        "soft_masks": ((count, 14, 14), np.uint8),
    }
    assert len(instances["masks"]) == count
    assert instances["masks"][0]["size"] == [HEIGHT, WIDTH]
    # And a dump can be fused again.
    assert str(fuse_dumps(["fused.pkl", dumps[0]], "again.pkl")).endswith("in 3 images")


def test_the_weights_are_those_of_the_dumps(dumps: tuple[str, str]) -> None:
    fuse_dumps(dumps, "one.pkl", weights=[1, 3])
    fuse_dumps(dumps[::-1], "other.pkl", weights=[3, 1])
    one, other = (
        sorted(load_predictions(name), key=lambda image: image.image_id)
        for name in ("one.pkl", "other.pkl")
    )
    for first, second in zip(one, other, strict=True):
        assert first.scores == pytest.approx(second.scores)
    fuse_dumps(dumps, "equal.pkl")
    assert load_predictions("equal.pkl")[0].scores != pytest.approx(one[0].scores)


def test_dumps_without_soft_masks_vote(scenes: list[tuple[Detections, Detections]]) -> None:
    paths = [
        dump(name, [entry(i, pair[k], soft=name == "a.pkl") for i, pair in enumerate(scenes)])
        for k, name in enumerate(("a.pkl", "b.pkl"))
    ]
    assert fuse_dumps(paths, "fused.pkl").without_soft_masks == ("b.pkl",)
    fused = load_predictions("fused.pkl")
    assert fused[0].soft_masks is None
    assert fused[0].mask_scores is not None


def test_dumps_of_different_folds(scenes: list[tuple[Detections, Detections]]) -> None:
    first = dump("a.pkl", [entry(0, scenes[0][0]), entry(1, scenes[1][0])])
    second = dump("b.pkl", [entry(1, scenes[1][1]), entry(2, scenes[2][1])])
    with pytest.raises(DataError, match=r"a.pkl lacks 1 of the 2 images of b.pkl: 2.tif; .*union"):
        fuse_dumps([first, second], "fused.pkl")
    assert not Path("fused.pkl").exists()

    fuse_dumps([first, second], "fused.pkl", union=True)
    fused = load_predictions("fused.pkl")
    assert [image.img_id for image in fused] == [0, 1, 2]
    # Nothing is missing where a dump does not hold the image: scores stay.
    assert sorted(fused[2].scores.tolist()) == sorted(scenes[2][1].scores.tolist())


def test_processes_change_nothing(scenes: list[tuple[Detections, Detections]]) -> None:
    images = [scenes[number % 3] for number in range(16)]
    paths = [
        dump(name, [entry(i, pair[k]) for i, pair in enumerate(images)])
        for k, name in enumerate(("a.pkl", "b.pkl"))
    ]
    for workers in (1, 2):
        fuse_dumps(paths, f"{workers}.pkl", workers=workers)
    alone, together = (load_predictions(f"{workers}.pkl") for workers in (1, 2))
    for one, other in zip(alone, together, strict=True):
        assert one.image_id == other.image_id
        assert one.masks == other.masks
        for name in ("boxes", "scores", "labels", "soft_masks", "mask_scores"):
            assert (getattr(one, name) == getattr(other, name)).all()


def test_other_sizes_are_an_error(scenes: list[tuple[Detections, Detections]]) -> None:
    first = dump("a.pkl", [entry(0, scenes[0][0])])
    other = entry(0, scenes[1][0]) | {"ori_shape": (20, 30)}
    second = dump("b.pkl", [other])
    with pytest.raises(DataError, match=r"image 0.tif has 40 x 60 .* a.pkl, 20 x 30 in b.pkl"):
        fuse_dumps([first, second], "fused.pkl")


def test_labels_beyond_the_classes_are_an_error(dumps: tuple[str, str]) -> None:
    fuse_dumps(dumps, "fused.pkl", classes=("astro", "cort", "shsy5y"))
    with pytest.raises(
        DataError, match=r"a.pkl: image 0.tif: instance \d+ has label [12]; .* 1 class.*: cell"
    ):
        fuse_dumps(dumps, "fused.pkl", classes=("cell",))


@pytest.mark.parametrize("cut", [0, 10, 500])
def test_a_dump_that_is_cut_off_is_an_error(dumps: tuple[str, str], cut: int) -> None:
    Path("b.pkl").write_bytes(Path("b.pkl").read_bytes()[:cut])
    Path("fused.pkl").write_text("of before")
    with pytest.raises(DataError, match=r"b\.pkl"):
        fuse_dumps(dumps, "fused.pkl")
    assert Path("fused.pkl").read_text() == "of before"


def test_weights_are_checked_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match="one each is needed for 1 source"):
        fuse_dumps(["no.pkl"], "fused.pkl", weights=[1, 2], options=FusionOptions("nms"))
