from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.images import sizes, sizes_hw_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sizes, "_known", {})
    monkeypatch.setattr(sizes, "_WORTH_KEEPING", 2)
    return tmp_path / "cache"


def draw(path: Path, height: int, width: int) -> str:
    cv2.imwrite(str(path), np.zeros((height, width), np.uint8))
    return str(path)


def test_sizes_and_faults_in_the_order_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    paths = [draw(tmp_path / "a.png", 3, 5), tmp_path / "bad.png", tmp_path / "none.png"]
    first, bad, missing = sizes_hw_of(paths)
    assert first == (3, 5)
    assert isinstance(bad, ImageError) and "bad.png" in str(bad)
    assert isinstance(missing, ImageError) and "none.png" in str(missing)
    assert sizes_hw_of([]) == []


def test_orientation_is_applied(tmp_path: Path) -> None:
    exif = PillowImage.Exif()
    exif[274] = 6  # a quarter turn
    PillowImage.new("L", (5, 3)).save(tmp_path / "a.jpg", exif=exif)
    assert sizes_hw_of([tmp_path / "a.jpg"]) == [(5, 3)]


def test_headers_are_read_once_also_by_later_processes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [draw(tmp_path / f"{name}.png", 3, 5) for name in "ab"]
    assert sizes_hw_of(paths) == [(3, 5)] * 2
    assert len(list(cache.rglob("*.json"))) == 1
    monkeypatch.setattr(sizes, "image_size_hw", lambda *_: pytest.fail("read again"))
    assert sizes_hw_of(paths) == [(3, 5)] * 2
    monkeypatch.setattr(sizes, "_known", {})
    assert sizes_hw_of(paths) == [(3, 5)] * 2


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    paths = [draw(tmp_path / f"{name}.png", 3, 5) for name in "ab"]
    sizes_hw_of(paths)
    draw(tmp_path / "b.png", 30, 50)
    assert sizes_hw_of(paths) == [(3, 5), (30, 50)]


@pytest.mark.parametrize("content", ["", "[]", '{"a.png": 3}', '{"a.png": [1, 2, "x", null]}'])
def test_a_damaged_cache_is_passed_over(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    paths = [draw(tmp_path / f"{name}.png", 3, 5) for name in "ab"]
    sizes_hw_of(paths)
    (kept,) = cache.rglob("*.json")
    kept.write_text(content)
    monkeypatch.setattr(sizes, "_known", {})
    assert sizes_hw_of(paths) == [(3, 5)] * 2


def test_without_a_home_to_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert sizes_hw_of([draw(tmp_path / f"{name}.png", 3, 5) for name in "ab"]) == [(3, 5)] * 2
