"""The result of a search: the numbers found, and their gain on held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cellseg_mmdet.tuning.space import Steps, Values

_NUM_RESAMPLES = 10_000


@dataclass(frozen=True, eq=False)
class Result:
    """The numbers found, and the scores (`kaggle_map`) of the N images that they were searched on.

    Attributes:
        steps: the post-processing list with the numbers found.
        cell_types: of each image.
        before: (N,) with the numbers of the list as it was.
        after: (N,) with the numbers found on these same images.
        held_out: (N,) each with the numbers found on images of other folds.
        start: the numbers of the list as it was, by name.
        found: the numbers found on all images.
        found_without: those found without the images of each fold.
        num_trials: lists that each search tried.
    """

    steps: Steps
    cell_types: Sequence[str | None]
    before: np.ndarray
    after: np.ndarray
    held_out: np.ndarray
    start: Values
    found: Values
    found_without: Sequence[Values]
    num_trials: int

    def gain_interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the mean held-out gain, by the bootstrap over images.

        It is the percentile interval of Efron 1979, of the paired differences.
        """
        gain = self.held_out - self.before
        rng = np.random.default_rng(0)
        means = [rng.choice(gain, len(gain)).mean() for _ in range(_NUM_RESAMPLES)]
        low, high = np.percentile(means, [2.5, 97.5])
        return float(low), float(high)

    def verdict(self) -> str:
        """Return a line that says what the numbers gain on images that they were not searched on."""
        gain = (self.held_out - self.before).mean()
        low, high = self.gain_interval()
        if low > 0:
            meaning = "a gain on new images too"
        elif high < 0:
            meaning = "a LOSS on new images: keep the numbers there were"
        else:
            meaning = "within noise: new images may gain nothing"
        return f"held out {gain:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}: {meaning}"

    def score_table(self) -> str:
        """Return the scores: a line for all images, and one per cell type."""
        lines = [_line("kaggle_map", ["images", "before", "after *", "held out"])]
        types = np.array([cell_type or "" for cell_type in self.cell_types])
        for name in ["overall", *sorted(set(types.tolist()) - {""})]:
            chosen = np.full(len(types), True) if name == "overall" else types == name
            scores = [self.before, self.after, self.held_out]
            means = [f"{score[chosen].mean():.4f}" for score in scores]
            lines.append(_line(name, [str(chosen.sum()), *means]))
        lines.append(
            "* on the images that the numbers were searched on; "
            "held out: with the numbers found without them"
        )
        return "\n".join(lines)

    def number_table(self) -> str:
        """Return the numbers: a line each, before, after, and as found without each fold."""
        columns = [self.start, self.found, *self.found_without]
        folds = [f"not in {fold}" for fold in range(1, len(self.found_without) + 1)]
        width = max(map(len, self.found))
        lines = [_line("", ["before", "after", *folds], width)]
        lines += [
            _line(name, [f"{column[name]:g}" for column in columns], width) for name in self.found
        ]
        return "\n".join(lines)


def _line(label: str, cells: Sequence[str], width: int = 10) -> str:
    return f"{label:<{width}}" + "".join(f"{cell:>10}" for cell in cells)
