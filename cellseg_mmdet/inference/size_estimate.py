"""How large the cells of a picture are, by looking at it: the scale at which a model finds them best.

A model finds cells of about the size that it was trained on. The first look is at the picture as it is, and stays the
only one where it shows enough cells of nearly that size, and surely. Else cells may be broken into pieces (too large),
run into each other (too small), or not be seen: then further looks, at smaller scales first, as they cost little, are
compared by how much of the picture is explained by confident cells of a fitting size, and the best one is refined by
the median diameter of its cells. Nothing is random: the same picture has the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from cellseg_mmdet.images import Image, ImageSource
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.images.scale import resized_image
from cellseg_mmdet.inference.spec import ImagePredictor
from cellseg_mmdet.postprocess import Tally
from cellseg_mmdet.structures import ImagePrediction

Found = TypeVar("Found")


@dataclass(frozen=True)
class SizeRules:
    """When a look is good enough, and what is tried otherwise.

    Attributes:
        near: median diameter over that of the training, from and to, at which the first look is taken as it is.
        sure: median score of the cells from which on the first look is taken as it is: pieces of cells have less.
        close: the same for later looks, beyond which one more is taken.
        coarse: factors that are tried where the first look is not taken; those above 1 if nothing larger is found.
        factors: least and greatest factor by which a picture is resized.
        min_cells: fewer cells say nothing about their size.
        refinements: looks after the coarse ones, at most.
        max_pixels: of an enlarged picture that is looked at without knowing the size of its cells.
    """

    near: tuple[float, float] = (0.6, 1.6)
    sure: float = 0.75
    close: tuple[float, float] = (0.75, 1.33)
    coarse: tuple[float, ...] = (0.5, 0.25, 2.0)
    factors: tuple[float, float] = (0.1, 4.0)
    min_cells: int = 4
    refinements: int = 2
    max_pixels: int = 8_000_000


RULES = SizeRules()


@dataclass(frozen=True, eq=False)
class Look(Generic[Found]):
    """What is found in a picture that was resized.

    Attributes:
        factor: by which it was resized.
        diameters_px: (N,) of the cells, those of circles of the same area, in pixels of the picture itself.
        scores: (N,) confidence of the cells in [0, 1].
        found: whatever the looking gives; that of the best look is used.
    """

    factor: float
    diameters_px: np.ndarray
    scores: np.ndarray
    found: Found

    def median_px(self, min_cells: int) -> float | None:
        """Return the median diameter in pixels of the picture itself, None of fewer cells."""
        if len(self.diameters_px) < max(min_cells, 1):
            return None
        return float(np.median(self.diameters_px))

    def explained(self, trained_px: float, num_pixels: int) -> float:
        """Return the share of the picture in cells, each times its score and how well its size fits, [0, 1].

        A size fits by 1 if it is that of the training, by a half at twice or half of it, by 0 from four times on.
        """
        octaves = np.abs(np.log2(np.maximum(self.diameters_px, 1e-6) * self.factor / trained_px))
        fits = np.clip(1 - octaves / 2, 0, 1)
        areas_px = np.pi / 4 * self.diameters_px**2
        return float((areas_px * self.scores * fits).sum() / num_pixels)


@dataclass(frozen=True, eq=False)
class SizeEstimate(Generic[Found]):
    """The size of the cells of a picture, and the look that it was resized for.

    Attributes:
        look: the best one.
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
        ...     return Look(factor, np.full(number, 80.0), np.full(number, 0.9), None)
        >>> estimate = estimate_size(look, 25.0, (400, 400))
        >>> estimate.diameter_px, round(estimate.factor, 2), estimate.num_looks
        (80.0, 0.25, 3)
    """
    num_pixels = size_hw[0] * size_hw[1]
    best = first = look(1.0)
    num_looks = 1
    diameter_px = first.median_px(rules.min_cells)
    is_near = diameter_px is not None and _within(diameter_px / trained_px, rules.near)
    if is_near and np.median(first.scores) >= rules.sure:
        return SizeEstimate(first, diameter_px, num_looks)
    for factor in rules.coarse:
        if factor > 1:
            seen_px = best.median_px(rules.min_cells)
            is_larger = seen_px is not None and seen_px > trained_px
            if is_larger or num_pixels * factor**2 > rules.max_pixels:
                continue
        one, num_looks = look(factor), num_looks + 1
        best = _better(best, one, trained_px, num_pixels)
    for _ in range(rules.refinements):
        diameter_px = best.median_px(rules.min_cells)
        if diameter_px is None or _within(diameter_px * best.factor / trained_px, rules.close):
            break
        factor = float(np.clip(trained_px / diameter_px, *rules.factors))
        if factor == best.factor:
            break
        one, num_looks = look(factor), num_looks + 1
        if _better(best, one, trained_px, num_pixels) is best:
            break
        best = one
    diameter_px = best.median_px(rules.min_cells)
    # A few things that are seen at another scale alone are no reason to resize a picture.
    return SizeEstimate(first if diameter_px is None else best, diameter_px, num_looks)


def _better(
    one: Look[Found], other: Look[Found], trained_px: float, num_pixels: int
) -> Look[Found]:
    """Return the look that explains more, the first if they are equal."""
    shares = [look.explained(trained_px, num_pixels) for look in (one, other)]
    return other if shares[1] > shares[0] else one


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


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
    image: Image | ImageSource | Picture,
    name: str,
    trained_px: float,
    *,
    first: ImagePrediction | None = None,
    rules: SizeRules = RULES,
    predict_at: Callable[[float], ImagePrediction] | None = None,
) -> SizeEstimate[FoundCells]:
    """Predict a picture at the scale that fits its cells.

    Args:
        model: predicts.
        image: the picture; with ``predict_at`` anything that knows its size.
        name: of the picture, with a suffix, as `ImagePredictor.predict` takes it.
        trained_px: median diameter of the cells that the model was trained on.
        first: the raw prediction of the picture as it is, if it is there already.
        rules: of `estimate_size`.
        predict_at: returns the raw prediction of the picture resized by a factor; the model on all of it by default.
    """

    def look(factor: float) -> Look[FoundCells]:
        if factor == 1.0 and first is not None:
            raw = first
        elif predict_at is not None:
            raw = predict_at(factor)
        else:
            assert isinstance(image, Image)
            (raw,) = model.predict({name: resized_image(image, (factor, factor))})
        found = found_cells(model, raw)
        # What was resized has whole pixels, and so a factor that differs a little from the one asked for.
        area = raw.height * raw.width / (image.size_hw[0] * image.size_hw[1])
        areas = found.final.masks.areas
        diameters_px = np.sqrt(areas[areas > 0] * (4 / np.pi) / area)
        return Look(factor, diameters_px, found.final.scores[areas > 0], found)

    return estimate_size(look, trained_px, image.size_hw, rules)


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
