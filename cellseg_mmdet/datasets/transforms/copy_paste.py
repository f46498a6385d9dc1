"""Copy-paste of cells, within an image and between images."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmcv.transforms.utils import avoid_cache_randomness
from mmdet.registry import TRANSFORMS

from cellseg_mmdet.datasets.transforms.base import CellTransform, set_instances
from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.masks.roi_masks import RoIMasks
from cellseg_mmdet.masks.runs import Runs

_NUM_TRIES = 10  # places tried for a cell before it is given up


class _Cell(NamedTuple):
    image: np.ndarray  # (h, w) or (h, w, channels), the box of the cell
    mask: np.ndarray  # (h, w) uint8, 0 or 1
    label: int

    def turned(self) -> _Cell:
        """Return the cell in one of its eight orientations."""
        turns, mirrored = np.random.randint(4), np.random.randint(2)
        step = -1 if mirrored else 1
        return self._replace(
            image=np.rot90(self.image, turns)[:, ::step],
            mask=np.rot90(self.mask, turns)[:, ::step],
        )


class _Paste(NamedTuple):
    cell: _Cell
    x1: int
    y1: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        height, width = self.cell.mask.shape
        return self.x1, self.y1, self.x1 + width, self.y1 + height

    @property
    def window(self) -> tuple[slice, slice]:
        x1, y1, x2, y2 = self.box
        return slice(y1, y2), slice(x1, x2)


@TRANSFORMS.register_module()
@avoid_cache_randomness
class CopyPasteCells(CellTransform):
    """Paste cells, mirrored and turned by quarters at random, at random places of the image.

    The cells come from the image itself and from images this worker has seen before, of the same ``cell_type`` (after
    Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation", CVPR 2021). They
    lie on top, in the order of pasting: what they cover is taken out of the masks below. Cells that touch the border
    of their image are not copied, nor are ignored ones. Stands before the image is resized, where all images have the
    scale of the microscope.

    Required keys: img, gt_bboxes, gt_bboxes_labels, gt_ignore_flags, gt_masks (`RoIMasks`), cell_type (optional).
    Modified keys: those but cell_type; pasted cells are the last ones.

    Args:
        max_cells: the number of cells to paste is drawn from 0 to this; those without a place are left out.
        num_images: images kept to copy from, of each at most ``max_cells`` cells; 0 to copy within the image alone.
        max_overlap: share of a pasted cell, in 0..1, that may cover other cells; 0 pastes onto background only.
        min_kept_fraction: cells of which a smaller share stays visible are dropped.
        feather_px: standard deviation of the Gaussian that softens the edge of what is pasted into the image, in
            pixels; 0 for a hard edge. The masks are not softened.

    Raises:
        ConfigError: an argument is out of its range.
    """

    def __init__(
        self,
        max_cells: int = 30,
        num_images: int = 8,
        max_overlap: float = 0.0,
        min_kept_fraction: float = 0.5,
        feather_px: float = 0.0,
    ) -> None:
        if max_cells < 1 or num_images < 0 or feather_px < 0:
            raise ConfigError(
                "max_cells must be at least 1, num_images and feather_px at least 0; "
                f"got {max_cells}, {num_images} and {feather_px}"
            )
        if not (0 <= max_overlap <= 1 and 0 <= min_kept_fraction <= 1):
            raise ConfigError(
                "max_overlap and min_kept_fraction are shares in 0..1; "
                f"got {max_overlap} and {min_kept_fraction}"
            )
        self.max_cells = max_cells
        self.num_images = num_images
        self.max_overlap = max_overlap
        self.min_kept_fraction = min_kept_fraction
        self.feather_px = feather_px
        self._seen: deque[tuple[str | None, list[_Cell]]] = deque(maxlen=num_images)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Paste cells into one image."""
        masks = self._masks(results)
        cell_type = results.get("cell_type")
        own = self._cut_out(results, masks)
        cells = own + [cell for kind, seen in self._seen if kind == cell_type for cell in seen]
        self._seen.append((cell_type, own))
        pastes = self._random_pastes(cells, masks)
        if not pastes:
            return results

        results["img"] = self._blend(results["img"], pastes)
        labels = np.array([paste.cell.label for paste in pastes])
        results["gt_bboxes_labels"] = np.concatenate([results["gt_bboxes_labels"], labels])
        results["gt_ignore_flags"] = np.concatenate(
            [results["gt_ignore_flags"], np.zeros(len(pastes), bool)]
        )
        pasted = RoIMasks(
            np.array([paste.box for paste in pastes]),
            np.concatenate([paste.cell.mask.T.ravel() for paste in pastes]),
            masks.height,
            masks.width,
        )
        stacked = RoIMasks.cat([masks, pasted])
        visible = _visible(stacked, len(masks))
        set_instances(results, visible, visible.areas >= self.min_kept_fraction * stacked.areas)
        return results

    def _cut_out(self, results: dict[str, Any], masks: RoIMasks) -> list[_Cell]:
        """Return up to ``max_cells`` random cells of the image."""
        x1, y1, x2, y2 = masks.boxes.T
        whole = (x1 > 0) & (y1 > 0) & (x2 < masks.width) & (y2 < masks.height)
        usable = np.flatnonzero(whole & ~results["gt_ignore_flags"])
        chosen = np.random.permutation(usable)[: self.max_cells]
        cells = []
        for index, (x1, y1, x2, y2) in zip(chosen, masks.boxes[chosen].tolist(), strict=True):
            # Copies: views would keep the whole image in memory.
            image, mask = results["img"][y1:y2, x1:x2].copy(), masks.bitmap(index).copy()
            cells.append(_Cell(image, mask, int(results["gt_bboxes_labels"][index])))
        return cells

    def _random_pastes(self, cells: list[_Cell], masks: RoIMasks) -> list[_Paste]:
        """Draw cells and their places; a place is fit when it covers few enough pixels of other cells."""
        num_cells = np.random.randint(self.max_cells + 1) if cells else 0
        occupied = masks.to_runs().to_label_map() > 0
        pastes = []
        for _ in range(num_cells):
            cell = cells[np.random.randint(len(cells))].turned()
            height, width = cell.mask.shape
            if height > masks.height or width > masks.width:
                continue
            allowed = self.max_overlap * cell.mask.sum()
            for _ in range(_NUM_TRIES):
                paste = _Paste(
                    cell,
                    np.random.randint(masks.width - width + 1),
                    np.random.randint(masks.height - height + 1),
                )
                if (occupied[paste.window] & cell.mask).sum() <= allowed:
                    occupied[paste.window] |= cell.mask.astype(bool)
                    pastes.append(paste)
                    break
        return pastes

    def _blend(self, image: np.ndarray, pastes: list[_Paste]) -> np.ndarray:
        image = image.copy()
        for paste in pastes:
            alpha = paste.cell.mask.astype(np.float32)
            if self.feather_px:
                # Inwards only: outside its mask a cell changes nothing.
                feather: np.ndarray = cv2.GaussianBlur(
                    alpha, (0, 0), self.feather_px, borderType=cv2.BORDER_CONSTANT
                )
                alpha *= feather
            alpha = alpha.reshape(alpha.shape + (1,) * (image.ndim - 2))
            below = image[paste.window].astype(np.float32)
            mixed = below + alpha * (paste.cell.image - below)
            image[paste.window] = np.rint(mixed).astype(image.dtype)
        return image


def _visible(masks: RoIMasks, num_below: int) -> RoIMasks:
    """Return the masks without what instances from ``num_below`` on cover of those before them."""
    runs = masks.to_runs()
    top = runs[num_below:].to_label_map()
    pixels, owner = runs.pixels()
    over = top.ravel(order="F")[pixels]
    seen = (over == 0) | (over == owner + 1 - num_below)
    visible = Runs.from_pixels(pixels[seen], owner[seen], len(runs), runs.height, runs.width)
    return RoIMasks.from_runs(visible)
