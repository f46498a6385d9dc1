"""`Cells`: what a model found in one image, for whoever calls it from Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from cellseg_mmdet.errors import ConfigError, DataError
from cellseg_mmdet.export import label_map, to_geojson
from cellseg_mmdet.export.geojson import ObjectType
from cellseg_mmdet.export.label_maps import Overlaps
from cellseg_mmdet.images import Image
from cellseg_mmdet.images.image import RGB
from cellseg_mmdet.masks import RoIMasks, Runs
from cellseg_mmdet.structures import ImageKey, ImagePrediction

if TYPE_CHECKING:  # numba takes a second, which who does not measure need not wait for
    from cellseg_mmdet.measure import Measurements, MeasureOptions


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


class Crop(NamedTuple):
    """One cell, cut out.

    Attributes:
        box_xyxy: (4,) int64 in pixels of the image, x2 and y2 one past the last pixel.
        mask: (h, w) bool, the cell in the box.
        pixels: of the image in the box, as stored, (h, w) or (h, w, C); None where no image was given.
    """

    box_xyxy: np.ndarray
    mask: np.ndarray
    pixels: np.ndarray | None


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

    Raises:
        DataError: scores or labels are not one a mask, a score is not finite, or a label is of no class.

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

    def __post_init__(self) -> None:
        name = self.name or "cells"
        masks: object = self.masks
        if not isinstance(masks, Runs):
            raise DataError(
                f"{name}: masks are a {type(masks).__name__}; give Runs, such as Runs.from_label_map(labels)"
            )
        given: str | Sequence[str] = self.classes  # one may be given as a text
        classes = (given,) if isinstance(given, str) else tuple(given)
        arrays = {"scores": np.asarray(self.scores), "labels": np.asarray(self.labels)}
        for key, kinds in (("scores", "iuf"), ("labels", "iu")):
            array = arrays[key]
            if not array.size:  # an empty list is one of floats
                array = arrays[key] = array.astype(np.int64 if key == "labels" else np.float64)
            if array.shape != (len(self.masks),) or array.dtype.kind not in kinds:
                raise DataError(
                    f"{name}: {key} are {array.dtype} of shape {array.shape}; must be {len(self.masks)} "
                    f"{'whole numbers' if key == 'labels' else 'numbers'}, one a mask"
                )
        if not np.isfinite(arrays["scores"]).all():
            raise DataError(f"{name}: a score is not finite")
        labels = arrays["labels"]
        if len(labels) and not (labels.min() >= 0 and labels.max() < len(classes)):
            wrong = labels[(labels < 0) | (labels >= len(classes))][0]
            raise DataError(
                f"{name}: a cell of label {wrong}, but there are the {len(classes)} classes {', '.join(classes)}"
            )
        for key, value in (("classes", classes), *arrays.items()):
            object.__setattr__(self, key, value)

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
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            label = int(self.labels[index])
            mask = self.masks[[index]]
            score = float(self.scores[index])
            return Cell(mask.boxes[0], score, label, self.classes[label], mask)
        if not isinstance(index, slice):
            index = np.asarray(index)
            index = index if index.size else index.astype(np.int64)
            if index.ndim != 1 or index.dtype.kind not in "biu":
                raise IndexError(
                    f"cells are picked by a whole number, a slice, or a list of whole numbers or of "
                    f"{len(self)} booleans; got {index.dtype} of shape {index.shape}"
                )
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

    def label_map(self, overlaps: Overlaps = "score") -> np.ndarray:
        """Paint a label map (H, W) int32: 0 is background, cell ``i`` is ``i + 1``.

        A pixel of several cells belongs to the one with the highest score, of equal ones to the first.

        Args:
            overlaps: another rule for such a pixel, see `cellseg_mmdet.export.label_map`.
        """
        return label_map(self._prediction(), overlaps).view(np.int32)

    def crop(
        self, index: int, image: Image | np.ndarray | None = None, *, margin_px: int = 0
    ) -> Crop:
        """Cut a cell out: its mask in its box, and what the image has there.

        Args:
            index: of the cell.
            image: that the cells were found in, as `Model` takes it.
            margin_px: pixels to add on each side of the box, as far as the image goes.

        Raises:
            IndexError: there is no such cell.
            DataError: the image is of another size.
            ConfigError: the margin is no whole number from 0 on.

        Example:
            >>> masks = Runs.from_label_map(np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]]))
            >>> cells = Cells(masks, np.array([0.9]), np.array([0]), ("cell",))
            >>> crop = cells.crop(0, np.arange(12).reshape(3, 4))
            >>> crop.mask.astype(int)
            array([[1, 0],
                   [1, 1]])
            >>> crop.pixels[crop.mask]
            array([ 5,  9, 10])
            >>> cells.crop(0, margin_px=5).box_xyxy
            array([0, 0, 4, 3])
        """
        if not isinstance(index, int | np.integer) or not -len(self) <= index < len(self):
            raise IndexError(f"cell {index!r}: there are {len(self)} cells, counted from 0")
        if not isinstance(margin_px, int | np.integer) or margin_px < 0:
            raise ConfigError(f"margin_px={margin_px!r}: must be whole pixels, from 0 on")
        masks = RoIMasks.from_runs(self.masks[[index]])
        x1, y1, x2, y2 = masks.boxes[0].tolist()
        height, width = self.size_hw
        left, top = max(x1 - margin_px, 0), max(y1 - margin_px, 0)
        right, bottom = min(x2 + margin_px, width), min(y2 + margin_px, height)
        mask = np.zeros((bottom - top, right - left), dtype=bool)
        mask[y1 - top : y2 - top, x1 - left : x2 - left] = masks.bitmap(0)
        pixels = None
        if image is not None:
            pixels = image.pixels if isinstance(image, Image) else np.asarray(image)
            self._check_size(pixels)
            pixels = pixels[top:bottom, left:right]
        return Crop(np.array([left, top, right, bottom]), mask, pixels)

    def measure(
        self, image: Image | np.ndarray | None = None, options: MeasureOptions | None = None
    ) -> Measurements:
        """Measure the cells: the columns that docs/measurements.md defines.

        Args:
            image: that the cells were found in, for intensities and, of an `Image`, the size of a pixel. Of an array
                (H, W, C) the channels are numbered, and three are red, green and blue.
            options: size of a pixel, distance of neighbours, background.

        Raises:
            DataError: the image is of another size.

        Example:
            >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2], [1, 1, 0, 2]]))
            >>> cells = Cells(masks, np.array([0.9, 0.7]), np.array([0, 1]), ("astro", "cort"))
            >>> table = cells.measure(np.array([[10, 20, 0, 5], [10, 20, 0, 5]], np.uint16))
            >>> table["area_px"], table["mean_gray"], table["nearest_px"]
            (array([4., 2.]), array([15.,  5.]), array([2., 2.]))
        """
        from cellseg_mmdet.measure import measure_image

        picture = None
        if image is not None:
            self._check_size(image.pixels if isinstance(image, Image) else image)
            picture = image if isinstance(image, Image) else _as_image(image, self.name)
        return measure_image(self._prediction(), self.classes, picture, options=options)

    def to_dataframe(
        self, image: Image | np.ndarray | None = None, options: MeasureOptions | None = None
    ) -> Any:
        """Return the table of the cells as a pandas ``DataFrame``; arguments and errors are those of `measure`.

        Cell ``i`` has the id ``i + 1``, its number in the label map.

        Raises:
            UsageError: pandas is not installed: ``pip install "cellseg_mmdet[pandas]"``.

        Example:
            >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2], [1, 1, 0, 2]]))
            >>> cells = Cells(masks, np.array([0.9, 0.7]), np.array([0, 1]), ("astro", "cort"))
            >>> frame = cells.to_dataframe(np.array([[10, 20, 0, 5], [10, 20, 0, 5]], np.uint16))
            >>> frame[["id", "class", "area_px", "mean_gray"]]
               id  class  area_px  mean_gray
            0   1  astro      4.0       15.0
            1   2   cort      2.0        5.0
        """
        return self.measure(image, options).to_dataframe()

    def to_geojson(
        self,
        *,
        measurements: Mapping[str, np.ndarray] | None = None,
        object_type: ObjectType = "detection",
        simplify_px: float = 0,
    ) -> dict[str, Any]:
        """Return the outlines as a GeoJSON FeatureCollection that QuPath reads, see `cellseg_mmdet.export.to_geojson`.

        Cell ``i`` has the number ``i + 1``, as in `label_map`.

        Args:
            measurements: name -> (N,) numbers.
            object_type: what QuPath takes the cells for.
            simplify_px: how far outlines may move, so that they have fewer points; 0 keeps every pixel.

        Example:
            >>> masks = Runs.from_label_map(np.array([[0, 1]]))
            >>> cells = Cells(masks, np.array([0.9]), np.array([0]), ("cell",), "a")
            >>> cells.to_geojson()["features"][0]["geometry"]["coordinates"]
            [[[1, 1], [1, 0], [2, 0], [2, 1], [1, 1]]]
        """
        return to_geojson(
            self._prediction(),
            self.classes,
            measurements=measurements,
            object_type=object_type,
            simplify_px=simplify_px,
        )

    def _prediction(self) -> ImagePrediction:
        height, width = self.size_hw
        boxes = self.masks.boxes.astype(np.float64)
        return ImagePrediction(
            self.name, None, height, width, boxes, self.scores, self.labels, self.masks
        )

    def _check_size(self, pixels: np.ndarray) -> None:
        if tuple(np.shape(pixels)[:2]) != self.size_hw:
            height, width = self.size_hw
            raise DataError(
                f"{self.name or 'the image'}: the cells are of an image of {height} x {width} pixels; "
                f"got an array of shape {np.shape(pixels)}"
            )


def _as_image(pixels: np.ndarray, name: str) -> Image:
    pixels = np.asarray(pixels)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or not pixels.shape[2] or pixels.dtype.kind not in "buif":
        raise DataError(
            f"an array of {pixels.dtype} of shape {pixels.shape}; give numbers, (H, W) or (H, W, C)"
        )
    count = pixels.shape[2]
    names = {1: ("gray",), 3: RGB}.get(count, tuple(f"channel{index}" for index in range(count)))
    return Image(pixels, ImageKey(name or "array", name=name), names)
