"""The pictures of the benchmark of large ones: what is drawn, written and looked up again."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import tifffile

from cellseg_mmdet.images import open_image
from tools.benchmark.large_scene import Scene, found_centres, write_scene


def test_bands_are_drawn_alike_wherever_they_begin() -> None:
    scene = Scene(300)
    assert len(scene) == 49
    labels = scene.labels()
    assert len(np.unique(labels)) == 50
    whole = scene.band(0, 300)
    assert whole[labels > 0].mean() > 2 * whole[labels == 0].mean()
    # The noise alone differs.
    part = scene.band(130, 180)
    assert abs(whole[130:180].astype(int) - part).max() < 60


def test_what_is_written_is_found_again(tmp_path: Path) -> None:
    scene = Scene(700)  # two tiles a side, the second ones cut
    write_scene(tmp_path / "scene.ome.tif", scene)
    with open_image(tmp_path / "scene.ome.tif") as source:
        assert source.size_hw == (700, 700)
        assert source.pixel_size_um == (0.5, 0.5)
        np.testing.assert_array_equal(
            source.read_window(0, 0, 512, 700)[..., 0], scene.band(0, 512)
        )
    labels = scene.labels().astype(np.uint32)
    for tile in ((256, 256), None):
        tifffile.imwrite(tmp_path / "labels.tif", labels, tile=tile)
        alone, shared = found_centres(scene, tmp_path / "labels.tif")
        assert alone + shared >= len(scene) - 2 and alone > 0.97 * len(scene)  # a few cover others
    labels[labels == 2] = 1
    labels[labels == 3] = 0
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    fewer, joined = found_centres(scene, tmp_path / "labels.tif")
    assert (fewer, joined) == (alone - 3, shared + 2)


def test_stages_are_told_by_the_innermost_frame_that_says_it() -> None:
    from tools.benchmark.large_worker import stage_of

    assert stage_of(sys._current_frames()[threading.get_ident()]) == "else"
    assert stage_of(None) == "else"
