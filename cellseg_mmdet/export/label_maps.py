"""Label maps of predictions, and the part that all writers of label images share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from cellseg_mmdet.export.writer import ImageWriter
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.label_bands import LabelBands
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
    bands = _bands(prediction, _divided(prediction, overlaps))
    return bands.rows(0, prediction.height)


def _divided(prediction: ImagePrediction, overlaps: Overlaps) -> Runs:
    """Return the masks (N) with each pixel in one of them; some may be left empty."""
    check_choice("overlaps", overlaps, OVERLAPS)
    return RemoveOverlaps(give_to=overlaps).divided(prediction)


def _bands(prediction: ImagePrediction, masks: Runs) -> LabelBands:
    return LabelBands(masks, prediction.cell_ids.astype(np.uint32))


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

    def labels_of(self, prediction: ImagePrediction) -> LabelBands:
        """Return the label map (H, W) uint32, of which rows are painted when they are asked for, and count what
        overlaps cost."""
        masks = _divided(prediction, self.overlaps)
        before, after = prediction.masks.areas, masks.areas
        lost_px = int(before.sum() - after.sum())
        if lost_px:
            lost = np.count_nonzero((after == 0) & (before > 0))
            self.tally = {"lost_px": lost_px, "lost": int(lost)}
        return _bands(prediction, masks)

    def told(self, tally: Mapping[str, float]) -> str:
        if not tally:
            return ""
        pixels, cells = int(tally["lost_px"]), int(tally["lost"])
        said = f"{pixels:,} pixel{'s' * (pixels != 1)} that cells share went to {_WORDS[self.overlaps]}"
        if cells:
            said += f", which left {cells:,} cell{'s' * (cells != 1)} without any"
        return said
