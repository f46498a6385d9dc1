"""Outlines as text, in the layout of Cellpose, and as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from cellseg_mmdet.export.identity import class_name, class_rgb
from cellseg_mmdet.export.polygons import OutlinedCell, OutlineWriter
from cellseg_mmdet.export.writer import WRITERS
from cellseg_mmdet.fileio import ESCAPED, publish, staged
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.structures import ImagePrediction


@WRITERS.register("outlines")
class TextAndSvgWriter(OutlineWriter):
    """``outlines/NAME.txt`` and ``outlines/NAME.svg`` for each image.

    The text has a line a cell, ``x1,y1,x2,y2,...``, as Cellpose writes it and its scripts for ImageJ read it. Such a
    line is one ring: of a cell in pieces it is the outer ring of the largest one, without holes. Lines are in the order
    of the cells, and a cell without a pixel has none. Points are corners of pixels, where Cellpose has their centres.

    The SVG has the size of the image in pixels and a path a cell, holes and pieces included, with the id ``cell-12``
    and a style for each class.

    Args:
        simplify_px: see `OutlineWriter`.
    """

    folder = "outlines"
    what = "file"

    def write(self, prediction: ImagePrediction, picture: Picture) -> list[Path]:
        text_path = self.path_of(prediction, ".txt")
        svg_path = self.path_of(prediction, ".svg")
        classes = sorted(set(prediction.labels.tolist()))
        with (
            staged(text_path) as text_file,
            staged(svg_path) as svg_file,
            text_file.open("w", encoding="ascii", newline="\n") as text,
            svg_file.open("w", encoding="utf-8", errors=ESCAPED, newline="\n") as svg,
        ):
            svg.write(_svg_head(prediction, classes, self.classes))
            for cell in self.cells_of(prediction):
                text.write(f"{_line(cell)}\n")
                svg.write(_svg_path(cell, int(prediction.labels[cell.index])))
            svg.write("</svg>\n")
            text.close()
            svg.close()
            publish(text_file, text_path)
            publish(svg_file, svg_path)
        return [text_path, svg_path]


def _line(cell: OutlinedCell) -> str:
    outer = [rings[0] for rings in cell.polygons]
    largest = outer[0] if len(outer) == 1 else max(outer, key=_area)
    return ",".join(map(str, largest.ravel().tolist()))


def _area(ring: np.ndarray) -> float:
    x, y = ring.T.astype(np.float64)
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def _svg_head(prediction: ImagePrediction, labels: Sequence[int], classes: Sequence[str]) -> str:
    height, width = prediction.height, prediction.width
    rules = "".join(
        f".class-{label}{{stroke:rgb{class_rgb(label)};}}".replace(" ", "") for label in labels
    )
    titles = ", ".join(f"class-{label}: {class_name(label, classes)}" for label in labels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" data-image={quoteattr(prediction.image_id)} '
        f"data-classes={quoteattr(titles)}>\n"
        f"<style>path{{fill:none;stroke-width:1px;vector-effect:non-scaling-stroke;fill-rule:evenodd}}{rules}</style>\n"
    )


def _svg_path(cell: OutlinedCell, label: int) -> str:
    rings = (ring.tolist() for polygon in cell.polygons for ring in polygon)
    data = "".join("M" + "L".join(f"{x},{y}" for x, y in ring) + "Z" for ring in rings)
    return f'<path id="cell-{cell.cell_id}" class="class-{label}" d="{data}"/>\n'
