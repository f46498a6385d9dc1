"""Test-time augmentation of networks that give maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseTTAModel

from cellseg_mmdet.models.pixel.detector import PixelDetector
from cellseg_mmdet.models.tta import checked_matrix
from cellseg_mmdet.pixel_codes import Turn


@MODELS.register_module()
class PixelTTAModel(BaseTTAModel):
    """`PixelDetector` on several views of an image: flips, quarter turns and scales of it.

    The maps of all views are brought back to the image, vectors and rays turned with them, and averaged; the cells are
    those of the mean.

    Args:
        **kwargs: ``module``, the detector, and ``data_preprocessor``, as in ``BaseTTAModel``.

    Raises:
        TypeError: the detector is another one.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(self.module, PixelDetector):
            raise TypeError(
                f"PixelTTAModel averages the maps of a PixelDetector; got {type(self.module).__name__}"
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
        in_image = [
            self.module.resized(
                self.module.turned(view.pop("pred_maps"), turn_of(view.metainfo).inverse), size_hw
            )
            for view in views
        ]
        merged = views[0]
        self.module.give_instances(merged, torch.stack(in_image).mean(dim=0), size_hw)
        return merged


def turn_of(meta: Mapping[str, Any]) -> Turn:
    """Return the turn that makes a view of its image, without the scale.

    Args:
        meta: ``homography_matrix`` (3, 3), from pixels (x, y) of the image to those of the view.

    Raises:
        UsageError: the matrix is missing, or does more than flip, turn by quarters and scale.
    """
    matrix = checked_matrix(meta)
    # Of the two numbers in a row one is 0; the other says whether this axis of the view runs backwards.
    is_x_reversed, is_y_reversed = matrix[:2, :2].sum(axis=1) < 0
    return Turn(bool(matrix[0, 0] == 0), bool(is_y_reversed), bool(is_x_reversed))
