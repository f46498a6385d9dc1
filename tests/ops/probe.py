"""A data set whose items are made by an operator; a worker of a data loader has to find it."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

import cellseg_mmdet  # noqa: F401  a worker that is spawned has the operators by this import


class Boxes(Dataset):
    """Two items, each the number of boxes that NMS keeps."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        from mmcv.ops import nms

        boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 9], [20, 20, 29, 29]])
        return len(nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)[1])
