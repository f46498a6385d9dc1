from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from cellseg_mmdet.visualization.charts.svg import (
    Chart,
    area_axis,
    area_bins,
    count_axis,
    linear_axis,
    series_of,
    whole_axis,
)


def svg_of(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(re.match("<svg.*?</svg>", chart.render())[0])


def test_linear_axis_has_round_ticks_and_places_by_share() -> None:
    axis = linear_axis("x", 0, 1)
    assert axis.ticks == pytest.approx((0, 0.2, 0.4, 0.6, 0.8, 1))
    assert axis.place([0, 0.25, 1, 2, -1]).tolist() == [0, 0.25, 1, 1, 0]
    assert linear_axis("x", 0.5, 0.95).ticks == pytest.approx((0.5, 0.6, 0.7, 0.8, 0.9))


@pytest.mark.parametrize("high", [0.003, 0.37, 1, 7, 87, 1234, 5e6])
def test_every_range_has_a_few_ticks(high: float) -> None:
    ticks = linear_axis("x", 0, high).ticks
    assert 3 <= len(ticks) <= 8
    assert ticks[0] == 0 and ticks[-1] <= high * 1.001


@pytest.mark.parametrize(
    ("highest", "ticks"), [(0, (0, 1)), (1, (0, 1)), (3, (0, 1, 2, 3)), (12, (0, 5, 10))]
)
def test_whole_numbers_have_ticks_at_whole_numbers(highest: int, ticks: tuple[int, ...]) -> None:
    axis = whole_axis("cells", highest)
    assert axis.ticks == ticks and axis.high > highest


def test_count_axis_has_room_for_none_and_for_many() -> None:
    axis = count_axis("cells", 790)
    assert axis.ticks == (0, 1, 3, 10, 30, 100, 300)
    places = axis.place([0, 1, 10, 790])
    assert places[0] == 0 and places[-1] == 1 and (np.diff(places) > 0.08).all()


def test_area_bins_hold_every_area() -> None:
    areas = np.array([0, 30, 31, 500, 20000])
    edges = area_bins(areas)
    assert np.histogram(areas[areas > 0], edges)[0].sum() == 4
    assert area_axis("area", edges).ticks == (30, 100, 300, 1000, 3000, 10000)
    assert len(area_bins(np.zeros(0))) > 1


def test_areas_that_differ_by_little_have_ticks_all_the_same() -> None:
    assert area_axis("area", np.array([120.0, 210.0])).ticks == (120, 140, 160, 180, 200)


def test_points_lie_where_their_numbers_say() -> None:
    chart = Chart("dots", linear_axis("x", 0, 10), linear_axis("y", 0, 10))
    chart.points([0, 10], [0, 10], 1, "dots", ["low", "high"])
    low, high = svg_of(chart).findall("circle")
    grid = [path.get("d") for path in svg_of(chart).findall("path[@class='grid']")]
    # The first vertical and the first horizontal line are at 0, the last ones at 10.
    assert f"M{low.get('cx')} " in grid[0]
    assert any(line.startswith(f"M{high.get('cx')} ") for line in grid)
    assert any(line.split()[1].startswith(high.get("cy")) for line in grid)
    assert [circle.find("title").text for circle in (low, high)] == ["low", "high"]


def test_texts_are_escaped_and_the_legend_names_each_series_once() -> None:
    chart = Chart("a < b & c", linear_axis("x<y", 0, 1), linear_axis("y", 0, 1))
    chart.line([0, 1], [0, 1], 1, "one & only")
    chart.band([0, 1], [0, 0], [1, 1], 1)
    chart.histogram(np.array([0.0, 0.5, 1.0]), np.array([0.2, 0.8]), 2, kind="line")
    html = chart.render()
    assert svg_of(chart).get("aria-label") == "a < b & c"
    assert html.count("<li>") == 1 and "one &amp; only" in html


def test_zero_is_not_written_as_minus_zero() -> None:
    texts = [
        text.text
        for text in svg_of(Chart("", linear_axis("", 0, 1), linear_axis("", 0, 1))).iter("text")
    ]
    assert "0" in texts and "-0" not in texts


def test_series_are_numbered_and_start_over_when_colours_run_out() -> None:
    numbers = list(series_of("abcdefg").values())
    assert numbers == [1, 2, 3, 4, 5, 1, 2]
