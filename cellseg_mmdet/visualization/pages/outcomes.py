"""What became of each cell, drawn over the image."""

from __future__ import annotations

import numpy as np

from cellseg_mmdet.evaluation.outcomes import Outcomes, find_outcomes
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.visualization.draw.overlays import draw_instances

# What each outcome is drawn in (RGB): colours that differ to every kind of colour vision, on gray.
COLORS_RGB: dict[str, tuple[int, int, int]] = {
    "hit": (0, 190, 130),
    "missed": (255, 96, 50),
    "extra": (245, 225, 60),
    "split": (90, 185, 255),
    "merged": (235, 120, 225),
}


def draw_outcomes(
    image: np.ndarray, overlaps: Overlaps, outcomes: Outcomes | None = None, *, scale: int = 2
) -> np.ndarray:
    """Draw errors as tints with contours in `COLORS_RGB`, and hits as thin contours.

    Missed cells are drawn as they are, extra ones as predicted. A split is drawn as its pieces, a merged cell as the
    true cells that it joins, so that the border between them, missing or too many, is seen.

    Args:
        image: (H, W) gray or (H, W, 3) BGR, uint8.
        outcomes: what `find_outcomes` found, if it is known already.
        scale: how many times the drawing is larger than the image.

    Returns:
        (scale * H, scale * W, 3) uint8, BGR.
    """
    outcomes = find_outcomes(overlaps) if outcomes is None else outcomes
    from_true = np.isin(outcomes.true, ("missed", "merged"))
    from_predicted = np.isin(outcomes.predicted, ("hit", "extra", "split"))
    names = [*outcomes.true[from_true], *outcomes.predicted[from_predicted]]
    colors = np.array([COLORS_RGB[name][::-1] for name in names], np.uint8).reshape(-1, 3)
    return draw_instances(
        image,
        Runs.concatenate([overlaps.true[from_true], overlaps.predicted[from_predicted]]),
        colors=colors,
        filled=np.array([name != "hit" for name in names], dtype=bool),
        scale=scale,
    )
