"""How large the cells of a picture are, by looking at it: the scale at which a model finds them best.

A model finds cells of about the size that it was trained on. The first look is at the picture as it is, and stays the
only one where the median cell is nearly of that size. Else the picture is looked at once more, resized so that it is;
what is found then may correct the estimate. Where the first look shows too few cells they may be too small or too large
to be seen: other scales are tried until one shows enough. Nothing is random: the same picture has the same answer.

The numbers in `SizeRules` were chosen by ``tools/models/sizes.py`` on images of the training (docs/models.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from cellseg_mmdet.images import Image
from cellseg_mmdet.images.scale import resized_image
from cellseg_mmdet.inference.spec import ImagePredictor
from cellseg_mmdet.postprocess import Tally
from cellseg_mmdet.structures import ImagePrediction

Found = TypeVar("Found")


@dataclass(frozen=True)
class SizeRules:
    """When a look is good enough, and what is tried otherwise.

    Attributes:
        near: median diameter, as it is seen, over that of the training, from and to, at which a look is taken.
        coarse: factors that are tried, in this order, where the first look shows too few cells.
        factors: least and greatest factor by which a picture is resized.
        min_cells: fewer cells say nothing about their size.
        refinements: looks at an estimated scale, at most.
        max_pixels: of an enlarged picture that is looked at without knowing the size of its cells.
        window_px: side of the part of a picture in tiles at which more than one look is taken.
    """

    near: tuple[float, float] = (0.7, 2.0)
    coarse: tuple[float, ...] = (2.0, 0.5, 0.25)
    factors: tuple[float, float] = (0.1, 4.0)
    min_cells: int = 4
    refinements: int = 2
    max_pixels: int = 8_000_000
    window_px: int = 2048


RULES = SizeRules()


@dataclass(frozen=True, eq=False)
class Look(Generic[Found]):
    """What is found in a picture that was resized.

    Attributes:
        factor: by which it was resized.
        diameters_px: (N,) of the cells, those of circles of the same area, in pixels of the picture itself.
        found: whatever the looking gives; that of the look that is taken is used.
    """

    factor: float
    diameters_px: np.ndarray
    found: Found

    def median_px(self, min_cells: int) -> float | None:
        """Return the median diameter in pixels of the picture itself, None of fewer cells."""
        if len(self.diameters_px) < max(min_cells, 1):
            return None
        return float(np.median(self.diameters_px))


@dataclass(frozen=True, eq=False)
class SizeEstimate(Generic[Found]):
    """The size of the cells of a picture, and the look that it was resized for.

    Attributes:
        look: the one that is taken.
        diameter_px: median diameter of the cells in pixels of the picture; None where there are too few to say.
        num_looks: how many were taken.
    """

    look: Look[Found]
    diameter_px: float | None
    num_looks: int

    @property
    def factor(self) -> float:
        """By which the picture is resized."""
        return self.look.factor


def estimate_size(
    look: Callable[[float], Look[Found]],
    trained_px: float,
    size_hw: tuple[int, int],
    rules: SizeRules = RULES,
) -> SizeEstimate[Found]:
    """Return the size of the cells of a picture.

    Args:
        look: predicts the picture resized by a factor.
        trained_px: median diameter of the cells that the model was trained on.
        size_hw: height and width of the picture.
        rules: see there.

    Example:
        A detector that sees nothing but cells of 10 to 60 pixels, in a picture with eight of 80:

        >>> def look(factor):
        ...     number = 8 if 10 < 80 * factor < 60 else 0
        ...     return Look(factor, np.full(number, 80.0), None)
        >>> estimate = estimate_size(look, 25.0, (400, 400))
        >>> estimate.diameter_px, round(estimate.factor, 2), estimate.num_looks
        (80.0, 0.5, 3)
    """
    best = first = look(1.0)
    num_looks = 1
    diameter_px = first.median_px(rules.min_cells)
    for factor in rules.coarse if diameter_px is None else ():
        if factor > 1 and size_hw[0] * size_hw[1] * factor**2 > rules.max_pixels:
            continue
        best, num_looks = look(factor), num_looks + 1
        diameter_px = best.median_px(rules.min_cells)
        if diameter_px is not None:
            break
    if diameter_px is None:
        return SizeEstimate(first, None, num_looks)
    for _ in range(rules.refinements):
        if rules.near[0] <= diameter_px * best.factor / trained_px <= rules.near[1]:
            break
        factor = float(np.clip(trained_px / diameter_px, *rules.factors))
        if factor == best.factor:
            break
        closer, num_looks = look(factor), num_looks + 1
        seen_px = closer.median_px(rules.min_cells)
        if seen_px is None:
            break
        best, diameter_px = closer, seen_px
    return SizeEstimate(best, diameter_px, num_looks)


@dataclass(frozen=True, eq=False)
class FoundCells:
    """What a model finds in a picture at one scale.

    Attributes:
        raw: the prediction, in the resized picture.
        final: after post-processing, in the resized picture.
        tally: what the post-processing left out.
    """

    raw: ImagePrediction
    final: ImagePrediction
    tally: Tally = field(default_factory=Tally)


def found_cells(model: ImagePredictor, raw: ImagePrediction) -> FoundCells:
    """Return a raw prediction with what the post-processing makes of it."""
    tally = Tally()
    return FoundCells(raw, tally.through(model.postprocess, raw), tally)


def find_at_estimated_size(
    model: ImagePredictor,
    size_hw: tuple[int, int],
    predict: Callable[[tuple[float, float]], ImagePrediction],
    trained_px: float,
    *,
    first: ImagePrediction | None = None,
    window: Callable[[int, int, int, int], Image] | None = None,
    rules: SizeRules = RULES,
) -> SizeEstimate[FoundCells]:
    """Predict a picture at the scale that fits its cells.

    Args:
        model: predicts, and post-processes.
        size_hw: height and width of the picture.
        predict: returns the raw prediction of the picture resized by factors for height and width.
        trained_px: median diameter of the cells that the model was trained on.
        first: the raw prediction of the picture as it is, if it is there already.
        window: reads a part (y, x, height, width) of a picture that is too large for several looks: they are taken at
            the part with most cells, and one more at the whole.
        rules: of `estimate_size`.
    """

    def look(factor: float) -> Look[FoundCells]:
        raw = first if factor == 1.0 and first is not None else predict((factor, factor))
        return _look(model, raw, factor, size_hw)

    if window is None:
        return estimate_size(look, trained_px, size_hw, rules)
    whole = look(1.0)
    diameter_px = whole.median_px(rules.min_cells)
    if diameter_px and rules.near[0] <= diameter_px / trained_px <= rules.near[1]:
        return SizeEstimate(whole, diameter_px, 1)
    part = window(*_busiest_window(whole.found.final, rules.window_px))

    def look_at_part(factor: float) -> Look[FoundCells]:
        (raw,) = model.predict({"part.image": resized_image(part, (factor, factor))})
        return _look(model, raw, factor, part.size_hw)

    estimate = estimate_size(look_at_part, trained_px, part.size_hw, rules)
    best = whole if estimate.factor == 1.0 else look(estimate.factor)
    return SizeEstimate(best, estimate.diameter_px, 1 + estimate.num_looks + (best is not whole))


def _look(
    model: ImagePredictor, raw: ImagePrediction, factor: float, size_hw: tuple[int, int]
) -> Look[FoundCells]:
    found = found_cells(model, raw)
    # What was resized has whole pixels, and so a factor that differs a little from the one asked for.
    area = raw.height * raw.width / (size_hw[0] * size_hw[1])
    areas = found.final.masks.areas
    diameters_px = np.sqrt(areas[areas > 0] * (4 / np.pi) / area)
    return Look(factor, diameters_px, found)


def _busiest_window(found: ImagePrediction, side: int) -> tuple[int, int, int, int]:
    """Return (y, x, height, width) of the window with most cells by area; without cells, the one in the middle."""
    height, width = min(side, found.height), min(side, found.width)
    ys = np.unique(
        np.linspace(0, found.height - height, 1 + 2 * (found.height // height)).astype(int)
    )
    xs = np.unique(np.linspace(0, found.width - width, 1 + 2 * (found.width // width)).astype(int))
    middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    best, most = ((found.height - height) // 2, (found.width - width) // 2), 0.0
    for y in ys.tolist():
        in_rows = (middles[:, 1] >= y) & (middles[:, 1] < y + height)
        for x in xs.tolist():
            inside = in_rows & (middles[:, 0] >= x) & (middles[:, 0] < x + width)
            area = float(found.masks.areas[inside].sum())
            if area > most:
                best, most = (y, x), area
    return (*best, height, width)


def sentence(sizes: Sequence[tuple[float | None, float]]) -> str:
    """Return what a run says of the sizes that it estimated; '' of none.

    Args:
        sizes: of each image the median diameter of its cells, None where there were too few, and the factor by which
            it was resized.

    Example:
        >>> sentence([(24.0, 1.0), (50.0, 0.5), (None, 1.0)])
        'size of cells: median 24 to 50 px in 2 images, 1 with too few cells to say; 1 resized, by 0.50'
        >>> sentence([(24.2, 1.0)])
        'size of cells: median 24 px; not resized'
    """
    if not sizes:
        return ""
    known = [diameter for diameter, _ in sizes if diameter is not None]
    factors = [factor for _, factor in sizes if factor != 1.0]
    if known:
        told = f"median {_span(known, '.0f')} px"
        told += f" in {len(known)} images" * (len(sizes) > 1)
        told += f", {len(sizes) - len(known)} with too few cells to say" * (len(known) < len(sizes))
    else:
        told = "too few cells to say"
    resized = f"{len(factors)} resized, by {_span(factors, '.2f')}" if factors else "not resized"
    return f"size of cells: {told}; {resized}"


def _span(values: list[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"
