"""`Cells`: what a model found in one image, for whoever calls it from Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, overload

import numpy as np

from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImagePrediction


class Cell(NamedTuple):
    """One cell.

    Attributes:
        box_xyxy: (4,) int64 in pixels, tight around the mask, x2 and y2 one past its last pixel.
        score: confidence in [0, 1].
        label: index into the classes of the model.
        class_name: name of that class.
        mask: `Runs` of one instance.
    """

    box_xyxy: np.ndarray
    score: float
    label: int
    class_name: str
    mask: Runs


@dataclass(frozen=True, eq=False, repr=False)
class Cells:
    """N cells found in one image, after post-processing, by falling score.

    ``len`` counts them, iteration gives each as a `Cell`; an integer picks one, a slice, a boolean or an integer array
    picks some.

    Attributes:
        masks: `Runs` of N instances; they share no pixel where the config's ``postprocess`` sees to that.
        scores: (N,) float, confidence in [0, 1].
        labels: (N,) int64, index into ``classes``.
        classes: class names of the model.
        name: of the image; '' where it has none.
        scale: factor by which the image was resized for the network.

    Example:
        >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2], [1, 1, 0, 2]]))
        >>> cells = Cells(masks, np.array([0.9, 0.7]), np.array([0, 1]), ("astro", "cort"))
        >>> cells
        Cells(2 cells in 2 x 4 pixels: 1 astro, 1 cort)
        >>> cells.boxes
        array([[0, 0, 2, 2],
               [3, 0, 4, 2]])
        >>> cells.label_map()
        array([[1, 1, 0, 2],
               [1, 1, 0, 2]], dtype=int32)
        >>> [(cell.class_name, cell.score) for cell in cells[cells.scores > 0.8]]
        [('astro', 0.9)]
    """

    masks: Runs
    scores: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str = ""
    scale: float = 1.0

    @classmethod
    def from_prediction(cls, prediction: ImagePrediction, classes: Sequence[str]) -> Cells:
        """Return the cells of a final prediction, by falling score; those without a pixel are left out."""
        order = prediction.by_descending_score()
        order = order[prediction.masks.areas[order] > 0]
        chosen = prediction.select(order)
        labels = np.asarray(chosen.labels, dtype=np.int64)
        return cls(chosen.masks, chosen.scores, labels, tuple(classes), prediction.image_id)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        counts = np.bincount(self.labels, minlength=len(self.classes))
        of_classes = ", ".join(
            f"{count} {name}" for name, count in zip(self.classes, counts, strict=True) if count
        )
        height, width = self.size_hw
        what = f"{len(self)} cell{'s' * (len(self) != 1)} in {height} x {width} pixels"
        return f"Cells({what}{': ' * bool(of_classes)}{of_classes})"

    @overload
    def __getitem__(self, index: int) -> Cell: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> Cells: ...

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> Cell | Cells:
        if isinstance(index, int | np.integer):
            label = int(self.labels[index])
            mask = self.masks[[index]]
            score = float(self.scores[index])
            return Cell(mask.boxes[0], score, label, self.classes[label], mask)
        if not isinstance(index, slice):
            index = np.asarray(index)
            index = index if index.size else index.astype(np.int64)
        return replace(
            self, masks=self.masks[index], scores=self.scores[index], labels=self.labels[index]
        )

    def __iter__(self) -> Iterator[Cell]:
        return (self[index] for index in range(len(self)))

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.masks.height, self.masks.width

    @property
    def boxes(self) -> np.ndarray:
        """Boxes (N, 4) int64 xyxy in pixels, tight around the masks, x2 and y2 one past the last pixel."""
        return self.masks.boxes

    @property
    def areas_px(self) -> np.ndarray:
        """Pixels of each cell, (N,) int64."""
        return self.masks.areas

    @property
    def class_names(self) -> list[str]:
        """Name of the class of each cell."""
        return [self.classes[label] for label in self.labels]

    def label_map(self) -> np.ndarray:
        """Paint a label map (H, W) int32: 0 is background, cell ``i`` is ``i + 1``.

        A pixel of several cells belongs to the one with the highest score, of equal ones to the first.
        """
        order = np.argsort(-self.scores, kind="stable")[::-1]  # the last one painted stays
        numbers = np.concatenate([[0], order + 1]).astype(np.int32)
        return numbers[self.masks[order].to_label_map()]
