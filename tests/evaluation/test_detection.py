from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellseg_mmdet.evaluation.detection import F1, CountError
from cellseg_mmdet.evaluation.image_metric import ImageMetric, ImagePair, MetricOptions
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord, from_records
from tests.evaluation.scenes import HEIGHT, WIDTH, columns


def pair_of(predicted: Runs, true: Runs) -> ImagePair:
    found, cells = (
        ImageRecord("a.png", HEIGHT, WIDTH, masks, ("cell",) * len(masks))
        for masks in (predicted, true)
    )
    return ImagePair(from_records([found])[0], cells)


def scores(metric: type[ImageMetric], *images: tuple[Runs, Runs]) -> dict[str, float]:
    built = metric(MetricOptions())
    return built.summarise([built.measure(pair_of(*image)) for image in images])


def test_ratios_at_each_threshold() -> None:
    # Of the first cell 8 / 10, a hit up to 0.75; of the second nothing; one perfect; one more that is not there.
    true = columns((0, 10), (10, 12), (12, 15))
    numbers = scores(F1, (columns((0, 8), (12, 15), (16, 18), (18, 20)), true))
    assert len(numbers) == 30
    for percent in (50, 55, 60, 65, 70, 75):
        assert numbers[f"precision_{percent}"] == pytest.approx(2 / 4)
        assert numbers[f"recall_{percent}"] == pytest.approx(2 / 3)
        assert numbers[f"f1_{percent}"] == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    for percent in (80, 85, 90, 95):
        assert numbers[f"precision_{percent}"] == pytest.approx(1 / 4)
        assert numbers[f"recall_{percent}"] == pytest.approx(1 / 3)
        assert numbers[f"f1_{percent}"] == pytest.approx(2 / 7)


def test_sums_are_over_all_images() -> None:
    one, many = columns((0, 5)), columns((0, 5), (5, 10), (10, 15))
    numbers = scores(F1, (one, one), (columns(), many))
    assert (numbers["precision_50"], numbers["recall_50"]) == (1, 1 / 4)


def test_images_without_cells() -> None:
    nothing, cells = columns(), columns((0, 5), (6, 9))
    assert set(scores(F1, (nothing, nothing)).values()) == {1}
    assert set(scores(F1, (cells, nothing)).values()) == {0}
    assert set(scores(F1, (nothing, cells)).values()) == {0}


def test_count_error_does_not_cancel_and_the_bias_does() -> None:
    one, three = columns((0, 5)), columns((0, 5), (5, 10), (10, 15))
    images = [(three, one), (one, three), (one, columns()), (three, three)]
    assert scores(CountError, *images) == {"count_error": 5 / 4, "count_bias": 1 / 4}
    assert all(np.isnan(value) for value in scores(CountError).values())


def test_classes_play_no_part() -> None:
    pair = pair_of(columns((0, 5)), columns((0, 5)))
    other = ImagePair(replace(pair.prediction, labels=np.array([7])), pair.record)
    metric = F1(MetricOptions())
    assert metric.measure(pair) == metric.measure(other)
