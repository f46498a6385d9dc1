"""Which pictures folders hold, and their names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.images import ImageError, ImageKey, PlaneSelection
from cellseg_mmdet.images.listing import files_by_stem, find_images, list_files, name_images


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(keys: list[ImageKey]) -> list[str]:
    return [key.name for key in keys]


def test_files_and_folders_and_only_on_request_sub_folders(tmp_path: Path) -> None:
    touch(tmp_path, "one/b.png", "one/a.TIF", "one/deep/c.webp", "two/d.jpg", "one/e.npy")
    touch(tmp_path, "one/notes.txt", "one/._b.png", "one/.hidden/f.png", "one/b_seg.npy")
    flat = find_images([tmp_path / "two/d.jpg", tmp_path / "one", tmp_path / "one/a.TIF"])
    assert names(flat) == ["d", "a", "b", "e"]
    assert names(find_images([tmp_path / "one"], recursive=True)) == ["a", "b", "c", "e"]
    assert [path.name for path in list_files(tmp_path / "one")] == ["a.TIF", "b.png", "e.npy"]


def test_results_inside_the_input_folder_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "results/overlays/a.png")
    found = find_images([tmp_path], recursive=True, exclude=[tmp_path / "results"])
    assert names(found) == ["a"]


def test_one_name_for_each(tmp_path: Path) -> None:
    touch(tmp_path, "in/a/1.png", "in/b/1.png", "in/a/2.png", "in/c/3.png", "in/c/3.tif")
    found = find_images([tmp_path / "in"], recursive=True)
    assert names(found) == ["a_1", "2", "b_1", "c_3_png", "c_3_tif"]
    alone = find_images([tmp_path / "in/a/1.png", tmp_path / "in/b/1.png"])
    assert names(alone) == ["a_1_png", "b_1_png"]
    touch(tmp_path, "in/x/A.png", "in/y/a.png")
    assert names(find_images([tmp_path / "in/x", tmp_path / "in/y"])) == ["x_A_png", "y_a_png"]


def test_planes_are_named(tmp_path: Path) -> None:
    data = np.zeros((3, 8, 8), np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", data, imagej=True, metadata={"axes": "ZYX"})
    touch(tmp_path, "s_z1.png")
    each = PlaneSelection(planes="each")
    found = find_images([tmp_path], selection=each)
    assert len(set(names(found))) == 4
    assert names(found)[:1] == ["s_z0"]
    assert [key.plane for key in found] == ["z0", "z1", "z2", None]
    assert names(find_images([tmp_path])) == ["s", "s_z1"]


def test_ome_zarr_is_one_image(tmp_path: Path) -> None:
    zarr.open_group(str(tmp_path / "a.zarr"), mode="w").create_array("0", shape=(4, 4), dtype="u1")
    touch(tmp_path, "b.png", "a.zarr/0/preview.png")
    assert names(find_images([tmp_path], recursive=True)) == ["a", "b"]
    assert names(find_images([tmp_path / "a.zarr"])) == ["a"]


def test_a_folder_of_folders_alone_is_searched_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "notes.md", "phase/a.png", "nuclei/b.tif", "results/.cellseg-run/run.json")
    touch(tmp_path, "results/overlays/b.png")
    assert names(find_images([tmp_path])) == ["b", "a"]
    assert "no image in the folder itself; the 2 in its sub-folders are taken" in caplog.text
    caplog.clear()
    touch(tmp_path, "c.png")
    assert names(find_images([tmp_path])) == ["c"]
    assert not caplog.records


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        find_images([tmp_path / "missing"])
    touch(tmp_path, "outer/inner/a.txt", "notes.txt")
    with pytest.raises(FileNotFoundError, match=r"outer: no image in this folder and its sub-"):
        find_images([tmp_path / "outer"])
    with pytest.raises(ImageError, match=r"notes\.txt.*\.png"):
        find_images([tmp_path / "notes.txt"])
    with pytest.raises(NotADirectoryError, match="does not exist"):
        list_files(tmp_path / "missing")
    touch(tmp_path, "two/a.png", "two/a.tif")
    with pytest.raises(ImageError, match=r"a\.png and a\.tif .* share the name 'a'"):
        files_by_stem(tmp_path / "two")


PARTS = st.sampled_from(["a", "A", "b", "a_b", "1", "x y", "a:b"])


@given(
    paths=st.sets(
        st.tuples(st.lists(PARTS, max_size=2), PARTS, st.sampled_from([".png", ".tif"])).map(
            lambda parts: "/".join([*parts[0], parts[1] + parts[2]])
        ),
        min_size=1,
        max_size=8,
    ),
    seed=st.integers(0, 99),
)
def test_names_are_unique_stable_and_safe(paths: set[str], seed: int) -> None:
    listed = sorted(paths)
    roots = {Path("in") / path: Path("in") for path in listed}
    keys = [ImageKey(str(path)) for path in roots]
    found = name_images(keys, roots)
    assert len({key.name.casefold() for key in found}) == len(listed)
    assert not any(re.search(r"[/\\:]", key.name) for key in found)
    order = np.random.default_rng(seed).permutation(len(keys))
    again = name_images([keys[index] for index in order], roots)
    assert set(again) == set(found)
    if len({Path(path).stem.casefold().replace(":", "_") for path in listed}) == len(listed):
        assert [key.name for key in found] == [Path(path).stem.replace(":", "_") for path in listed]
