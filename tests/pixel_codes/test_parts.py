"""What codes are made of, against slow and plain ways to the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cellseg_mmdet.converters.readers.sartorius import read_sartorius
from cellseg_mmdet.evaluation.kaggle_map import image_score
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.pixel_codes import TURNS, Turn, build_pixel_code, owners
from cellseg_mmdet.pixel_codes.distance import edge_distances
from cellseg_mmdet.pixel_codes.heat import heat_flows
from cellseg_mmdet.pixel_codes.pixel_steps import next_pixels
from cellseg_mmdet.pixel_codes.rays import ray_directions, ray_lengths
from cellseg_mmdet.pixel_codes.watershed import NUM_LEVELS, seeded_watershed
from tests.pixel_codes.scenes import best_ious, cells, disk, stacked

EDGES = ndimage.generate_binary_structure(2, 1)


def parts(mask: np.ndarray, min_px: int) -> np.ndarray:
    labels, count = ndimage.label(mask, EDGES)
    kept = np.bincount(labels.ravel(), minlength=count + 1) >= min_px
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0)[labels]


def flood(mask: np.ndarray, landscape: np.ndarray, seed_thr: float, min_px: int) -> np.ndarray:
    """The watershed, all pixels of the image at each step."""
    labels = parts(mask & (landscape > seed_thr), min_px)
    for level in np.linspace(seed_thr, 0, NUM_LEVELS + 1)[1:]:
        while True:
            around = ndimage.maximum_filter(labels, footprint=EDGES, mode="constant")
            reached = mask & (labels == 0) & (landscape >= level) & (around > 0)
            if not reached.any():
                break
            labels = np.where(reached, around, labels)
    rest = parts(mask & (labels == 0), min_px)
    return np.where(rest > 0, rest + labels.max(initial=0), labels)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    seed_thr=st.sampled_from([0.3, 0.5, 0.7]),
    min_px=st.integers(1, 6),
    blur=st.sampled_from([0.0, 1.0, 2.0]),
)
def test_the_watershed_is_the_one_of_all_pixels(
    seed: int, seed_thr: float, min_px: int, blur: float
) -> None:
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(0.5, 0.5 + 2 * blur, rng.integers(1, 30, 2)), blur)
    landscape = noise.clip(0, 1).astype(np.float32)
    mask = landscape + rng.normal(0, 0.1, landscape.shape) > 0.4
    found, count = seeded_watershed(mask, landscape, seed_thr, min_px)
    expected = flood(mask, landscape, seed_thr, min_px)
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)
    assert count == found.max(initial=0) == expected.max(initial=0)
    assert len(pairs[0]) == len(set(pairs[0])) == len(set(pairs[1]))


@settings(max_examples=40)
@given(true=cells())
def test_distances_are_those_of_scipy(true: Runs) -> None:
    label_map = owners(true)
    found = edge_distances(label_map)
    assert (found[label_map == 0] == 0).all()
    for cell in np.unique(label_map[label_map > 0]):
        mask = label_map == cell
        if mask.all():
            assert (found == 1).all()
            continue
        expected = ndimage.distance_transform_edt(mask)
        assert found[mask] == pytest.approx((expected / expected.max())[mask], rel=1e-6)


@pytest.mark.parametrize("num_rays", [4, 8, 12, 32, 64])
def test_directions_are_unit_vectors_with_the_digits_of_their_mirror_images(num_rays: int) -> None:
    directions = ray_directions(num_rays)
    angles = 2 * np.pi * np.arange(num_rays) / num_rays
    assert directions == pytest.approx(np.stack([np.sin(angles), np.cos(angles)], axis=1))
    assert np.array_equal(np.sort(np.abs(directions[:, 0])), np.sort(np.abs(directions[:, 1])))
    assert np.array_equal(directions[num_rays // 2 :], -directions[: num_rays // 2])


def test_rays_end_where_a_fine_walk_along_them_leaves_the_cell() -> None:
    mask = disk(30, 34, 14, 16, 11) & ~disk(30, 34, 10, 20, 3)
    lengths = ray_lengths(mask.astype(np.int32), 12)
    for ray, (along_y, along_x) in enumerate(ray_directions(12)):
        for y, x in [(14, 16), (5, 12), (20, 20), (14, 6)]:
            walk = np.arange(0, 40, 0.01)
            rows, columns = (
                np.floor(start + walk * along + 0.5 + 1e-9).astype(int)
                for start, along in ((y, along_y), (x, along_x))
            )
            inside = mask[rows.clip(0, 29), columns.clip(0, 33)]
            assert lengths[ray, y, x] == pytest.approx(walk[np.argmin(inside)], abs=0.03)


def walked(label_map: np.ndarray, num_rays: int) -> np.ndarray:
    """Return the lengths of rays, pixel by pixel and from side to side."""
    lengths = np.zeros((num_rays, *label_map.shape), np.float32)
    for ray, (along_y, along_x) in enumerate(ray_directions(num_rays)):
        with np.errstate(divide="ignore"):
            per_y, per_x = 1.0 / np.abs(along_y), 1.0 / np.abs(along_x)
        for y, x in np.argwhere(label_map):
            at, crossed, length = np.array([y, x]), np.zeros(2), 0.0
            while (at >= 0).all() and (at < label_map.shape).all():
                if label_map[tuple(at)] != label_map[y, x]:
                    break
                to_y, to_x = (crossed[0] + 0.5) * per_y, (crossed[1] + 0.5) * per_x
                length = min(to_y, to_x)
                moves = np.array([to_y <= to_x, to_x <= to_y])
                at = at + moves * np.sign([along_y, along_x]).astype(int)
                crossed = crossed + moves
            lengths[ray, y, x] = length
    return lengths


@settings(max_examples=25)
@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.sampled_from([4, 8, 16]), st.data()
)
def test_rays_are_bit_for_bit_those_of_a_walk_from_side_to_side(
    height: int, width: int, ids: int, num_rays: int, data: st.DataObject
) -> None:
    flat = data.draw(
        st.lists(st.integers(0, ids), min_size=height * width, max_size=height * width)
    )
    label_map = np.array(flat, dtype=np.int32).reshape(height, width)
    expected = walked(label_map, num_rays)
    assert np.array_equal(ray_lengths(label_map, num_rays), expected)
    out = np.zeros_like(expected)
    assert ray_lengths(label_map, num_rays, out=out) is out
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("shape", [(3, 140), (140, 2), (9, 66)])
def test_rays_of_cells_that_are_longer_than_a_word_of_64_pixels(shape: tuple[int, int]) -> None:
    label_map = np.ones(shape, np.int32)
    label_map[shape[0] // 2, shape[1] // 3 :: 67] = 5  # ids between do not occur
    assert np.array_equal(ray_lengths(label_map, 8), walked(label_map, 8))


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (3, 3)])
def test_rays_of_no_cell(shape: tuple[int, int]) -> None:
    assert not ray_lengths(np.zeros(shape, np.int32), 8).any()


def test_heat_points_at_the_middle_of_a_disk() -> None:
    label_map = disk(61, 61, 30, 30, 25).astype(np.int32)
    flows = heat_flows(label_map)
    assert (flows[:, 30, 30] == 0).all()
    y, x = np.nonzero(label_map)
    away = np.hypot(y - 30, x - 30)
    far = away > 3
    cosine = -(flows[0, y, x] * (y - 30) + flows[1, y, x] * (x - 30))[far] / away[far]
    assert cosine.min() > 0.96 and cosine.mean() > 0.99
    length = np.hypot(*flows[:, y, x])
    assert length[away > 0] == pytest.approx(1, abs=1e-6)


def test_heat_reaches_the_end_of_a_line_that_is_too_long_for_a_double() -> None:
    line = np.eye(1200, dtype=np.int32)
    flows = heat_flows(line)
    down = flows[0].diagonal()
    assert down[:599] == pytest.approx(np.sqrt(0.5)) and down[601:] == pytest.approx(-np.sqrt(0.5))


def test_turns_are_eight_and_have_inverses() -> None:
    picture = np.arange(12).reshape(3, 4)
    assert len({turn(picture).tobytes() + bytes(turn(picture).shape) for turn in TURNS}) == 8
    for turn in TURNS:
        assert np.array_equal(turn.inverse(turn(picture)), picture)
        moved = turn(np.pad([[1]], ((2, 0), (3, 0))))  # one pixel down and right of the others
        y, x = np.argwhere(moved)[0]
        to_y, to_x = turn.matrix @ [1, 1]
        assert (y > 0) == (to_y > 0) and (x > 0) == (to_x > 0)
    assert np.array_equal(Turn(True, True, False)(picture), np.rot90(picture))


def test_a_cell_whose_vectors_are_not_its_own_is_dropped() -> None:
    code = build_pixel_code(dict(type="FlowCode"))
    mask = disk(40, 40, 20, 20, 12)
    maps = code.encode(stacked(mask)).maps
    assert len(code.decode(maps)) == 1
    # All of it points at the left end: a sink, but not the middle.
    y, x = np.nonzero(mask)
    away = np.maximum(np.hypot(y - 20, x - 9), 1e-6)
    maps[1, y, x], maps[2, y, x] = (20 - y) / away, (9 - x) / away
    assert len(code.decode(maps)) == 0
    assert len(build_pixel_code(dict(type="FlowCode", flow_thr=2)).decode(maps)) == 1


def test_scores_fall_with_the_probability_and_with_vectors_that_disagree() -> None:
    code = build_pixel_code(dict(type="FlowCode"))
    true = stacked(disk(60, 40, 15, 20, 10), disk(60, 40, 45, 20, 10))
    maps = code.encode(true).maps
    maps[0, 30:] *= 0.8
    assert code.decode(maps).scores == pytest.approx([1, 0.8])
    maps[0, 30:] = maps[0, :30]
    turned = maps[1:, 30:].copy()
    maps[1, 30:], maps[2, 30:] = (
        0.9 * turned[0] - 0.435 * turned[1],
        0.435 * turned[0] + 0.9 * turned[1],
    )
    first, second = code.decode(maps).scores
    assert first == pytest.approx(1) and second == pytest.approx(0.9, abs=0.02)


def test_of_two_polygons_of_one_cell_the_more_probable_stays() -> None:
    code = build_pixel_code(dict(type="StarCode"))
    true = stacked(disk(40, 60, 20, 20, 10), disk(40, 60, 20, 37, 9))
    found = code.decode(code.encode(true).maps)
    assert len(found) == 2
    assert (best_ious(found.masks, true) > 0.85).all()


@pytest.mark.realdata
def test_flows_bring_real_cells_back(sartorius: Path) -> None:
    code = build_pixel_code(dict(type="FlowCode"))
    best, scores = [], []
    for record in read_sartorius(sartorius / "train.csv", sartorius / "train").records:
        overlaps = Overlaps(code.decode(code.encode(record.masks).maps).masks, record.masks)
        ious = np.zeros(len(record.masks))
        np.maximum.at(ious, overlaps.pairs.true, overlaps.pairs.iou)
        best.append(ious)
        scores.append(image_score(overlaps))
    assert (np.concatenate(best) > 0.9).mean() >= 0.945
    assert np.mean(scores) >= 0.957


@pytest.mark.parametrize(
    ("radius", "rim_px", "off_px"), [(5, 3, 2), (6, 4, 3), (8, 5, 4), (9, 3, 4)]
)
def test_a_crescent_around_a_nucleus_comes_back_with_it(
    radius: int, rim_px: int, off_px: int
) -> None:
    nucleus = disk(50, 50, 25, 25, radius)
    crescent = disk(50, 50, 25, 25 + off_px, radius + rim_px) & ~nucleus
    true = stacked(nucleus, crescent)
    code = build_pixel_code(dict(type="FlowCode"))
    found = code.decode(code.encode(true).maps)
    assert len(found) == 2
    assert (best_ious(found.masks, true) > 0.9).all()


def test_steps_from_pixel_to_pixel_keep_to_their_cell() -> None:
    # Two cells side by side: the left one points down and to the right one, which points up.
    flows = np.zeros((2, 4, 2), dtype=np.float32)
    flows[:, :, 0] = np.array([0.75, 0.66])[:, None]
    flows[0, :, 1] = -1
    flows[:, 3, 0] = 0  # the middle of the left one
    pixels = np.arange(8)
    to = next_pixels(flows, np.ones((4, 2), dtype=np.int32), pixels)
    assert to.tolist() == [2, 1, 4, 1, 6, 3, 6, 5]
    alone = next_pixels(flows, np.array([[1, 2]] * 4, dtype=np.int32), pixels)
    assert alone.tolist() == to.tolist()
    assert next_pixels(flows, np.ones((4, 2), dtype=np.int32), pixels[:0]).tolist() == []
