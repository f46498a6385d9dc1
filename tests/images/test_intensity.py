"""What a network sees does not depend on bit depth, on a hot pixel, or on how a picture is cut."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.images import Image, ImageKey, PlaneSelection, open_image, read_image
from cellseg_mmdet.images.histogram import Histogram
from cellseg_mmdet.images.intensity import (
    AsStored,
    FixedRange,
    Percentiles,
    build_intensity,
    gray_of,
    has_dark_background,
    to_bgr8,
)

KINDS: dict[str, dict[str, Any]] = {
    "percentiles": dict(type="Percentiles"),
    "per channel": dict(type="Percentiles", per_channel=True),
    "nuclei": dict(type="Percentiles", low=1.0, high=99.8, gray=True, polarity="auto"),
    "inverted": dict(type="Percentiles", polarity="bright"),
    "levels": dict(type="Percentiles", levels=(35, 200)),
}


def seen(picture: np.ndarray, **config: Any) -> np.ndarray:
    image = read_image(picture)
    return build_intensity(config).measure(image).apply(image.pixels)


def cells(
    seed: int = 0, top: int = 180, *, colour: bool = False, bright: bool = False
) -> np.ndarray:
    """Blobs on a background with noise, values up to about ``top``, (150, 170) or with three channels."""
    rng = np.random.default_rng(seed)
    spots = cv2.GaussianBlur((rng.random((150, 170)) > 0.995).astype(np.float64), (0, 0), 4)
    signal = spots / spots.max()
    values = top * (0.1 + 0.85 * signal) + rng.normal(0, 1.5, signal.shape)
    values = (top + 20 - values if bright else values).clip(0, 255)
    gray = np.rint(values).astype(np.uint8)
    return np.stack([gray, gray // 2, gray // 3], axis=2) if colour else gray


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("look", [{}, {"colour": True}, {"bright": True}, {"top": 30}], ids=str)
def test_bit_depth_changes_nothing(kind: str, look: dict[str, Any]) -> None:
    eight = cells(**look)
    expected = seen(eight, **KINDS[kind]).astype(int)
    # Gray of 8-bit colours is rounded to whole values, which the stretch then makes larger.
    most = 3 if kind == "nuclei" and look.get("colour") else 1
    for factor in (1, 16, 257):
        for dtype in (np.uint16, np.int32, np.float32, np.float64):
            found = seen(eight.astype(dtype) * dtype(factor), **KINDS[kind])
            assert np.abs(found - expected).max() <= most, (factor, dtype)
    offset = seen(eight.astype(np.uint16) * 16 + 400, **KINDS[kind])  # a camera's dark level
    assert np.abs(offset - expected).max() <= most


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0, 65535])
def test_one_hot_or_dead_pixel_changes_nothing_else(kind: str, value: int) -> None:
    fine = cv2.resize(cells().astype(np.float32), (680, 600), interpolation=cv2.INTER_CUBIC)
    picture = np.rint(fine * 16 + 400).astype(np.uint16)
    expected = seen(picture, **KINDS[kind]).astype(int)
    for place in ((0, 0), (5, 7), (599, 3)):
        changed = picture.copy()
        changed[place] = value
        found = seen(changed, **KINDS[kind]).astype(int)
        differences = np.abs(found - expected)
        differences[place] = 0
        assert differences.max() <= 1


@pytest.mark.parametrize("value", [0, 65535])
def test_nor_does_it_in_a_small_picture(value: int) -> None:
    picture = np.tile(np.arange(1000, 1100, dtype=np.uint16), (4, 1))  # 400 pixels
    changed = picture.copy()
    changed[2, 50] = value
    one, other = (seen(each, type="Percentiles").astype(int) for each in (picture, changed))
    one[2, 50] = other[2, 50] = 0
    # Without its value, a percentile is the next one of a hundred.
    assert np.abs(one - other).max() <= 3


@pytest.mark.parametrize("kind", KINDS)
def test_no_cliff_at_255(kind: str) -> None:
    results = [
        seen(
            np.rint(cells().astype(np.float64) * top / cells().max()).astype(np.uint16),
            **KINDS[kind],
        ).astype(int)
        for top in (253, 254, 255, 256, 257, 258)
    ]
    for one, other in itertools.pairwise(results):
        assert np.abs(one - other).max() <= 4  # of rounding to integers before


@pytest.mark.parametrize("factor", [1, 16, 257])
@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_field_is_not_blown_up(kind: str, factor: int) -> None:
    noise = np.random.default_rng(1).normal(100, 6, (200, 200)).round().astype(np.uint16) * factor
    image = read_image(noise)
    mapped = build_intensity(KINDS[kind]).measure(image)
    assert "noise" in mapped.note
    found = mapped.apply(image.pixels)
    assert found.std() < 255 / 18
    assert int(found.max()) - int(found.min()) < 130
    assert build_intensity(KINDS[kind]).measure(read_image(cells())).note == ""


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_one_value_alone_is_black(dtype: Any) -> None:
    assert (seen(np.full((30, 40), 77, dtype), type="Percentiles") == 0).all()


def test_few_bright_pixels_on_nothing_are_seen() -> None:
    picture = np.zeros((200, 200), np.uint16)
    picture[50:53, 60:63] = 900
    assert seen(picture, type="Percentiles")[51, 61, 0] == 255


def test_percentiles_are_numpys_of_three_channels() -> None:
    for seed in range(5):
        picture = cells(seed)
        low, high = np.percentile(np.dstack([picture] * 3), (1.0, 99.8))
        expected = np.rint((picture - low) * (255 / (high - low))).clip(0, 255)
        found = seen(picture, type="Percentiles", low=1.0, high=99.8)
        np.testing.assert_array_equal(found[..., 0], expected)


@pytest.mark.parametrize("bright", [False, True])
def test_nuclei_are_gray_bright_on_dark_and_stretched(bright: bool) -> None:
    picture = cells(colour=True, bright=bright)
    gray = cv2.cvtColor(picture[..., ::-1].copy(), cv2.COLOR_BGR2GRAY)
    gray = 255 - gray if bright else gray
    low, high = np.percentile(np.dstack([gray] * 3), (1.0, 99.8))
    expected = np.rint((gray - low) * (255 / (high - low))).clip(0, 255)
    np.testing.assert_array_equal(seen(picture, **KINDS["nuclei"])[..., 0], expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_polarity_is_judged_on_stored_values(dtype: Any) -> None:
    for look in ({}, {"top": 20}, {"colour": True}):
        assert has_dark_background(read_image(cells(**look).astype(dtype)))
        assert not has_dark_background(read_image(cells(bright=True, **look).astype(dtype)))
    dark = seen(cells().astype(dtype), **KINDS["nuclei"])
    for polarity in ("auto", "bright"):
        stored = 255 - cells().astype(dtype)
        np.testing.assert_array_equal(
            seen(stored, **{**KINDS["nuclei"], "polarity": polarity}), dark
        )


def test_as_stored() -> None:
    picture = cells(colour=True)
    np.testing.assert_array_equal(seen(picture, type="AsStored"), picture)
    np.testing.assert_array_equal(
        seen(picture.astype(np.uint16) * 16, type="AsStored"), seen(picture, type="Percentiles")
    )
    others = dict(type="FixedRange", low=0, high=4095)
    assert seen(np.full((3, 3), 4095, np.uint16), type="AsStored", others=others)[0, 0, 0] == 255
    np.testing.assert_array_equal(
        seen(cells(bright=True), type="AsStored", polarity="auto")[..., 0], 255 - cells(bright=True)
    )


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_fixed_range(dtype: Any) -> None:
    ramp = np.arange(0, 4096, dtype=dtype)[None]
    expected = np.rint((ramp - 100.0) * 255 / 3900).clip(0, 255)[..., None]
    config = dict(type="FixedRange", low=100, high=4000)
    np.testing.assert_array_equal(seen(ramp, **config), expected)
    inverted = seen(ramp, **config, polarity="bright")
    assert np.abs(inverted + expected - 255).max() <= 1


def test_channels_by_themselves_or_together() -> None:
    two = np.dstack([cells(0), cells(1) // 4]).astype(np.uint16) * 16
    image = read_image(two, PlaneSelection(channel=(0, 1)))
    for per_channel in (False, True):
        found = Percentiles(per_channel=per_channel).measure(image).apply(image.pixels)
        assert (found[..., 1].max() > 240) == per_channel


def test_values_that_are_no_numbers_are_black() -> None:
    picture = cells().astype(np.float32)
    expected = seen(picture, type="Percentiles")
    picture[3, 4], picture[5, 6], picture[7, 8] = np.nan, np.inf, -np.inf
    found = seen(picture, type="Percentiles")
    assert found[3, 4, 0] == 0 and found[5, 6, 0] == 255 and found[7, 8, 0] == 0
    assert np.abs(found.astype(int) - expected)[20:].max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_windows_share_the_map_of_the_whole_picture(tmp_path: Any, dtype: Any) -> None:
    picture = (cells() * 3.7).astype(dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, tile=(32, 32))
    intensity = build_intensity(KINDS["nuclei"])
    whole = seen(picture, **KINDS["nuclei"])
    with open_image(path) as source:
        assert len(list(source.windows(max_pixels=2000))) > 5
        source.windows = lambda: type(source).windows(source, max_pixels=2000)  # type: ignore[method-assign]
        mapped = intensity.measure(source)
        np.testing.assert_array_equal(
            mapped.apply(source.read_window(31, 7, 60, 90)), whole[31:91, 7:97]
        )


@settings(max_examples=60)
@given(
    values=stn.arrays(
        st.sampled_from([np.dtype(kind) for kind in ("u1", "i2", "u2", "f4", "f8", "i4")]),
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
    ),
    percents=st.lists(st.floats(0, 100), min_size=1, max_size=3),
)
def test_order_statistics_are_exact(values: np.ndarray, percents: list[float]) -> None:
    with np.errstate(over="ignore"):
        flat = values.astype(np.float32) if values.dtype.itemsize > 2 else values
    flat = np.sort(flat[np.isfinite(flat)].ravel())
    histogram = Histogram(lambda: iter([values[:2], values[2:]]), values.dtype)
    assert histogram.num_values == len(flat)
    if not len(flat):
        return
    ranks = list(range(len(flat)))
    assert histogram.order_statistics(ranks) == flat.astype(np.float64).tolist()
    if len(flat) > 2:
        inner = np.sort(np.concatenate([[flat[1]], flat[1:-1], [flat[-2]]])).astype(np.float64)
        for percent, found in zip(percents, histogram.percentiles(percents), strict=True):
            assert np.isclose(found, np.percentile(inner, percent), rtol=1e-6, atol=1e-30)


def test_noise_is_that_of_the_pixels() -> None:
    smooth = np.tile(np.linspace(0, 2000, 300), (200, 1))
    noise = np.random.default_rng(0).normal(0, 40, smooth.shape)
    for dtype in (np.uint16, np.float32):
        values = (smooth + noise + 500).astype(dtype)
        assert abs(Histogram(lambda v=values: iter([v]), np.dtype(dtype)).noise - 40) < 1.5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(type="Nothing"), "there are AsStored, FixedRange, Percentiles"),
        (dict(low=1), "needs a type"),
        (dict(type="Percentiles", low=60, high=40), "in order"),
        (dict(type="Percentiles", levels=(200, 35)), "levels"),
        (dict(type="Percentiles", polarity="white"), "'auto', 'dark' or 'bright'"),
        (dict(type="FixedRange"), "FixedRange: .*low"),
        (dict(type="FixedRange", low=3, high=3), "below high"),
    ],
)
def test_faults_in_a_config(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_intensity(config)


def test_pictures_to_look_at() -> None:
    colour = cells(colour=True)
    np.testing.assert_array_equal(to_bgr8(read_image(colour)), colour[..., ::-1])
    gray = to_bgr8(read_image(cells()))
    assert gray.shape == (150, 170, 3) and (gray == cells()[..., None]).all()
    many = Image(np.dstack([cells()] * 5), ImageKey("a"), tuple("abcde"))
    assert to_bgr8(many).shape == (150, 170, 3)
    two = Image(np.dstack([cells()] * 2), ImageKey("a"), ("a", "b"))
    assert to_bgr8(two).shape == (150, 170, 3) and not to_bgr8(two)[..., 0].any()
    assert gray_of(colour.astype(np.float64)).dtype == np.float32


def test_repr_names_the_arguments() -> None:
    assert repr(FixedRange(1, 2)) == "FixedRange(gray=False, polarity='dark', low=1, high=2)"
    assert "others=Percentiles(" in repr(AsStored())
