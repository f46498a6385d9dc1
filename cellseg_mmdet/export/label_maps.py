"""Label maps of predictions, and the part that all writers of label images share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from cellseg_mmdet.export.writer import ImageWriter
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.postprocess import RemoveOverlaps
from cellseg_mmdet.postprocess.parameters import check_choice
from cellseg_mmdet.structures import ImagePrediction

Overlaps = Literal["score", "smaller", "larger", "nearest"]
OVERLAPS: tuple[str, ...] = get_args(Overlaps)
_WORDS = {
    "score": "the one with the higher score",
    "smaller": "the smaller one",
    "larger": "the larger one",
    "nearest": "the one whose centre is nearer",
}
# Pixels that are painted together; each takes some 40 bytes.
_MAX_PIXELS = 1 << 20


def label_map(prediction: ImagePrediction, overlaps: Overlaps = "score") -> np.ndarray:
    """Paint a label map (H, W) uint32: 0 is background, a cell has its number in `ImagePrediction.cell_ids`.

    Args:
        prediction: of one image.
        overlaps: who gets a pixel of several cells: 'score', the one with the highest score; 'smaller' or 'larger', the
            one with the smallest or largest mask; 'nearest', the one whose centre of mass is nearest. Of equal ones the
            higher score wins, of equal scores the first.

    Raises:
        ConfigError: another value of ``overlaps``.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> label_map(ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks))
        array([[1, 2, 2]], dtype=uint32)
    """
    check_choice("overlaps", overlaps, OVERLAPS)
    masks = prediction.masks
    if overlaps == "nearest":
        return RemoveOverlaps(give_to="nearest").owners(prediction)
    labels = np.zeros((masks.height, masks.width), dtype=np.uint32)
    flat = labels.reshape(-1)
    order = RemoveOverlaps(give_to=overlaps).worst_first(prediction)  # the last one painted stays
    ends = np.cumsum(masks.areas[order])
    begin = 0
    while begin < len(order):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _MAX_PIXELS, side="right")))
        some = order[begin:end]
        pixels, owner = masks[some].pixels()
        x, y = np.divmod(pixels, max(masks.height, 1))
        flat[y * masks.width + x] = prediction.cell_ids[some][owner]
        begin = end
    return labels


class LabelWriter(ImageWriter):
    """A writer of label images, where each pixel is of one cell.

    Args:
        overlaps: who gets a pixel of several cells, see `label_map`.
        pixel_size_um: height and width of a pixel, in place of what the images say.

    Raises:
        ConfigError: another value of ``overlaps``.
    """

    def __init__(
        self, overlaps: Overlaps = "score", pixel_size_um: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        check_choice("overlaps", overlaps, OVERLAPS)
        self.overlaps: Overlaps = overlaps
        self._pixel_size_um = pixel_size_um

    def size_um(self, picture: Picture) -> tuple[float, float] | None:
        """Return height and width of a pixel in micrometres, None where nothing says them."""
        return self._pixel_size_um or picture.pixel_size_um

    def labels_of(self, prediction: ImagePrediction) -> np.ndarray:
        """Return the label map (H, W) uint32, and count what overlaps cost."""
        labels = label_map(prediction, self.overlaps)
        areas = prediction.masks.areas
        lost_px = int(areas.sum()) - np.count_nonzero(labels)
        if lost_px:
            has_pixels = np.zeros(len(prediction) + 1, dtype=bool)
            for row in labels:
                has_pixels[row] = True
            self.tally = {"lost_px": lost_px, "lost": int((~has_pixels[1:] & (areas > 0)).sum())}
        return labels

    def told(self, tally: Mapping[str, float]) -> str:
        if not tally:
            return ""
        pixels, cells = int(tally["lost_px"]), int(tally["lost"])
        said = f"{pixels:,} pixel{'s' * (pixels != 1)} that cells share went to {_WORDS[self.overlaps]}"
        if cells:
            said += f", which left {cells:,} cell{'s' * (cells != 1)} without any"
        return said
