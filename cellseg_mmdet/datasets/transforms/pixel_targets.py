"""What a network that gives maps is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS
from mmengine.structures import PixelData

from cellseg_mmdet.datasets.border_weights import border_weights
from cellseg_mmdet.datasets.transforms.base import CellTransform
from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.pixel_codes import build_pixel_code, owners


@TRANSFORMS.register_module()
class PackPixelTargets(CellTransform, PackDetInputs):
    """mmdet's ``PackDetInputs``, and the cells as maps: an image of H x W pixels costs as much with many as with one.

    Required keys: img, gt_bboxes, gt_bboxes_labels, gt_ignore_flags, gt_masks (`RoIMasks`).
    Result: inputs and data_samples; the sample has, besides what ``PackDetInputs`` gives it, ``gt_pixels`` with
    ``maps`` (C, H, W) float32 and ``weights`` (G, H, W) float32, which the code encodes, 0 in cells to ignore;
    ``classes`` (1, H, W) uint8, 0 where no cell is and the cell's label + 1 elsewhere; and the name of the code.

    Args:
        code: config of the pixel code, the same as the model's.
        class_weights: of background and of cells, w_c of the U-Net paper: factors of the code's weights.
        border: arguments of `border_weights`, which are added to those; nothing is added without.
        **kwargs: those of ``PackDetInputs``.

    Raises:
        ConfigError: a weight is not positive, or the code has faults.
    """

    def __init__(
        self,
        code: Mapping[str, Any],
        class_weights: tuple[float, float] = (1.0, 1.0),
        border: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(class_weights) <= 0:
            raise ConfigError(f"class_weights={class_weights} must be positive")
        self.code = code
        self.class_weights = class_weights
        self.border = border
        self._code = build_pixel_code(dict(code))

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack one image."""
        masks = self._masks(results)
        ignored = results["gt_ignore_flags"].astype(bool)
        cells = masks[~ignored]
        targets = self._code.encode(cells, masks[ignored])
        owner = owners(cells)
        weights = targets.weights
        if self.border is not None or tuple(self.class_weights) != (1.0, 1.0):
            factors = np.array(self.class_weights, dtype=np.float32)[(owner > 0).astype(np.uint8)]
            if self.border is not None:
                factors += border_weights(cells, **self.border)
            weights = weights * factors
        classes = np.concatenate([[0], results["gt_bboxes_labels"][~ignored] + 1])

        packed = super().transform(results)
        packed["data_samples"].gt_pixels = PixelData(
            maps=torch.from_numpy(targets.maps),
            weights=torch.from_numpy(weights),
            classes=torch.from_numpy(classes.astype(np.uint8)[owner][None]),
            metainfo=dict(code=type(self._code).__name__),
        )
        return packed
