"""What counts as a difference between tiles and the whole, and how the benchmark of them is told what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.masks import Runs
from tools.benchmark.seam_count import Differences, Found, differences, total

BENCHMARK = Path(__file__).resolve().parents[2] / "tools" / "benchmark"


@pytest.fixture(scope="module")
def seams() -> Any:
    """The script, which finds its neighbours beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARK)
        before = set(sys.modules)
        import seams as module

        yield module
        for name in set(sys.modules) - before:
            path = getattr(sys.modules[name], "__file__", None)
            if path and Path(path).parent == BENCHMARK:
                del sys.modules[name]


def cells(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Return a label map (40, 60) of rectangles y0, x0, y1, x1."""
    labels = np.zeros((40, 60), int)
    for number, (y0, x0, y1, x1) in enumerate(boxes, start=1):
        labels[y0:y1, x0:x1] = number
    return labels


def found(labels: np.ndarray, scores: list[float] | None = None) -> Found:
    return Found.from_label_map(labels, None if scores is None else np.array(scores))


def test_a_picture_and_itself() -> None:
    whole = found(cells((0, 0, 10, 10), (20, 20, 30, 40)), [0.9, 0.6])
    assert differences(whole, whole) == Differences(cells=2)
    nothing = found(cells(), [])
    assert differences(nothing, nothing) == Differences()


def test_changed_lost_and_added() -> None:
    whole = found(cells((0, 0, 10, 10), (20, 0, 30, 10), (20, 20, 30, 30)), [0.9, 0.8, 0.7])
    # The first has lost a row (IoU .9), the second half and a bit (.4): another cell. The third is equal.
    tiles = found(cells((20, 20, 30, 30), (0, 0, 9, 10), (20, 0, 24, 10)), [0.5, 0.88, 0.8])
    assert differences(whole, tiles) == Differences(
        cells=3, changed=1, lost=1, added=1, largest_score_difference=pytest.approx(0.2)
    )
    assert differences(whole, tiles).differ == 3


@pytest.mark.parametrize(("rows", "visible"), [(9, 0), (8, 1)])
def test_visibly_changed(rows: int, visible: int) -> None:
    whole, tiles = found(cells((0, 0, 10, 10))), found(cells((0, 0, rows, 10)))
    counted = differences(whole, tiles)
    assert (counted.changed, counted.visibly_changed) == (1, visible)


def test_a_cell_cut_in_two_is_changed_or_lost_and_leaves_another() -> None:
    whole = found(cells((0, 0, 10, 20)))
    assert differences(whole, found(cells((0, 0, 10, 15), (0, 15, 10, 20)))) == Differences(
        cells=1, changed=1, added=1, visibly_changed=1
    )
    halves = found(cells((0, 0, 10, 10), (0, 10, 10, 20)))
    assert differences(whole, halves) == Differences(cells=1, lost=1, added=2)


def test_equal_cells_are_paired_by_their_scores() -> None:
    one = Runs.from_label_map(cells((0, 0, 10, 10)))
    masks = Runs.concatenate([one, one])
    whole = Found(masks, np.array([0.9, 0.2]), np.zeros(2, int))
    tiles = Found(masks, np.array([0.2, 0.9]), np.zeros(2, int))
    assert differences(whole, tiles) == Differences(cells=2)
    once = Found(one, np.array([0.9]), np.zeros(1, int))
    assert differences(whole, once) == Differences(cells=2, lost=1)
    assert differences(once, whole) == Differences(cells=1, added=1)


def test_another_class_is_another_cell() -> None:
    masks = Runs.from_label_map(cells((0, 0, 10, 10)))
    whole, tiles = (Found(masks, np.ones(1), np.array([label])) for label in (0, 1))
    assert differences(whole, tiles) == Differences(cells=1, lost=1, added=1)


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(40, 60\).*\(4, 4\)"):
        differences(found(cells()), found(np.zeros((4, 4), int)))


def test_sums() -> None:
    one = Differences(3, 1, 1, 0, 1, 0.1)
    assert total([one, Differences(5, 0, 0, 2, 0, 0.3)]) == Differences(8, 1, 1, 2, 1, 0.3)
    assert total([]) == Differences()


@settings(max_examples=40)
@given(data=st.data())
def test_what_is_not_equal_is_counted_once(data: st.DataObject) -> None:
    corner = st.tuples(st.integers(0, 30), st.integers(0, 50))
    maps = []
    for _ in range(2):
        corners = data.draw(st.lists(corner, max_size=6))
        maps.append(found(cells(*((y, x, y + 8, x + 9) for y, x in corners))))
    counted = differences(*maps)
    first, second = (set(each.masks.to_strings(order="row")) for each in maps)
    assert counted.cells - counted.changed - counted.lost == len(first & second)
    assert len(second) == counted.cells - counted.lost + counted.added
    assert (counted.differ == 0) == (first == second)


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ((520, 704), {"2": 520, "4": 352, "9": 235}),
        ((1024, 1024), {"4": 512, "9": 342}),
        ((300, 900), {"2": 450, "4": 450, "9": 300}),
    ],
)
def test_sides_of_tiles(seams: Any, size: tuple[int, int], sides: dict[str, int]) -> None:
    assert seams.sides_of(*size) == sides
    assert seams.sides_of(*size[::-1]) == sides


def test_models_of_the_command_line(seams: Any) -> None:
    parse = seams.Subject.parse
    assert parse("nuclei") == seams.Subject("exact", "nuclei", None, False)
    assert parse("nuclei").title == "nuclei (trained)"
    sliced = parse("sahi:mask-rcnn_r18_bn=a.pth@float64")
    assert sliced == seams.Subject("sahi", "mask-rcnn_r18_bn", "a.pth", True)
    assert parse("rtmdet-ins_tiny@float64").title == "rtmdet-ins_tiny (random weights, float64)"
    assert parse("stardist=folder").kind == "stardist"
    assert [each.overlap for each in seams.with_overlaps("overlap:phase", ["auto", "64"])] == [
        None,
        64,
    ]
    assert len(seams.with_overlaps("phase", ["auto", "64"])) == 1
    for text, message in (
        ("cut:nuclei", "allowed are exact, overlap, sahi"),
        ("nuclei@half", "float64 is allowed"),
        ("stardist", "stardist=CHECKPOINT"),
        ("sahi:cellpose=a", "cellpose=CHECKPOINT"),
    ):
        with pytest.raises(UsageError, match=message):
            parse(text)
    with pytest.raises(UsageError, match="NAME=ANNOTATIONS:FOLDER"):
        seams.data_set("a.json:images", 2, Path())


def test_rows(seams: Any, tmp_path: Path) -> None:
    masks = found(cells((0, 0, 10, 10), (20, 20, 30, 30))).masks
    arrays = {
        "starts": masks.starts, "lengths": masks.lengths, "offsets": masks.offsets,
        "size_hw": np.array([40, 60]), "scores": np.array([0.9, 0.8]), "labels": np.zeros(2, int),
    }  # fmt: skip
    np.savez(tmp_path / "0-whole.npz", **arrays)
    np.savez(tmp_path / "0-4.npz", label_map=cells((0, 0, 8, 10)), scores=np.array([0.5]))
    windows = dict(num_windows=6, num_grown=1, num_cut=0, overlap=40)
    np.savez(tmp_path / "0-9.npz", **arrays, **windows)
    data = seams.DataSet("drawn", ["0.npz"], [{"4": 30, "9": 20}])
    counted = seams.compared(data, tmp_path)
    subject = seams.Subject("overlap", "nuclei", None, False)
    assert seams.row(subject, data, counted) == (
        "| nuclei (trained) | overlap auto: 40 to 40 pixels; 6 windows, 1 cells again in larger ones | drawn | 2 "
        "| - | 2 | 0 | 50 % | 1 (1) | 1 | 0 | 0.4 |"
    )
    assert seams.row(subject, data, {"fault": "skipped: no sahi"}) == (
        "| nuclei (trained) | skipped: no sahi | drawn | | | | | | | | | |"
    )


def test_the_longest_side_of_true_cells(seams: Any) -> None:
    import peer_seams

    assert peer_seams.largest_side_px(cells((0, 0, 5, 9), (20, 20, 33, 30))) == 13
    assert peer_seams.largest_side_px(cells()) == 0


@pytest.mark.slow
def test_a_random_detector_finds_something_and_is_the_same_in_tiles(
    seams: Any, tmp_path: Path
) -> None:
    from own_seams import Tiled, model_config, write_random

    rng = np.random.default_rng(0)
    picture = rng.integers(0, 60, (96, 110)).astype(np.uint8)
    for y, x in rng.integers(0, 90, (12, 2)):
        picture[y : y + 10, x : x + 10] += 120
    config = model_config("mask-rcnn_r18_bn", tmp_path)
    write_random(config, tmp_path / "random.pth", picture)
    subject = seams.Subject("exact", "mask-rcnn_r18_bn", None, True)
    job = seams.settings_of(subject, tmp_path) | {
        "kind": "exact", "checkpoint": str(tmp_path / "random.pth"), "float64": True, "overlap": None, "threads": 1,
    }  # fmt: skip
    few = {"model.test_cfg.rpn.max_per_img": 100, "model.test_cfg.rcnn.max_per_img": 30}
    job["options"] = job["options"] | few
    np.savez(tmp_path / "0-whole.npz", **Tiled(job).whole(picture, picture))
    for label, kind in (("exact", "exact"), ("overlap", "overlap")):
        tiles = Tiled(job | {"kind": kind, "overlap": 32}).tiles(picture, picture, 56)
        np.savez(tmp_path / f"0-{label}.npz", **tiles)
    whole, _ = seams.read_found(tmp_path / "0-whole.npz")
    exact, told = seams.read_found(tmp_path / "0-exact.npz")
    assert len(whole.masks) > 10
    counted = differences(whole, exact)
    assert (counted.differ, told) == (0, {})
    assert counted.largest_score_difference < 1e-6
    overlapped, told = seams.read_found(tmp_path / "0-overlap.npz")
    assert told["overlap"] == 32
    assert told["num_windows"] >= 4
    assert differences(whole, overlapped).differ > 0
