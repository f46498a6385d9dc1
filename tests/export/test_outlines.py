from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from skimage.draw import polygon2mask

from tests.export.scenes import HEIGHT, WIDTH, dense, prediction, write

SVG = "{http://www.w3.org/2000/svg}"


def test_text_has_a_line_a_cell_as_cellpose_writes_it(tmp_path: Path) -> None:
    written = write("outlines", tmp_path, prediction())
    assert written.files == {tmp_path / "outlines": "2 files"}
    lines = (tmp_path / "outlines/a.txt").read_text().splitlines()
    assert lines[0] == "1,5,1,1,5,1,5,5"
    # As Cellpose's script for ImageJ reads it.
    rings = [np.array(list(map(int, line.rstrip().split(",")))).reshape(-1, 2) for line in lines]
    assert len(rings) == 4
    assert rings[1].tolist() == [[8, 9], [8, 2], [14, 2], [14, 9]]  # without its hole
    assert rings[2].tolist() == [[6, 12], [6, 9], [9, 9], [9, 12]]  # the larger piece


def test_svg_has_a_path_a_cell(tmp_path: Path) -> None:
    write("outlines", tmp_path, prediction())
    root = ET.parse(tmp_path / "outlines/a.svg").getroot()
    assert root.tag == f"{SVG}svg"
    assert root.attrib["viewBox"] == f"0 0 {WIDTH} {HEIGHT}"
    assert root.attrib["data-classes"] == "class-0: nucleus, class-1: a <b> & c/d"
    paths = root.findall(f"{SVG}path")
    assert [path.attrib["id"] for path in paths] == ["cell-1", "cell-2", "cell-3", "cell-5"]
    assert [path.attrib["class"] for path in paths] == [f"class-{n}" for n in (0, 1, 0, 1)]
    for path, expected in zip(paths, dense(prediction().masks)[[0, 1, 2, 4]], strict=True):
        inside = np.zeros((HEIGHT, WIDTH), bool)
        for part in path.attrib["d"].split("Z")[:-1]:
            points = [list(map(int, pair.split(","))) for pair in part[1:].split("L")]
            inside ^= polygon2mask((HEIGHT, WIDTH), np.array(points)[:, ::-1] - 0.5)
        np.testing.assert_array_equal(inside, expected)


def test_no_cells_at_all(tmp_path: Path) -> None:
    write("outlines", tmp_path, prediction().select(np.array([3])))
    assert (tmp_path / "outlines/a.txt").read_text() == ""
    assert not ET.parse(tmp_path / "outlines/a.svg").getroot().findall(f"{SVG}path")
