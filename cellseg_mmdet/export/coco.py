"""Predictions in the results format of COCO, and the images that they are of."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from cellseg_mmdet.export.writer import WRITERS, Writer, Written
from cellseg_mmdet.fileio import ESCAPED, atomic_write
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks.boxes import to_xywh
from cellseg_mmdet.structures import ImagePrediction


def to_coco_results(
    predictions: Iterable[ImagePrediction], category_ids: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Return a dict per instance: image_id, category_id, segmentation (RLE), score, bbox (xywh), cell_id.

    Args:
        category_ids: category of each label; by default label + 1, which is what the converters
            write.

    Images without ``img_id`` are named by their ``image_id``. ``cell_id`` is the number that the cell has in all that
    is written of its image; COCO's tools leave it alone.

    Example:
        >>> from cellseg_mmdet import ImagePrediction, Runs
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> results = to_coco_results([found])
        >>> results[1]["segmentation"], results[1]["bbox"]
        ({'size': [1, 3], 'counts': '12'}, [1.0, 0.0, 2.0, 1.0])
    """
    results: list[dict[str, Any]] = []
    for prediction in predictions:
        boxes_xywh = to_xywh(prediction.boxes.astype(np.float64))
        rows = zip(
            prediction.cell_ids.tolist(),
            prediction.labels.tolist(),
            prediction.masks.to_coco(text=True),
            prediction.scores.tolist(),
            boxes_xywh.tolist(),
            strict=True,
        )
        results.extend(
            {
                "image_id": prediction.image_id if prediction.img_id is None else prediction.img_id,
                "category_id": label + 1 if category_ids is None else category_ids[label],
                "segmentation": rle,
                "score": score,
                "bbox": box_xywh,
                "cell_id": number,
            }
            for number, label, rle, score, box_xywh in rows
        )
    return results


def write_coco_results(
    path: str | os.PathLike[str],
    predictions: Iterable[ImagePrediction],
    category_ids: Sequence[int] | None = None,
) -> int:
    """Write `to_coco_results` as JSON, whole or not at all, and return the number of instances.

    Example:
        >>> from cellseg_mmdet import ImagePrediction, Runs
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> write_coco_results("predictions.json", [found])
        2
    """
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", errors=ESCAPED) as file,
    ):
        results = _JsonList(file)
        for prediction in predictions:
            for row in to_coco_results([prediction], category_ids):
                results.add(row)
        results.close()
    return results.count


@WRITERS.register("coco")
class CocoWriter(Writer):
    """``predictions.json``, COCO results, and ``images.json``, the COCO data set that they refer to.

    The data set has no annotations: ``COCO('images.json').loadRes('predictions.json')`` joins both. Where no cell was
    found in any image the list is empty, of which pycocotools makes an IndexError; ``cellseg evaluate`` reads it.
    Images have the id of their prediction, or without one their number in the order in which they come; beside their
    file's name, which planes of a stack share, stands the ``name`` that their results go by.
    """

    def open(self, out_dir: str | os.PathLike[str], classes: Sequence[str]) -> None:
        folder = Path(out_dir)
        self._paths = folder / "predictions.json", folder / "images.json"
        results, images = (self.open_file(path) for path in self._paths)
        content = {
            "info": {"description": "images that were predicted"},
            "images": [],
            "annotations": [],
            "categories": [
                {"id": number, "name": name} for number, name in enumerate(classes, start=1)
            ],
        }
        before, after = json.dumps(content, indent=1).split("[]", maxsplit=1)
        self._results, self._images = _JsonList(results), _JsonList(images, before, after, indent=1)

    def add(self, prediction: ImagePrediction, picture: Picture) -> None:
        if prediction.img_id is None:
            prediction = replace(prediction, img_id=self._images.count + 1)
        self._images.add(
            {
                "id": prediction.img_id,
                "file_name": prediction.img_path or prediction.image_id,
                "name": prediction.image_id,
                "height": prediction.height,
                "width": prediction.width,
            }
        )
        for row in to_coco_results([prediction]):
            self._results.add(row)

    def close(self) -> Written:
        self._results.close()
        self._images.close()
        self.finish()
        results, images = self._paths
        return Written(
            {results: "COCO results", images: "their images and categories, as a COCO data set"}
        )


class _JsonList:
    """A list in a JSON file that is written entry by entry, as ``json.dumps`` would write it.

    Args:
        file: to write to.
        before: text of the file before the list.
        after: text after it.
        indent: of the file; the list then stands at its first level.
    """

    def __init__(
        self, file: IO[str], before: str = "", after: str = "", indent: int | None = None
    ) -> None:
        self._file, self._after, self._indent = file, after, indent
        self.count = 0
        file.write(f"{before}[")

    def add(self, entry: Mapping[str, Any]) -> None:
        self._file.write("," if self.count else "")
        if self._indent is None:
            self._file.write(json.dumps(entry, separators=(",", ":")))
        else:
            margin = "\n" + 2 * self._indent * " "
            text = json.dumps(entry, indent=self._indent)
            self._file.write(margin + text.replace("\n", margin))
        self.count += 1

    def close(self) -> None:
        is_wide = self._indent is not None and self.count
        self._file.write(f"\n{(self._indent or 0) * ' '}]" if is_wide else "]")
        self._file.write(self._after)
