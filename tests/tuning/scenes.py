"""Images of square cells whose predictions have a best score threshold that is known on paper."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction, ImageRecord

CLASSES = ("astro", "cort")
SIZE, SIDE = 40, 4
# By class: scores of predictions that are cells, and of those that are none. No one threshold parts both classes.
TRUE_SCORES = {"astro": (0.9, 0.85, 0.8), "cort": (0.4, 0.35, 0.3)}
FALSE_SCORES = {"astro": (0.7, 0.6, 0.5, 0.45), "cort": (0.2, 0.15, 0.1)}
STEPS = [
    {"type": "ScoreThreshold", "score_thr": 0.5},
    {"type": "MinArea", "min_area_px": 3},
    {"type": "RemoveOverlaps", "min_kept_fraction": 0.6},
]

Image = tuple[ImagePrediction, ImageRecord]


def image(
    name: str,
    cell_type: str,
    true_scores: Sequence[float] | None = None,
    false_scores: Sequence[float] | None = None,
    group: str | None = None,
) -> Image:
    """Return predictions with these scores, by default those of the cell type, and their annotation."""
    true_scores = TRUE_SCORES[cell_type] if true_scores is None else true_scores
    false_scores = FALSE_SCORES[cell_type] if false_scores is None else false_scores
    squares = _squares(len(true_scores) + len(false_scores))
    scores = np.array([*true_scores, *false_scores], np.float32)
    cells = squares[: len(true_scores)]
    prediction = ImagePrediction(
        image_id=name,
        img_id=None,
        height=SIZE,
        width=SIZE,
        boxes=squares.boxes.astype(np.float32),
        scores=scores,
        labels=np.full(len(scores), CLASSES.index(cell_type)),
        masks=squares,
    )
    record = ImageRecord(
        f"{name}.png", SIZE, SIZE, cells, (cell_type,) * len(cells), cell_type, group
    )
    return prediction, record


def images(count: int) -> tuple[list[ImagePrediction], list[ImageRecord]]:
    """Return images of both types in turn."""
    pairs = [image(f"image{number}", CLASSES[number % 2]) for number in range(count)]
    return [prediction for prediction, _ in pairs], [record for _, record in pairs]


def write_dump(path: Path, predictions: Sequence[ImagePrediction]) -> None:
    """Write a dump in the layout of mmdet, with arrays for tensors."""
    entries = [
        {
            "img_id": number,
            "img_path": f"images/{prediction.image_id}.png",
            "ori_shape": (prediction.height, prediction.width),
            "pred_instances": {
                "bboxes": prediction.boxes,
                "scores": prediction.scores,
                "labels": prediction.labels,
                "masks": prediction.masks.to_coco(),
            },
        }
        for number, prediction in enumerate(predictions)
    ]
    path.write_bytes(pickle.dumps(entries))


def _squares(count: int) -> Runs:
    label_map = np.zeros((SIZE, SIZE), dtype=int)
    for number in range(count):
        y, x = divmod(number * 2 * SIDE, SIZE)
        label_map[y * 2 * SIDE :, x:][:SIDE, :SIDE] = number + 1
    return Runs.from_label_map(label_map)
