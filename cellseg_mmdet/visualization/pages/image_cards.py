"""An image of a page with its true and predicted cells as overlays, and the switches that show and hide them."""

from __future__ import annotations

from html import escape

import numpy as np

from cellseg_mmdet.evaluation.outcomes import Outcomes
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.polygons import contours
from cellseg_mmdet.visualization.draw.contrast import VIEWS
from cellseg_mmdet.visualization.draw.overlays import as_bgr, check_size
from cellseg_mmdet.visualization.pages.html import data_uri

# CSS class of the section that holds switches and cards.
CSS_CLASS = "images"
# The cells are lines, sharp at any size: only the image itself is limited, to what a screen shows.
_MAX_SIDE_PX = 1024

_MEANINGS = {
    "hit": "found, IoU above 0.5",
    "missed": "a true cell that is not found",
    "extra": "predicted where there is no such cell",
    "split": "one true cell found as several",
    "merged": "several true cells found as one",
}
_SHOWN = {
    "errors": "errors",
    "true": '<span class="key" style="--series: var(--true)"></span>true cells',
    "predicted": '<span class="key" style="--series: var(--predicted)"></span>predicted cells',
    "both": "both",
    "none": "image alone",
}
_VIEWS = {"image": "as it is", "clahe": "CLAHE", "equalised": "equalised"}


def switches() -> str:
    """Return, as HTML, what chooses overlays, contrast and size of all cards of a section of class `CSS_CLASS`."""
    outcomes = "".join(
        f'<label title="{meaning}"><input type="checkbox" id="outcome-{name}" checked>'
        f'<span class="key {name}"></span>{name}</label>'
        for name, meaning in _MEANINGS.items()
    )
    return (
        '<form class="switches">'
        + _choice("show", "Show", _SHOWN)
        + f'<fieldset class="outcomes"><legend>Errors</legend>{outcomes}</fieldset>'
        + _choice("view", "Contrast", _VIEWS)
        + _choice("size", "Size", {"small": "small", "large": "large"})
        + "</form>"
    )


def cards(bodies: list[str]) -> str:
    """Return cards, each of `card`, in a grid."""
    return f'<div class="cards">{"".join(bodies)}</div>'


def card(
    title: str,
    text: str,
    image: np.ndarray,
    true: Runs,
    predicted: Runs,
    outcomes: Outcomes,
    scores: np.ndarray | None = None,
) -> str:
    """Return one image with its overlays as HTML.

    Args:
        title: plain text.
        text: below it, plain text.
        image: (H, W) gray or (H, W, 3) BGR, uint8.
        true: the true cells, and
        predicted: the M predicted ones, which ``outcomes`` are of.
        scores: (M,) of the predicted cells; None if they have none.

    Raises:
        ValueError: if the masks are not of the image's size.
    """
    image = check_size(as_bgr(image), true)
    height, width = image.shape[:2]
    views = "".join(
        f'<image class="view-{name}" width="{width}" height="{height}" '
        f'href="{data_uri(change(image), max_side_px=_MAX_SIDE_PX)}"/>'
        for name, change in VIEWS.items()
    )
    true_titles = [
        f"true cell, {outcome}, {area} pixels"
        for outcome, area in zip(outcomes.true, true.areas, strict=True)
    ]
    score_texts = (
        [""] * len(predicted) if scores is None else [f"score {score:.2f}, " for score in scores]
    )
    predicted_titles = [
        f"predicted cell, {outcome}, {score}best IoU {iou:.2f}, {area} pixels"
        for outcome, score, iou, area in zip(
            outcomes.predicted, score_texts, outcomes.iou, predicted.areas, strict=True
        )
    ]
    drawn = _paths(true, "t", outcomes.true, true_titles)
    drawn += _paths(predicted, "p", outcomes.predicted, predicted_titles)
    counted = ", ".join(f"{count} {name}" for name, count in outcomes.counts().items())
    return (
        f'<article class="card"><h3 title="{escape(title)}">{escape(title)}</h3><p class="muted">{escape(text)}</p>'
        f'<svg class="stage" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}: {counted}">{views}'
        f'<g transform="translate(.5 .5)">{drawn}</g></svg></article>'
    )


def _choice(name: str, title: str, options: dict[str, str]) -> str:
    labels = "".join(
        f'<label><input type="radio" name="{name}" id="{name}-{value}"{" checked" * (index == 0)}>{text}</label>'
        for index, (value, text) in enumerate(options.items())
    )
    return f"<fieldset><legend>{title}</legend>{labels}</fieldset>"


def _paths(masks: Runs, kind: str, outcomes: np.ndarray, titles: list[str]) -> str:
    """Return one path for each instance, the largest first: what lies on top can be pointed at."""
    shapes = contours(masks)
    return "".join(
        f'<path class="{kind} {outcomes[index]}" d="{"".join(map(_outline, shapes[index]))}">'
        f"<title>{titles[index]}</title></path>"
        for index in np.argsort(-masks.areas, kind="stable").tolist()
        if shapes[index]
    )


def _outline(corners: np.ndarray) -> str:
    """Return a closed SVG path through (P, 2) corners, in steps from each to the next, which are short to write."""
    (x, y), steps = corners[0].tolist(), np.diff(corners, axis=0).tolist()
    return (
        f"M{x} {y}l" + " ".join(f"{dx} {dy}" for dx, dy in steps) + "z" if steps else f"M{x} {y}z"
    )
