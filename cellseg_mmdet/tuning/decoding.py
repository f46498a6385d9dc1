"""Cells of maps that a dump holds, decoded with other thresholds of their code."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cellseg_mmdet.errors import DataError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.pixel_codes import build_pixel_code, class_probabilities
from cellseg_mmdet.structures import ImagePrediction

# Codes an image is kept decoded with: of a round of trials most leave the code as it is, in each of several searches.
KEPT = 4


class Decoder:
    """Decodes the maps of images, and keeps what it decoded last of each.

    Example:
        >>> maps = np.zeros((3, 4, 4), dtype=np.float16)
        >>> maps[0, 1:3, 1:3] = 0.75
        >>> none = Runs.empty(4, 4)
        >>> raw = ImagePrediction("a", 1, 4, 4, none.boxes, np.zeros(0), np.zeros(0, int), none, maps=maps)
        >>> len(Decoder()(0, raw, {"type": "FlowCode", "mask_thr": 0.8}))
        0
    """

    def __init__(self) -> None:
        self._kept: dict[int, OrderedDict[str, ImagePrediction]] = {}

    def __call__(
        self, image: int, prediction: ImagePrediction, code: Mapping[str, Any]
    ) -> ImagePrediction:
        """Return the cells of an image; see `decoded`."""
        kept = self._kept.setdefault(image, OrderedDict())
        key = json.dumps(code, sort_keys=True)
        if key not in kept:
            kept[key] = decoded(prediction, code)
            if len(kept) > KEPT:
                kept.popitem(last=False)
        kept.move_to_end(key)
        return kept[key]


def decoded(prediction: ImagePrediction, code: Mapping[str, Any]) -> ImagePrediction:
    """Return the cells that a pixel model decodes of its maps with another code, as `PixelDetector.decoded` does.

    Args:
        prediction: with maps, the code's and then the probability of each class where there are several.
        code: config of the code.

    Raises:
        DataError: it has no maps, or they are of another code.
    """
    if prediction.maps is None:
        raise DataError(f"{prediction.image_id}: it has no maps to decode")
    built = build_pixel_code(code)
    if len(prediction.maps) < built.channels:
        raise DataError(
            f"{prediction.image_id}: {len(prediction.maps)} maps; {code['type']} reads {built.channels}"
        )
    maps = prediction.maps.astype(np.float32)
    found = built.decode(maps[: built.channels])
    runs: Runs = found.masks
    labels = np.zeros(len(runs), dtype=np.int64)
    if len(maps) > built.channels:
        of_classes = class_probabilities(found.label_map, maps[built.channels :], len(runs))
        labels = of_classes.argmax(axis=1)
    return replace(
        prediction,
        boxes=runs.boxes.astype(np.float64),
        scores=found.scores,
        labels=labels,
        masks=runs,
        mask_scores=found.scores,
        soft_masks=None,
        maps=None,
    )
