"""A new format is one class: reading, sizes, listing and planes follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellseg_mmdet.images import PlaneSelection, find_images, image_size_hw, read_image
from cellseg_mmdet.images.scene import FORMATS, ImageFile, Scene


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray]:
    """Two planes of 3 x 4 pixels in a format of this test: a word, three numbers, values."""
    monkeypatch.setattr(FORMATS, "_parts", dict(FORMATS._parts))

    @FORMATS.register("toy")
    class ToyFile(ImageFile):
        suffixes = (".toy",)

        @classmethod
        def accepts(cls, head: bytes, path: str) -> bool:
            return head.startswith(b"TOY!")

        def __init__(self, content: Any, name: str) -> None:
            content.seek(4)
            shape = tuple(np.frombuffer(content.read(3), np.uint8).tolist())
            values = np.frombuffer(content.read(), np.uint8).reshape(shape)
            self.scenes = [ToyScene(values)]

    class ToyScene(Scene):
        def __init__(self, values: np.ndarray) -> None:
            self.axes, self.shape, self.levels = "ZYX", values.shape, (values.shape[1:],)
            self._values = values

        def read(self, at, window, level=0):
            y0, x0, height, width = window
            return self._values[at["Z"], y0 : y0 + height, x0 : x0 + width, None]

    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / "stack.toy"
    path.write_bytes(b"TOY!" + bytes(values.shape) + values.tobytes())
    return path, values


def test_it_is_listed_read_and_taken_apart(stack: tuple[Path, np.ndarray]) -> None:
    path, values = stack
    keys = find_images([path.parent], selection=PlaneSelection(planes="each"))
    assert [key.name for key in keys] == ["stack_z0", "stack_z1"]
    for key, plane in zip(keys, values, strict=True):
        assert (read_image(key).pixels[..., 0] == plane).all()
    assert image_size_hw(path) == (3, 4)
    brightest = read_image(path, PlaneSelection(z="max")).pixels[..., 0]
    assert (brightest == values.max(axis=0)).all()
