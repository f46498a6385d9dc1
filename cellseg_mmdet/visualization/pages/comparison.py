"""One picture of an image: as it is, its true cells, what was predicted, and the errors."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cellseg_mmdet.evaluation.outcomes import find_outcomes
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.visualization.draw.contours import draw_contours
from cellseg_mmdet.visualization.draw.contrast import VIEWS
from cellseg_mmdet.visualization.draw.overlays import as_bgr, draw_instances, enlarge
from cellseg_mmdet.visualization.draw.sheets import sheet
from cellseg_mmdet.visualization.pages.outcomes import COLORS_RGB, draw_outcomes

Cells = Literal["filled", "find", "canny"]


def draw_comparison(
    image: np.ndarray,
    true: Runs,
    predicted: Runs,
    *,
    title: str = "image",
    view: str = "image",
    cells: Cells = "filled",
    scale: int = 2,
) -> np.ndarray:
    """Draw image, truth, prediction and errors in a row; the errors' colours are explained in the title.

    Args:
        image: (H, W) gray or (H, W, 3) BGR, uint8.
        title: of the first panel.
        view: contrast of all panels, one of `VIEWS`.
        cells: 'filled' for tints with contours; for contours alone a method of `draw_contours`.
        scale: how many times a panel is larger than the image.

    Returns:
        (height, width, 3) uint8, BGR.
    """
    canvas = VIEWS[view](as_bgr(image))
    overlaps = Overlaps(predicted, true)
    outcomes = find_outcomes(overlaps)
    legend = [
        (f"{count} {name}   ", COLORS_RGB[name][::-1]) for name, count in outcomes.counts().items()
    ]

    def drawn(masks: Runs) -> np.ndarray:
        if cells == "filled":
            return draw_instances(canvas, masks, scale=scale)
        return draw_contours(canvas, masks, method=cells, scale=scale)

    return sheet(
        [
            (title, enlarge(canvas, scale)),
            (f"truth: {len(true)} cells", drawn(true)),
            (f"prediction: {len(predicted)} cells", drawn(predicted)),
            (legend, draw_outcomes(canvas, overlaps, outcomes, scale=scale)),
        ],
        columns=4,
    )
