"""Cells to maps and back, where what has to come out is known on paper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg_mmdet.errors import ConfigError, DataError
from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.pixel_codes import PIXEL_CODES, TURNS, ChannelGroup, build_pixel_code
from cellseg_mmdet.pixel_codes.code import class_probabilities, largest_pieces, owners
from cellseg_mmdet.pixel_codes.regions import connected_parts
from tests.pixel_codes.scenes import CONFIGS, best_ious, cells, code_of, disk, stacked, turned

every_code = pytest.mark.parametrize("name", CONFIGS)
splitting = pytest.mark.parametrize("name", [name for name in CONFIGS if name != "foreground"])


def test_every_code_is_tested() -> None:
    assert {config["type"] for config in CONFIGS.values()} == set(PIXEL_CODES.names())


@every_code
@pytest.mark.parametrize("radius", [0, 1, 3, 8.5, 20])
def test_a_disk_comes_back(name: str, radius: float) -> None:
    code, true = code_of(name), stacked(disk(50, 61, 25, 30, radius))
    found = code.decode(code.encode(true).maps)
    assert len(found) == 1
    assert best_ious(found.masks, true)[0] > (0.9 if "rays" in name else 0.97)
    assert found.scores[0] == pytest.approx(1, abs=0.02)


@splitting
def test_touching_disks_come_back_apart(name: str) -> None:
    code = code_of(name)
    first, second = disk(40, 70, 20, 20, 12), disk(40, 70, 20, 45, 12.5)
    third = disk(40, 70, 33, 33, 5) & ~first & ~second
    true = stacked(first, second, third)
    found = code.decode(code.encode(true).maps)
    assert len(found) == 3
    assert (best_ious(found.masks, true) > 0.85).all()


def test_foreground_alone_joins_what_touches() -> None:
    code = code_of("foreground")
    true = stacked(disk(20, 40, 10, 10, 6), disk(20, 40, 10, 22, 6))
    assert len(code.decode(code.encode(true).maps)) == 1


@pytest.mark.parametrize("name", ["flows", "rims", "foreground"])
def test_a_long_bar_comes_back(name: str) -> None:
    bar = np.zeros((9, 300), dtype=bool)
    bar[3:6, 5:295] = True
    code = code_of(name)
    found = code.decode(code.encode(stacked(bar)).maps)
    assert len(found) == 1
    assert best_ious(found.masks, stacked(bar))[0] == 1


def test_a_diagonal_line_of_pixels_comes_back_as_flows() -> None:
    line = np.eye(200, dtype=bool)
    code = code_of("flows")
    found = code.decode(code.encode(stacked(line)).maps)
    assert len(found) == 1
    assert best_ious(found.masks, stacked(line))[0] == 1


def test_a_ring_comes_back_as_flows_and_not_as_a_star() -> None:
    ring = disk(41, 41, 20, 20, 18) & ~disk(41, 41, 20, 20, 12)
    ring[20, 20 - 18 : 20 - 12] = False  # no two middles
    for name, has_it in (("flows", True), ("distances", True), ("stars", False)):
        code = code_of(name)
        found = code.decode(code.encode(stacked(ring)).maps)
        assert (best_ious(found.masks, stacked(ring))[0] > 0.9) == has_it, name


@every_code
def test_of_a_cell_in_two_pieces_the_larger_comes_back(name: str) -> None:
    large, small = disk(30, 60, 15, 15, 9), disk(30, 60, 15, 45, 5)
    code = code_of(name)
    targets = code.encode(stacked(large | small))
    found = code.decode(targets.maps)
    assert len(found) == 1
    assert best_ious(found.masks, stacked(large))[0] > 0.9
    assert (targets.weights[:, small] == 0).all()
    assert targets.weights[0][~small].min() == 1


@every_code
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (5, 6)])
def test_no_cell_and_a_cell_that_is_all_of_the_image(name: str, size: tuple[int, int]) -> None:
    code = code_of(name)
    targets = code.encode(Runs.empty(*size))
    assert targets.maps.shape == (code.channels, *size)
    assert targets.weights.shape == (len(code.groups), *size)
    found = code.decode(targets.maps)
    assert len(found) == 0 and found.label_map.shape == size and not found.label_map.any()

    found = code.decode(code.encode(stacked(np.ones(size))).maps)
    assert len(found) == 1
    assert (found.label_map == 1).all() or name == "few rays"  # of which a rectangle is an octagon


@every_code
def test_roi_masks_are_taken_as_runs_are(name: str) -> None:
    code, runs = code_of(name), stacked(disk(20, 30, 9, 9, 6), disk(20, 30, 12, 14, 5))
    one, other = code.encode(runs), code.encode(RoIMasks.from_runs(runs))
    assert np.array_equal(one.maps, other.maps) and np.array_equal(one.weights, other.weights)


def test_the_smaller_cell_owns_what_cells_share() -> None:
    large, small = disk(30, 30, 15, 15, 10), disk(30, 30, 15, 24, 4)
    for masks, of_small in ((stacked(large, small), 2), (stacked(small, large), 1)):
        assert (owners(masks)[small] == of_small).all()
    assert (owners(stacked(small, small))[small] == 2).all()


def test_pieces_as_large_as_each_other_are_all_kept() -> None:
    label_map = np.array([[1, 0, 1, 0, 2, 2, 0, 2]], dtype=np.int32)
    assert largest_pieces(label_map).tolist() == [[1, 0, 1, 0, 2, 2, 0, 0]]


@every_code
def test_ignored_places_weigh_nothing(name: str) -> None:
    code, cell, place = code_of(name), disk(30, 40, 12, 12, 6), disk(30, 40, 12, 30, 5)
    targets = code.encode(stacked(cell), ignored=stacked(place))
    assert (targets.weights[:, place] == 0).all()
    assert (targets.maps[0] == cell).all()
    with pytest.raises(ValueError, match="30 x 40"):
        code.encode(stacked(cell), ignored=stacked(np.ones((3, 3))))


@every_code
@settings(max_examples=30)
@given(true=cells(), turn=st.sampled_from(TURNS))
def test_encoding_a_turned_picture_is_turning_its_maps(name: str, true: Runs, turn) -> None:
    # Which of several middles a hollow cell has, and which cell is on top, goes by the order of reading.
    code = code_of(name)
    one = code.encode(true)
    again = code.turn(code.turn(one.maps, turn), turn.inverse)
    assert np.array_equal(again, one.maps)
    if name == "flows" and _is_hollow(true):
        return
    other = code.encode(turned(true, turn))
    assert np.array_equal(code.turn(one.maps, turn), other.maps)
    assert np.array_equal(turn(one.weights), other.weights)


def _is_hollow(masks: Runs) -> bool:
    """Return whether a cell has a pixel of something else between its own in a row or column."""
    label_map = largest_pieces(owners(masks))
    for axis in (label_map, label_map.T):
        for line in axis:
            runs = line[np.flatnonzero(np.diff(line, prepend=-1))]
            if len(set(runs[runs > 0])) < (runs > 0).sum():
                return True
    return False


@every_code
@pytest.mark.parametrize("turn", TURNS)
def test_decoding_turned_maps_gives_the_turned_cells(name: str, turn) -> None:
    true = stacked(
        disk(40, 70, 20, 20, 12),
        disk(40, 70, 18, 45, 9),
        disk(40, 70, 30, 60, 4) | disk(40, 70, 33, 62, 4),
    )
    code = code_of(name)
    maps = code.encode(true).maps
    found, other = code.decode(maps), code.decode(code.turn(maps, turn))
    assert len(found) == len(other) == 3
    # Of two polygons as probable as each other the first in reading order gets what they share.
    least = {"stars": 0.9, "few rays": 0.8}.get(name, 0.98)
    assert (best_ious(other.masks, turned(found.masks, turn)) > least).all()
    assert sorted(found.scores) == pytest.approx(sorted(other.scores), abs=0.02)


@every_code
@settings(max_examples=30)
@given(true=cells())
def test_cells_are_numbered_scored_and_connected(name: str, true: Runs) -> None:
    code = code_of(name)
    check(code.decode(code.encode(true).maps))


@every_code
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [1, 50])
def test_noise_gives_cells_that_hold_together(name: str, seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    code = code_of(name)
    found = code.decode(rng.normal(0.5, size, (code.channels, 23, 31)))
    check(found)


def check(found) -> None:
    assert found.label_map.dtype == np.int32 and found.scores.dtype == np.float32
    assert (found.scores >= 0).all() and (found.scores <= 1).all()
    ids, first = np.unique(found.label_map, return_index=True)
    first, ids = first[ids > 0], ids[ids > 0]
    assert ids.tolist() == list(range(1, len(found) + 1))
    assert (np.diff(first) > 0).all()
    assert connected_parts(found.label_map)[1] == len(found)


@every_code
def test_maps_that_cannot_be_decoded_are_refused(name: str) -> None:
    code = code_of(name)
    with pytest.raises(DataError, match=rf"\({code.channels}, H, W\); got shape \(4, 5\)"):
        code.decode(np.zeros((4, 5)))
    maps = np.zeros((code.channels, 4, 5))
    maps[0, 2, 3] = np.nan
    with pytest.raises(DataError, match=r"1 values .* nan in channel 0 at row 2, column 3"):
        code.decode(maps)


def test_a_config_that_is_wrong_is_told() -> None:
    with pytest.raises(ConfigError, match=r"unknown pixel code 'NoCode'.*FlowCode"):
        build_pixel_code(dict(type="NoCode"))
    with pytest.raises(ConfigError, match=r"'FlowCode'.*mask_threshold"):
        build_pixel_code(dict(type="FlowCode", mask_threshold=1))
    with pytest.raises(ConfigError, match="no 'type'"):
        build_pixel_code(dict(mask_thr=1))
    with pytest.raises(ConfigError, match=r"mask_thr=1\.5"):
        build_pixel_code(dict(type="RimCode", mask_thr=1.5))
    with pytest.raises(ConfigError, match="multiple of 4"):
        build_pixel_code(dict(type="StarCode", num_rays=10))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (dict(activation="relu"), "activation='relu'"),
        (dict(loss="ce"), "'ce' with 'softmax'"),
        (dict(turning="vector_yx"), "2 channels"),
        (dict(turning="rays", channels=6), "multiple of 4"),
        (dict(channels=0), "channels=0"),
    ],
)
def test_a_group_that_is_wrong_is_told(wrong: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ChannelGroup(**(dict(name="a", channels=1, activation="sigmoid", loss="bce") | wrong))


@every_code
def test_what_is_tunable_are_arguments(name: str) -> None:
    code = code_of(name)
    for tunable in code.tunable:
        value = getattr(code, tunable.name)
        assert tunable.low <= value <= tunable.high
        build_pixel_code(CONFIGS[name] | {tunable.name: tunable.low})


def test_lengths_grow_with_the_picture_and_nothing_else_does() -> None:
    code = code_of("few rays")
    assert code.resized_channels((2.0, 2.0)).tolist() == [1, 1] + 8 * [2]
    assert code.resized_channels((3.0, 2.0))[[2, 4]].tolist() == [2, 3]


def test_classes_are_the_mean_over_the_cell() -> None:
    label_map = np.array([[1, 1, 1, 0, 2]])
    class_maps = np.array([[[0.9, 0.3, 0.3, 1, 0.1]], [[0.1, 0.7, 0.7, 0, 0.9]]])
    found = class_probabilities(label_map, class_maps, 2)
    assert found == pytest.approx(np.array([[0.5, 0.5], [0.1, 0.9]]))
    assert class_probabilities(np.zeros((2, 2), int), np.zeros((3, 2, 2)), 0).shape == (0, 3)
