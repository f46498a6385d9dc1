from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from cellseg_mmdet.evaluation.image_metric import MetricOptions
from cellseg_mmdet.evaluation.panoptic import PanopticQuality, panoptic_sums
from cellseg_mmdet.masks import Runs
from tests.evaluation.scenes import columns, jittered_scenes, overlaps


def quality(*images: tuple[Runs | np.ndarray, Runs | np.ndarray]) -> dict[str, float]:
    """Return the scores of images, each predicted and true masks."""
    return PanopticQuality(MetricOptions()).summarise(
        [panoptic_sums(overlaps(predicted, true)) for predicted, true in images]
    )


def scores(sq: float, rq: float) -> dict[str, float]:
    return pytest.approx({"pq": sq * rq, "sq": sq, "rq": rq})


TRUE = columns((0, 10), (12, 20))


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (TRUE, scores(1, 1)),
        # IoU 8 / 10 and 1.
        (columns((0, 8), (12, 20)), scores(0.9, 1)),
        # IoU 5 / 10 is no hit: one hit, one wrong, one missed.
        (columns((0, 5), (12, 20)), scores(1, 1 / (1 + 1 / 2 + 1 / 2))),
        # One hit of IoU 6 / 10, one missed.
        (columns((0, 6)), scores(0.6, 1 / (1 + 1 / 2))),
        # The second one of a cell is wrong, whichever comes first; the better one is the hit.
        (columns((0, 8), (0, 9), (12, 20)), scores((0.9 + 1) / 2, 2 / (2 + 1 / 2))),
        (columns((12, 20), (0, 9), (0, 8)), scores((0.9 + 1) / 2, 2 / (2 + 1 / 2))),
        # An empty mask is a wrong cell as any other.
        (columns((0, 10), (3, 3), (12, 20)), scores(1, 2 / (2 + 1 / 2))),
        (columns((10, 12)), scores(0, 0)),
        (columns(), scores(0, 0)),
    ],
    ids=[
        "perfect", "cut", "half", "missed", "twice", "twice reversed", "empty mask", "beside", "none",
    ],
)  # fmt: skip
def test_two_cells(predicted: Runs, expected: dict[str, float]) -> None:
    assert quality((predicted, TRUE)) == expected


def test_overlapping_masks_give_the_highest_quality() -> None:
    # IoUs: 9/10 and 8/9 of the first, 9/10 with the second cell: two hits, 9/10 and 8/9, or 8/9 and 9/10 beat one.
    true = columns((0, 10), (0, 9))
    assert quality((columns((0, 9), (0, 10)), true)) == scores(1, 1)
    assert quality((columns((0, 8), (0, 9)), true)) == scores((8 / 10 + 1) / 2, 1)


def test_sums_are_over_all_images() -> None:
    # One hit of 0.8 in the first; in the second one of 1, and one missed: not the mean of 0.8 and 2/3.
    first, second = (columns((0, 8)), columns((0, 10))), (columns((12, 20)), TRUE)
    assert quality(first, second) == scores(0.9, 2 / (2 + 1 / 2))


def test_images_without_cells() -> None:
    nothing = columns()
    assert quality((nothing, nothing)) == quality() == scores(1, 1)
    assert quality((TRUE, nothing)) == scores(0, 0)
    # An image where nothing is to be found and nothing is found changes nothing.
    assert quality((columns((0, 8)), TRUE), (nothing, nothing)) == quality((columns((0, 8)), TRUE))


@given(jittered_scenes())
def test_quality_is_at_most_that_of_the_truth(scene: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = scene
    assert quality((true, true)) == scores(1, 1)
    found = quality((predicted, true))
    assert 0 <= found["pq"] <= min(found["sq"], found["rq"]) <= 1
    assert found["pq"] == pytest.approx(quality((true, predicted))["pq"])
