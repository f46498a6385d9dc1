"""What a network that classifies pixels is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS
from mmengine.structures import PixelData

from cellseg_mmdet.datasets.border_weights import border_weights
from cellseg_mmdet.datasets.transforms.base import CellTransform
from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.masks import RoIMasks
from cellseg_mmdet.pixel_codes import build_pixel_code, owners


@TRANSFORMS.register_module()
class PackPixelTargets(CellTransform, PackDetInputs):
    """mmdet's ``PackDetInputs``, and maps of all cells: an image of H x W pixels costs as much with many as with one.

    Required keys: img, gt_bboxes, gt_bboxes_labels, gt_ignore_flags, gt_masks (`RoIMasks`).
    Result: inputs and data_samples; the sample has, besides what ``PackDetInputs`` gives it, ``gt_pixels`` with maps
    (1, H, W): ``foreground`` uint8, 1 in cells; ``boundary`` uint8, 1 in the rim of cells; ``weight`` float32, 0 in
    cells to ignore. Of cells that overlap the later one wins.

    Args:
        boundary_px: width of the rim, which begins with the pixels of a cell that have an edge or a corner in common
            with another cell or background.
        class_weights: of background and of foreground, w_c of the U-Net paper.
        border: arguments of `border_weights`, which are added to that; nothing is added without.
        **kwargs: those of ``PackDetInputs``.

    Raises:
        ConfigError: ``boundary_px`` or a weight is not positive.
    """

    def __init__(
        self,
        boundary_px: int = 1,
        class_weights: tuple[float, float] = (1.0, 1.0),
        border: Mapping[str, float] | None = None,
        code: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(boundary_px, *class_weights) <= 0:
            raise ConfigError(
                f"boundary_px={boundary_px} and class_weights={class_weights} must be positive"
            )
        self.boundary_px = boundary_px
        self.class_weights = class_weights
        self.border = border
        self.code = code
        self._code = None if code is None else build_pixel_code(dict(code))

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack one image."""
        masks = self._masks(results)
        ignored = results["gt_ignore_flags"].astype(bool)
        cells = masks[~ignored]
        if self._code is not None:
            return self._transform(results, cells, masks[ignored])
        label_map = cells.to_runs().to_label_map()
        foreground = (label_map > 0).astype(np.uint8)
        weight = np.array(self.class_weights, dtype=np.float32)[foreground]
        if self.border is not None:
            weight += border_weights(cells, **self.border)
        if ignored.any():
            weight[masks[ignored].to_runs().to_label_map() > 0] = 0

        packed = super().transform(results)
        maps = {
            "foreground": foreground,
            "boundary": rims(label_map, self.boundary_px),
            "weight": weight,
        }
        packed["data_samples"].gt_pixels = PixelData(
            **{name: torch.from_numpy(values[None]) for name, values in maps.items()}
        )
        return packed

    def _transform(
        self, results: dict[str, Any], cells: RoIMasks, ignored: RoIMasks
    ) -> dict[str, Any]:
        targets = self._code.encode(cells, ignored)
        owner = owners(cells)
        weights = targets.weights
        if self.class_weights != (1.0, 1.0) or self.border is not None:
            more = np.array(self.class_weights, dtype=np.float32)[(owner > 0).astype(np.uint8)]
            if self.border is not None:
                more += border_weights(cells, **self.border)
            weights = weights * more
        labels = results["gt_bboxes_labels"][~results["gt_ignore_flags"].astype(bool)]
        classes = np.concatenate([[0], labels + 1]).astype(np.uint8)[owner]

        packed = super().transform(results)
        packed["data_samples"].gt_pixels = PixelData(
            maps=torch.from_numpy(targets.maps),
            weights=torch.from_numpy(weights),
            classes=torch.from_numpy(classes[None]),
            metainfo=dict(code=type(self._code).__name__),
        )
        return packed


def rims(label_map: np.ndarray, width_px: int) -> np.ndarray:
    """Return 1 where a pixel of a cell has one of another label at most ``width_px`` away, along both axes; uint8."""
    labels = label_map.astype(np.float32)  # OpenCV compares no int32; exact up to 16 million
    square = np.ones((3, 3), np.uint8)
    is_rim = cv2.dilate(labels, square, iterations=width_px) != labels
    is_rim |= cv2.erode(labels, square, iterations=width_px) != labels
    return (is_rim & (label_map > 0)).astype(np.uint8)
