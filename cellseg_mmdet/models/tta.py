"""Test-time augmentation that merges masks before they are thresholded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.fusion import Detections, FusionOptions, fuse
from cellseg_mmdet.models.mask_heads import PasteInRoI, set_masks


@MODELS.register_module()
class CellTTAModel(BaseTTAModel):
    """A two-stage detector that looks at several views of an image: flips, quarter turns and scales of it.

    What is found in each view is brought back to the image, boxes of one class are matched across views
    (`weighted_fusion`), and each cell gets the mean of its boxes and, in the coordinates of that box, of its mask
    probabilities, weighted by score. Only this mean is thresholded and pasted. The score is the mean over all views,
    where one without the cell counts as 0: found in one view of four, a cell keeps a quarter of its score.

    The number of instances and the threshold of masks are those of the detector's ``test_cfg``.

    Args:
        iou_thr: IoU that the boxes of two views must exceed to be of one cell, in [0, 1).
        **kwargs: ``module``, the detector, and ``data_preprocessor``, as in ``BaseTTAModel``.

    Raises:
        ValueError: ``iou_thr`` is out of its range.
        UsageError: the detector's mask head is not one of ours.
    """

    def __init__(self, iou_thr: float = 0.55, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options = FusionOptions(method="wbf", iou_thr=iou_thr)
        heads = [part for part in self.module.modules() if isinstance(part, PasteInRoI)]
        if not heads:
            raise UsageError(
                "CellTTAModel merges the probabilities of masks, which only the mask heads RoIFCNMaskHead and "
                f"RoIHTCMaskHead hand on; the {type(self.module).__name__} has none of them"
            )
        for head in heads:
            head.pastes = False
        self.keep_soft = heads[-1].soft_masks  # the last stage of a cascade predicts

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[DetDataSample]]
    ) -> list[DetDataSample]:
        """Merge the views of each image of a batch.

        Args:
            data_samples_list: for each image what was found in each view of it, its metainfo with ``ori_shape``,
                ``scale_factor`` and ``homography_matrix``.

        Raises:
            UsageError: a view is no flip, quarter turn or scale, or does not say what it is.
        """
        return [self._merge(views) for views in data_samples_list]

    def _merge(self, views: Sequence[DetDataSample]) -> DetDataSample:
        found = [in_image(view.pred_instances, view.metainfo) for view in views]
        fused = fuse(found, [1.0] * len(found), self.options)
        assert fused.soft_masks is not None  # every view has them
        test_cfg = self.module.test_cfg.rcnn
        device = views[0].pred_instances.bboxes.device
        boxes, scores, labels, probabilities = (
            torch.from_numpy(values[: test_cfg.max_per_img]).to(device)  # by falling score
            for values in (fused.boxes, fused.scores, fused.labels, fused.soft_masks)
        )
        merged = views[0]
        merged.pred_instances = InstanceData(bboxes=boxes, scores=scores, labels=labels)
        set_masks(
            merged.pred_instances,
            probabilities,
            merged.ori_shape[:2],
            test_cfg.mask_thr_binary,
            self.keep_soft,
        )
        return merged


def in_image(instances: InstanceData, meta: Mapping[str, Any]) -> Detections:
    """Bring what was found in a view back to the image that it is a view of.

    Args:
        instances: ``bboxes`` (N, 4) xyxy in pixels of the view divided by ``scale_factor``, as mmdet's detectors give
            them, ``scores`` (N,), ``labels`` (N,) and, unless N is 0, ``soft_masks`` (N, m, m).
        meta: ``scale_factor`` (of the width, of the height), and ``homography_matrix`` (3, 3), from pixels of the image
            to those of the view, which mmdet's and our transforms note.

    Raises:
        UsageError: the matrix is missing, or does more than flip, turn by quarters and scale.
    """
    matrix = checked_matrix(meta)
    boxes, soft_masks = instances.bboxes.double().cpu().numpy(), np.zeros((0, 1, 1))
    if "soft_masks" in instances:  # an image without boxes does not reach the mask head
        soft_masks = instances.soft_masks.float().cpu().numpy()

    # In single precision, as they were divided.
    corners = boxes.reshape(-1, 2, 2) * np.float32(meta["scale_factor"])
    corners = (corners - matrix[:2, 2]) @ np.linalg.inv(matrix[:2, :2]).T
    boxes = np.hstack([corners.min(axis=1), corners.max(axis=1)])

    if matrix[0, 0] == 0:
        soft_masks = soft_masks.transpose(0, 2, 1)
    # Of the two numbers in a column one is 0; the other says whether this axis of the image runs backwards.
    step_x, step_y = np.sign(matrix[:2, :2].sum(axis=0)).astype(int)
    return Detections(
        boxes=boxes,
        scores=instances.scores.double().cpu().numpy(),
        labels=instances.labels.cpu().numpy(),
        soft_masks=soft_masks[:, ::step_y, ::step_x],
    )


def checked_matrix(meta: Mapping[str, Any]) -> np.ndarray:
    """Return the view's matrix (3, 3) float64: image axes to view axes, in either order and direction."""
    if "homography_matrix" not in meta:
        raise UsageError(
            f"view of {meta.get('img_path')}: its metainfo has no 'homography_matrix'; "
            "add it to the meta_keys of PackDetInputs in tta_pipeline"
        )
    matrix = np.asarray(meta["homography_matrix"], dtype=np.float64)
    linear = matrix[:2, :2] != 0
    one_to_one = (linear.sum(axis=0) == 1).all() and (linear.sum(axis=1) == 1).all()
    if not one_to_one or matrix[2].tolist() != [0, 0, 1]:
        raise UsageError(
            f"view of {meta.get('img_path')}: homography_matrix {matrix.tolist()} is more than a flip, quarter turns "
            "and a scale; allowed in tta_pipeline are Resize, RandomFlip and RandomRotate90"
        )
    return matrix
