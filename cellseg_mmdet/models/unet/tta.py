"""Test-time augmentation of networks that give maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseTTAModel
from torch import Tensor

from cellseg_mmdet.models.tta import checked_matrix
from cellseg_mmdet.models.unet.detector import UNetInstance


@MODELS.register_module()
class UNetTTAModel(BaseTTAModel):
    """`UNetInstance` on several views of an image: flips, quarter turns and scales of it.

    The probabilities of all views are brought back to the image and averaged; the cells are those of the mean.

    Args:
        **kwargs: ``module``, the detector, and ``data_preprocessor``, as in ``BaseTTAModel``.

    Raises:
        TypeError: the detector is another one.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(self.module, UNetInstance):
            raise TypeError(
                f"PixelTTAModel averages the maps of a UNetInstance; got {type(self.module).__name__}"
            )
        self.module.keeps_maps = True

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[DetDataSample]]
    ) -> list[DetDataSample]:
        """Merge the views of each image of a batch.

        Args:
            data_samples_list: for each image its views, with ``pred_maps``, and in their metainfo ``ori_shape`` and
                ``homography_matrix``.

        Raises:
            UsageError: a view is no flip, quarter turn or scale, or does not say what it is.
        """
        return [self._merge(views) for views in data_samples_list]

    def _merge(self, views: Sequence[DetDataSample]) -> DetDataSample:
        size_hw = views[0].ori_shape[:2]
        maps = torch.stack(
            [_in_image(view.pop("pred_maps"), view.metainfo, size_hw) for view in views]
        )
        merged = views[0]
        merged.pred_instances = self.module.instances(maps.mean(dim=0), size_hw)
        return merged


def _in_image(maps: Tensor, meta: Mapping[str, Any], size_hw: tuple[int, int]) -> Tensor:
    """Return maps (C, H', W') of a view as (C, H, W) of the image that it is a view of."""
    matrix = checked_matrix(meta)
    if matrix[0, 0] == 0:
        maps = maps.transpose(1, 2)
    # Of the two numbers in a column one is 0; the other says whether this axis of the image runs backwards.
    is_x_reversed, is_y_reversed = np.sign(matrix[:2, :2].sum(axis=0)) < 0
    maps = maps.flip([dim for dim, back in ((1, is_y_reversed), (2, is_x_reversed)) if back])
    return F.interpolate(maps[None], size=tuple(size_hw), mode="bilinear")[0]
