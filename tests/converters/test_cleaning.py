"""Cleaning on shapes whose outcome is known on paper."""

from __future__ import annotations

import numpy as np
import pytest

from cellseg_mmdet.converters.cleaning import Cleaning, clean_masks
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.masks import Runs

HEIGHT, WIDTH = 20, 30


def runs_of(*masks: np.ndarray) -> Runs:
    pixels = [np.flatnonzero(mask.ravel(order="F")) for mask in masks]
    owner = np.repeat(np.arange(len(masks)), [len(part) for part in pixels])
    return Runs.from_pixels(np.concatenate(pixels), owner, len(masks), HEIGHT, WIDTH)


def rectangle(y1: int, x1: int, y2: int, x2: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def ring(y1: int, x1: int, y2: int, x2: int) -> np.ndarray:
    return rectangle(y1, x1, y2, x2) & ~rectangle(y1 + 1, x1 + 1, y2 - 1, x2 - 1)


def test_nothing_happens_by_default() -> None:
    masks = runs_of(
        ring(2, 2, 9, 9), rectangle(0, 0, 0, 0), rectangle(1, 1, 2, 2), rectangle(1, 1, 2, 2)
    )
    cleaned, kept, counts = clean_masks(masks, Cleaning())
    assert cleaned == masks
    assert kept.tolist() == [0, 1, 2, 3]
    assert not counts


@pytest.mark.parametrize(
    "box", [(2, 2, 9, 9), (0, 0, HEIGHT, WIDTH)], ids=["inside", "at the border"]
)
def test_holes_are_filled(box: tuple[int, int, int, int]) -> None:
    cleaned, _, counts = clean_masks(
        runs_of(ring(*box), rectangle(0, 0, 3, 3)), Cleaning(fill_holes=True)
    )
    assert cleaned == runs_of(rectangle(*box), rectangle(0, 0, 3, 3))
    assert counts == {"fill_holes": 1}


def test_a_bay_is_no_hole_and_a_diagonal_gap_is_closed() -> None:
    bay = ring(2, 2, 9, 9) & ~rectangle(2, 4, 3, 6)
    diagonal = ring(2, 2, 9, 9) & ~rectangle(
        2, 2, 3, 3
    )  # a missing corner: neighbours still touch by their corners
    cleaned, _, _ = clean_masks(runs_of(bay, diagonal), Cleaning(fill_holes=True))
    assert cleaned == runs_of(bay, rectangle(2, 2, 9, 9) & ~rectangle(2, 2, 3, 3))


def test_the_largest_component_stays() -> None:
    large, small, corner = rectangle(0, 0, 4, 4), rectangle(10, 10, 12, 12), rectangle(4, 4, 5, 5)
    cleaned, _, counts = clean_masks(
        runs_of(large | small, large | corner), Cleaning(largest_component=True)
    )
    assert cleaned == runs_of(large, large | corner)  # corners that touch belong together
    assert counts == {"largest_component": 1}


def test_a_branch_saved_as_outline_is_filled_and_a_whole_cell_is_left_alone() -> None:
    soma = rectangle(10, 2, 16, 28)
    branch = ring(3, 10, 11, 16)
    bay = rectangle(5, 20, 11, 22) | rectangle(
        5, 26, 11, 28
    )  # two arms, open at the top: not enclosed
    cleaned, _, counts = clean_masks(runs_of(soma | branch, soma | bay), Cleaning(mend_broken=True))
    assert cleaned == runs_of(soma | rectangle(3, 10, 11, 16), soma | bay)
    assert counts == {"mend_broken": 1}


def test_a_break_of_one_pixel_in_the_outline_does_not_keep_it_from_being_mended() -> None:
    outline = ring(2, 3, 14, 20) & ~rectangle(2, 10, 3, 11)
    cleaned, _, _ = clean_masks(runs_of(outline), Cleaning(mend_broken=True))
    missing = rectangle(2, 3, 14, 20) & ~(cleaned.to_label_map() > 0)
    assert missing.sum() <= 1


def test_mending_at_the_image_border_does_not_fill_open_bays() -> None:
    open_at_top = rectangle(0, 0, 10, 2) | rectangle(0, 8, 10, 10) | rectangle(10, 0, 12, 10)
    masks = runs_of(open_at_top)
    assert clean_masks(masks, Cleaning(mend_broken=True))[0] == masks


def test_filters_keep_track_of_which_instances_stay() -> None:
    empty, dot, square = rectangle(0, 0, 0, 0), rectangle(1, 1, 2, 2), rectangle(3, 3, 6, 6)
    masks = runs_of(square, empty, dot, square, rectangle(0, 0, 5, 5))
    cleaned, kept, counts = clean_masks(masks, Cleaning(min_area_px=2, drop_duplicates=True))
    assert kept.tolist() == [0, 4]
    assert cleaned == masks[[0, 4]]
    assert counts == {"min_area_px": 2, "drop_duplicates": 1}
    _, kept, counts = clean_masks(masks, Cleaning(drop_empty=True))
    assert kept.tolist() == [0, 2, 3, 4]
    assert counts == {"drop_empty": 1}


def test_no_instance() -> None:
    everything = Cleaning.from_switches(
        [
            "clip",
            "mend-broken",
            "fill-holes",
            "largest-component",
            "min-area=9",
            "drop-empty",
            "drop-duplicates",
        ]
    )
    cleaned, kept, counts = clean_masks(Runs.empty(4, 5), everything)
    assert (len(cleaned), len(kept), sum(counts.values())) == (0, 0, 0)


@pytest.mark.parametrize(
    "switch", ["fill_holes", "min-area", "min-area=0", "min-area=x", "fill-holes=2", "shrink"]
)
def test_unknown_switches_are_refused(switch: str) -> None:
    with pytest.raises(UsageError, match="--clean"):
        Cleaning.from_switches([switch])


def test_switches_are_recorded() -> None:
    cleaning = Cleaning.from_switches(["fill-holes", "min-area=30"])
    assert cleaning.active() == {"fill_holes": True, "min_area_px": 30}
