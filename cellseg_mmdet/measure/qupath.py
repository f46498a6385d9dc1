"""Measurements that outlines for QuPath carry along."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.measure.columns import KEYS
from cellseg_mmdet.measure.names import renamed
from cellseg_mmdet.measure.table import MeasureOptions, filled_cells, measure_image
from cellseg_mmdet.structures import ImagePrediction


@dataclass(frozen=True)
class QuPathMeasurements:
    """Measures the cells of an image, for the ``measure`` of a writer of GeoJSON.

    Attributes:
        options: how cells are measured.

    Example:
        >>> from cellseg_mmdet import Runs, read_image
        >>> image = read_image(np.array([[7, 5, 5, 0]], np.uint8), name="a")
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2, 0]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 4, masks.boxes, scores, labels, masks)
        >>> measured = QuPathMeasurements()(found, Picture(image.key, image=image))
        >>> measured["Area px^2"], measured["gray: Mean"]
        (array([1., 2.]), array([7., 5.]))
    """

    options: MeasureOptions = field(default_factory=MeasureOptions)

    def __call__(self, prediction: ImagePrediction, picture: Picture) -> dict[str, np.ndarray]:
        """Return name -> (N,) numbers for the N instances, NaN for those without a pixel.

        Names are QuPath's where it has the measure, see `names`.

        Raises:
            ImageError: the image cannot be read. DataError: it is of another size.
        """
        with picture.opened() as image:
            table = measure_image(prediction, None, image, options=self.options)
        filled = filled_cells(prediction)
        found: dict[str, np.ndarray] = {}
        for column, (name, values) in zip(
            table.columns, renamed(table, "qupath").items(), strict=True
        ):
            if column not in KEYS:
                found[name] = np.full(len(prediction), np.nan)
                found[name][filled] = values
        return found
