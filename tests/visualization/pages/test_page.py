from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np

from cellseg_mmdet.visualization.pages.html import (
    Section,
    bar,
    data_uri,
    figure,
    figures,
    note,
    picture,
    strip,
    table,
    tiles,
    write_page,
)
from tests.visualization.checked_page import check_page


def decoded(uri: str) -> np.ndarray:
    content = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_picture_is_in_its_address_gray_as_one_channel() -> None:
    gray = np.tile(np.arange(64, dtype=np.uint8) * 3, (48, 1))
    for image in (gray, cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)):
        back = decoded(data_uri(image))
        assert back.shape == (48, 64)
        assert np.abs(back.astype(int) - gray).max() < 8


def test_large_pictures_are_scaled_down_and_small_ones_are_not() -> None:
    image = np.zeros((100, 400, 3), np.uint8)
    image[:, :, 0] = 200
    assert decoded(data_uri(image, max_side_px=200)).shape == (50, 200, 3)
    assert decoded(data_uri(image, max_side_px=500)).shape == (100, 400, 3)


def test_page_is_whole_and_everything_in_it_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "new" / "index.html"
    body = note("less < more") + tiles({"a & b": "1"})
    body += table(["", "<n>"], [["row", "1"]])
    body += strip(
        "s <", [("one", np.zeros((4, 4), np.uint8)), ("t < o", np.zeros((4, 4), np.uint8))]
    )
    body += figures([figure("t<", picture(np.zeros((4, 4), np.uint8), 'a "quote"'), "c<")])
    body += bar([("hit", 0.25)])
    write_page(
        path,
        title="<title>",
        subtitle="1 < 2",
        lead="",
        sections=[Section("one", "First & only", body, "images")],
        footer="the <end>",
    )
    html = path.read_text()
    check_page(html)
    assert "<h1>&lt;title&gt;</h1>" in html and "less &lt; more" in html
    assert '<a href="#one">First &amp; only</a>' in html
    assert "width:25.00%" in html
    assert "<h4>s &lt;</h4>" in html and "<figcaption>t &lt; o</figcaption>" in html
