"""A random crop at a random scale, cut before it is resized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import mmcv
import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmdet.registry import TRANSFORMS

from cellseg_mmdet.datasets.transforms.base import (
    CellTransform,
    checked_range,
    record_homography,
    set_instances,
)
from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.masks import RoIMasks


class _Window(NamedTuple):
    x1: int
    y1: int
    x2: int
    y2: int
    out_height: int
    out_width: int


@TRANSFORMS.register_module()
class RandomScaleCrop(CellTransform):
    """mmdet's ``RandomResize`` or ``RandomChoiceResize`` followed by ``RandomCrop``, at the cost of the crop alone.

    The scale is drawn, then the window in the image as it would be at that scale, as those two draw them; the window is
    rounded to whole source pixels, cut out, and only then resized. Boxes are tight.

    Required keys: img, gt_bboxes, gt_bboxes_labels, gt_ignore_flags, gt_masks (`RoIMasks`).
    Modified keys: those, img_shape.
    Added keys: scale_factor, homography_matrix.

    Args:
        crop_size_hw: (height, width) of the crop in pixels of the result; of an image that is smaller at its scale, the
            whole side is taken.
        scale_range: (lowest, highest) factor, drawn uniformly. Give either this or ``scales``.
        scales: (long, short) sides to choose from, into which the whole image would be fitted with its ratio kept.
        diameter_px: the factors of ``scale_range`` are relative to the one at which the median diameter of the image's
            cells, that of a circle of the same area, would be this; of an image without cells, relative to 1.
        min_area_px: smallest part of a cell that counts as one, in pixels of the source.
        num_tries: scales and windows drawn in search of one with a cell; the last is taken as it is.

    Raises:
        ConfigError: an argument is out of its range.
    """

    def __init__(
        self,
        crop_size_hw: tuple[int, int],
        scale_range: tuple[float, float] | None = None,
        scales: Sequence[tuple[int, int]] | None = None,
        min_area_px: int = 16,
        num_tries: int = 10,
        diameter_px: float | None = None,
    ) -> None:
        if (scale_range is None) == (not scales):
            raise ConfigError(
                f"give either scale_range or scales; got scale_range={scale_range}, scales={scales}"
            )
        if min(*crop_size_hw, min_area_px, num_tries) < 1:
            raise ConfigError(
                f"crop_size_hw={crop_size_hw}, min_area_px={min_area_px} and num_tries={num_tries} must be positive"
            )
        if scale_range is not None:
            scale_range = checked_range("scale_range", scale_range, least=np.nextafter(0, 1))
        if diameter_px is not None and (diameter_px <= 0 or scale_range is None):
            raise ConfigError(
                f"diameter_px={diameter_px} must be positive, and goes with scale_range"
            )
        if scales and min(min(scale) for scale in scales) < 1:
            raise ConfigError(f"scales are (long, short) sides in pixels; got {scales}")
        self.crop_size_hw = crop_size_hw
        self.scale_range = scale_range
        self.scales = [(long, short) for long, short in scales or ()]
        self.min_area_px = min_area_px
        self.num_tries = num_tries
        self.diameter_px = diameter_px

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop and resize one image."""
        masks = self._masks(results)
        common = self._common_factor(masks)
        for _ in range(self.num_tries):
            window = self._random_window(masks.height, masks.width, common)
            cut = masks.crop(np.array(window[:4]))
            kept = cut.areas >= self.min_area_px
            if kept.any():
                break

        x1, y1, x2, y2, height, width = window
        results["img"] = mmcv.imresize(results["img"][y1:y2, x1:x2], (width, height))
        results["img_shape"] = (height, width)
        scale_x, scale_y = width / (x2 - x1), height / (y2 - y1)
        results["scale_factor"] = (scale_x, scale_y)
        record_homography(
            results, np.array([[scale_x, 0, -x1 * scale_x], [0, scale_y, -y1 * scale_y]])
        )
        set_instances(results, cut.resize((height, width)), kept)
        return results

    def _common_factor(self, masks: RoIMasks) -> float:
        """Return the factor at which the cells have the common diameter."""
        areas = masks.areas[masks.areas >= self.min_area_px]
        if self.diameter_px is None or not len(areas):
            return 1.0
        return self.diameter_px / float(np.sqrt(np.median(areas) * 4 / np.pi))

    @cache_randomness
    def _random_window(self, height: int, width: int, common: float = 1.0) -> _Window:
        if self.scale_range:
            factor = common * np.random.uniform(*self.scale_range)
            scale = max(1, int(width * factor)), max(1, int(height * factor))
        else:
            scale = self.scales[np.random.randint(len(self.scales))]
        new_width, new_height = mmcv.rescale_size((width, height), scale)
        y1, y2, out_height = _random_interval(height, new_height, self.crop_size_hw[0])
        x1, x2, out_width = _random_interval(width, new_width, self.crop_size_hw[1])
        return _Window(x1, y1, x2, y2, out_height, out_width)


def _random_interval(length: int, new_length: int, wanted: int) -> tuple[int, int, int]:
    """Return begin and end in pixels of the source, and the pixels that they become."""
    size = min(new_length, wanted)
    offset = np.random.randint(0, new_length - size + 1)
    ratio = length / new_length
    source_size = max(round(size * ratio), 1)
    begin = min(round(offset * ratio), length - source_size)
    return begin, begin + source_size, size
