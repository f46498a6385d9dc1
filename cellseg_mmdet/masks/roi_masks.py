"""`RoIMasks`: the masks of one image, each a small bitmap in its own box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from cellseg_mmdet.masks import roi_sampling
from cellseg_mmdet.masks.dense_view import DenseView
from cellseg_mmdet.masks.roi_bitmaps import RoIBitmaps, to_numpy
from cellseg_mmdet.masks.roi_sampling import Interpolation, box_sizes, normalised
from cellseg_mmdet.masks.roi_targets import align_weights

# Of two masks that share a new pixel evenly neither gets it, whichever way float32 rounds: they stay apart.
_HALF = 0.5 + 1e-5


class RoIMasks(RoIBitmaps):
    """N masks of one image with the methods of mmdet's ``BaseInstanceMasks``, at the cost of the boxes.

    The masks of 790 cells take less than a megabyte here, and a gigabyte as N x height x width at training size. Each
    method gives what mmdet's ``BitmapMasks`` gives, pixel for pixel. mmdet's transforms, heads and tools take it for
    one: ``RoIMasks(masks, height, width)``, which is how they make it, is `from_ndarray`, and ``masks`` is the array
    that they look into.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> masks = RoIMasks.from_runs(Runs.from_label_map(np.array([[0, 1, 1], [0, 1, 2]])))
        >>> len(masks), masks.height, masks.width, masks.boxes.tolist()
        (2, 2, 3, [[1, 0, 3, 2], [2, 1, 3, 2]])
        >>> masks.flip("horizontal").bitmap(0)
        array([[1, 1],
               [0, 1]], dtype=uint8)
    """

    @overload
    def __init__(self, boxes: np.ndarray, bitmaps: np.ndarray, height: int, width: int) -> None: ...

    @overload
    def __init__(
        self, masks: np.ndarray | Sequence[np.ndarray], height: int, width: int, /
    ) -> None: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if len(args) == 3 and not kwargs:
            masks, height, width = args
            stacked = np.asarray(masks).reshape(len(masks), height, width)
            parts = RoIBitmaps.from_ndarray(stacked)
            args = parts.boxes, parts.bitmaps, height, width
        super().__init__(*args, **kwargs)

    # ---------------------------------------------------------------- as an array

    @property
    def masks(self) -> DenseView:
        """What mmdet's code looks into, (N, height, width): see `DenseView`. An array that is assigned is encoded."""
        return DenseView(self)

    @masks.setter
    def masks(self, masks: np.ndarray) -> None:
        if masks.shape[1:] != (self.height, self.width):
            raise ValueError(
                f"masks of shape {masks.shape} for an image of {self.height} x {self.width} pixels"
            )
        self.__dict__.update(vars(RoIMasks.from_ndarray(masks)))

    def erase(self, bbox: np.ndarray) -> None:
        """Take the pixels of the window ``bbox`` (4,) int xyxy, x2 and y2 exclusive, out of all masks, in place."""
        x1, y1, x2, y2 = (int(side) for side in bbox)
        left, top, right, bottom = self.boxes.T
        self.bitmaps = self.bitmaps.copy()  # other masks may share it
        for index in np.flatnonzero((left < x2) & (right > x1) & (top < y2) & (bottom > y1)):
            rows = slice(max(y1 - top[index], 0), y2 - top[index])
            columns = slice(max(x1 - left[index], 0), x2 - left[index])
            self.bitmap(index)[rows, columns] = 0

    # ---------------------------------------------------------------- geometry

    def rescale(self, scale: float | tuple[int, int], interpolation: str = "nearest") -> RoIMasks:
        """Resize with the aspect ratio kept, by a factor or into a (long, short) edge in any order."""
        if isinstance(scale, tuple):
            long_edge, short_edge = max(scale), min(scale)
            factor = min(
                long_edge / max(self.height, self.width), short_edge / min(self.height, self.width)
            )
        else:
            factor = scale
        new_height, new_width = (int(side * factor + 0.5) for side in (self.height, self.width))
        return self.resize((new_height, new_width), interpolation)

    def resize(self, out_shape: tuple[int, int], interpolation: str = "nearest") -> RoIMasks:
        """Resize to (height, width), 'nearest' as mmdet does, or 'bilinear' with a threshold at one half, for outlines
        without steps; masks without a common pixel have none afterwards.

        Raises:
            ValueError: for another interpolation, or a size without pixels.
        """
        _check_choice("interpolation", interpolation, "nearest", "bilinear")
        new_height, new_width = out_shape
        if new_height < 1 or new_width < 1:
            raise ValueError(f"masks cannot be resized to {new_height} x {new_width}")
        if interpolation == "bilinear":
            return self._resize_smoothly(new_height, new_width)
        source_x = roi_sampling.nearest_source(self.width, new_width)
        source_y = roi_sampling.nearest_source(self.height, new_height)
        boxes = np.stack(
            [
                np.searchsorted(source, self.boxes[:, column])
                for column, source in enumerate((source_x, source_y, source_x, source_y))
            ],
            axis=1,
        )
        return self._gather(boxes, source_x, source_y)

    def flip(self, flip_direction: str = "horizontal") -> RoIMasks:
        """Mirror 'horizontal', 'vertical' or 'diagonal', which is both."""
        _check_choice("flip_direction", flip_direction, "horizontal", "vertical", "diagonal")
        boxes = self.boxes.copy()
        source_x: np.ndarray = np.arange(self.width)
        source_y: np.ndarray = np.arange(self.height)
        if flip_direction != "vertical":
            boxes[:, [0, 2]] = self.width - boxes[:, [2, 0]]
            source_x = source_x[::-1]
        if flip_direction != "horizontal":
            boxes[:, [1, 3]] = self.height - boxes[:, [3, 1]]
            source_y = source_y[::-1]
        return self._gather(boxes, source_x, source_y)

    def transpose(self) -> RoIMasks:
        """Exchange rows and columns."""
        bitmaps = roi_sampling.gather_transposed(self.boxes, self.bitmaps)
        return RoIMasks(self.boxes[:, [1, 0, 3, 2]], bitmaps, self.width, self.height)

    def rotate90(self, num_turns: int) -> RoIMasks:
        """Rotate counter-clockwise by multiples of 90 degrees, as ``np.rot90`` does."""
        num_turns %= 4
        if num_turns == 0:
            return self
        if num_turns == 2:
            return self.flip("diagonal")
        return self.transpose().flip("vertical" if num_turns == 1 else "horizontal")

    def pad(self, out_shape: tuple[int, int], pad_val: int = 0) -> RoIMasks:
        """Extend the image to (height, width) on the right and at the bottom.

        Raises:
            ValueError: for a smaller shape, or a value other than 0.
        """
        if pad_val != 0:
            raise ValueError(f"masks are padded with 0, a cell ends with the image; got {pad_val}")
        if out_shape[0] < self.height or out_shape[1] < self.width:
            raise ValueError(f"cannot pad masks of {self.height} x {self.width} to {out_shape}")
        return RoIMasks(self.boxes, self.bitmaps, *out_shape)

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> RoIMasks:
        """Put the image into a larger one, its corner at (top, left)."""
        boxes = self.boxes + np.array([left, top, left, top])
        return RoIMasks(boxes, self.bitmaps, expanded_h, expanded_w)

    def crop(self, bbox: np.ndarray) -> RoIMasks:
        """Cut the window ``bbox`` (4,) xyxy, clipped to the image, out of it; one pixel wide and high at least."""
        limits = [self.width, self.height, self.width, self.height]
        x1, y1, x2, y2 = np.asarray(bbox).clip(0, limits).astype(np.int64)
        width, height = max(x2 - x1, 1), max(y2 - y1, 1)
        window = [x1, y1, x1 + width, y1 + height]
        inside = np.concatenate(
            [np.maximum(self.boxes[:, :2], window[:2]), np.minimum(self.boxes[:, 2:], window[2:])],
            axis=1,
        )
        cut = self._window(inside)
        return RoIMasks(cut.boxes - [x1, y1, x1, y1], cut.bitmaps, height, width)

    def translate(
        self,
        out_shape: tuple[int, int],
        offset: float | tuple[float, float],
        direction: str = "horizontal",
        border_value: int = 0,
        interpolation: Interpolation = "bilinear",
    ) -> RoIMasks:
        """Cut or extend the image to ``out_shape`` (height, width), then move the masks by ``offset`` pixels.

        Args:
            out_shape: (height, width) of the result.
            offset: pixels to the right or down; for 'both' (right, down).
            direction: 'horizontal', 'vertical' or 'both'.
            border_value: must be 0.
            interpolation: 'nearest' or 'bilinear'.
        """
        _check_choice("direction", direction, "horizontal", "vertical", "both")
        both = offset if isinstance(offset, tuple) else (offset, offset)
        right = 0 if direction == "vertical" else both[0]
        down = 0 if direction == "horizontal" else both[1]
        height, width = min(out_shape[0], self.height), min(out_shape[1], self.width)
        fitted = self.crop(np.array([0, 0, width, height])).pad(out_shape)
        matrix = np.array([[1, 0, right], [0, 1, down]], dtype=np.float32)
        return fitted._warp(matrix, border_value, interpolation)

    def shear(
        self,
        out_shape: tuple[int, int],
        magnitude: float,
        direction: str = "horizontal",
        border_value: int = 0,
        interpolation: Interpolation = "bilinear",
    ) -> RoIMasks:
        """Shear by ``magnitude`` 'horizontal' or 'vertical'; ``out_shape`` must be the size of the image."""
        _check_choice("direction", direction, "horizontal", "vertical")
        self._check_shape(out_shape)
        matrix = np.eye(2, 3, dtype=np.float32)
        matrix[(0, 1) if direction == "horizontal" else (1, 0)] = magnitude
        return self._warp(matrix, border_value, interpolation)

    def rotate(
        self,
        out_shape: tuple[int, int],
        angle: float,
        center: tuple[float, float] | None = None,
        scale: float = 1.0,
        border_value: int = 0,
        interpolation: Interpolation = "bilinear",
    ) -> RoIMasks:
        """Rotate clockwise by ``angle`` degrees about ``center`` (x, y), by default the image's centre.

        ``out_shape`` must be the size of the image. The direction is that of mmcv's ``imrotate``.
        """
        self._check_shape(out_shape)
        if not scale:
            raise ValueError("masks cannot be scaled by 0")
        x, y = center or ((self.width - 1) * 0.5, (self.height - 1) * 0.5)
        x, y = float(np.float32(x)), float(np.float32(y))  # OpenCV's Point2f
        # cv2.getRotationMatrix2D(center, -angle, scale)
        radians = -angle * (math.pi / 180)
        cos, sin = scale * math.cos(radians), scale * math.sin(radians)
        matrix = np.array(
            [[cos, sin, (1 - cos) * x - sin * y], [-sin, cos, sin * x + (1 - cos) * y]]
        )
        return self._warp(matrix, border_value, interpolation)

    def remap(self, source_x: np.ndarray, source_y: np.ndarray) -> RoIMasks:
        """Take each pixel from the pixel that the maps name, 0 where that is outside the image.

        The cost grows with the longest way in the maps: this is for the few pixels of an elastic deformation.

        Args:
            source_x: (height, width) int, column that each pixel comes from.
            source_y: (height, width) int, row.
        """
        for shape in (source_x.shape, source_y.shape):
            self._check_shape(shape)
        left, right = _reach(source_x - np.arange(self.width))
        top, bottom = _reach(source_y - np.arange(self.height)[:, None])
        boxes = self.boxes + np.array([left, top, right, bottom])
        boxes = boxes.clip(0, [self.width, self.height, self.width, self.height])
        bitmaps = roi_sampling.gather_map(self.boxes, self.bitmaps, boxes, source_x, source_y)
        return RoIMasks(boxes, bitmaps, self.height, self.width).tightened()

    def crop_and_resize(
        self,
        bboxes: Any,
        out_shape: tuple[int, int],
        inds: Any,
        device: Any = "cpu",
        interpolation: str = "bilinear",
        binarize: bool = True,
    ) -> RoIMasks:
        """Return the training targets of K proposals: the mask of instance ``inds[k]`` averaged in the bins of box k.

        The result is computed on the CPU, where the masks are, and mmdet's ``mask_target`` brings it to the device.

        Args:
            bboxes: (K, 4) xyxy in pixels, array or tensor.
            out_shape: (rows, columns) of bins.
            inds: (K,) instance of each proposal, array or tensor.
            device: of the proposals; for mmdet's sake.
            interpolation: for mmdet's sake.
            binarize: True for 0 and 1 with a threshold at one half, False for the averages.
        """
        num_rows, num_columns = out_shape
        # Where there is no mask, mmdet gives no target, whatever the boxes.
        inds = to_numpy(inds) if len(self) else np.zeros(0, np.int64)
        x1, y1, x2, y2 = to_numpy(bboxes).reshape(-1, 4)[: len(inds)].T
        box = self.boxes[inds]
        size_x, size_y = box_sizes(box)
        rows = align_weights(y1, y2, num_rows, self.height, box[:, 1], size_y)
        columns = align_weights(x1, x2, num_columns, self.width, box[:, 0], size_x)
        targets = np.empty((len(inds), num_columns, num_rows), dtype=np.float32)
        for k, instance in enumerate(inds.tolist()):
            bitmap = self.bitmap(instance).T.astype(np.float32)
            np.matmul(columns[k] @ bitmap, rows[k].T, out=targets[k])
        values = (targets >= 0.5).astype(np.uint8) if binarize else targets
        full = np.tile([0, 0, num_columns, num_rows], (len(inds), 1))
        return RoIMasks(full, values.ravel(), num_rows, num_columns)

    def tightened(self) -> RoIMasks:
        """Return the same masks in their smallest boxes."""
        return self._window(self.tight_boxes)

    # ---------------------------------------------------------------- inside

    def _window(self, boxes: np.ndarray) -> RoIMasks:
        """Return the part of each mask in a box inside its own."""
        return self._gather(boxes, np.arange(self.width), np.arange(self.height))

    def _gather(self, boxes: np.ndarray, source_x: np.ndarray, source_y: np.ndarray) -> RoIMasks:
        boxes = normalised(boxes)
        bitmaps = roi_sampling.gather_axes(self.boxes, self.bitmaps, boxes, source_x, source_y)
        return RoIMasks(boxes, bitmaps, len(source_y), len(source_x))

    def _warp(
        self, matrix: np.ndarray, border_value: int, interpolation: Interpolation
    ) -> RoIMasks:
        if border_value != 0:
            raise ValueError(f"masks have 0 outside the image; got border_value={border_value}")
        _check_choice("interpolation", interpolation, "nearest", "bilinear")
        boxes = roi_sampling.affine_boxes(self.boxes, matrix, self.height, self.width)
        bitmaps = roi_sampling.gather_affine(self.boxes, self.bitmaps, boxes, matrix, interpolation)
        return RoIMasks(boxes, bitmaps, self.height, self.width).tightened()

    def _resize_smoothly(self, new_height: int, new_width: int) -> RoIMasks:
        x_low, x_high, x_part = roi_sampling.linear_source(self.width, new_width)
        y_low, y_high, y_part = roi_sampling.linear_source(self.height, new_height)
        begins = [
            np.searchsorted(high, self.boxes[:, k]) for k, high in enumerate((x_high, y_high))
        ]
        ends = [np.searchsorted(low, self.boxes[:, 2 + k]) for k, low in enumerate((x_low, y_low))]
        boxes = normalised(np.stack([*begins, *ends], axis=1).astype(np.int64))
        parts = [np.zeros(0, dtype=np.uint8)]
        for index, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            left, top = self.boxes[index, :2]
            bitmap = self.bitmap(index).T.astype(np.float32)
            columns = _weights(x_low[x1:x2], x_high[x1:x2], x_part[x1:x2], left, bitmap.shape[0])
            rows = _weights(y_low[y1:y2], y_high[y1:y2], y_part[y1:y2], top, bitmap.shape[1])
            parts.append((columns @ bitmap @ rows.T > _HALF).astype(np.uint8).ravel())
        return RoIMasks(boxes, np.concatenate(parts), new_height, new_width).tightened()

    def _check_shape(self, out_shape: tuple[int, int]) -> None:
        if tuple(out_shape) != (self.height, self.width):
            raise ValueError(
                f"out_shape {tuple(out_shape)} is not that of the masks, {(self.height, self.width)}"
            )


def _weights(
    low: np.ndarray, high: np.ndarray, part: np.ndarray, begin: int, length: int
) -> np.ndarray:
    """Return weights (new pixels, length) of a linear look-up in a bitmap that begins at pixel ``begin``."""
    weights = np.zeros((len(low), length), dtype=np.float32)
    for source, share in ((low - begin, 1 - part), (high - begin, part)):
        inside = np.flatnonzero((source >= 0) & (source < length))
        weights[inside, source[inside]] += share[inside]
    return weights


def _reach(shift: np.ndarray) -> tuple[int, int]:
    """Return how far the begin and the end of a box move when its pixels are fetched from ``shift`` pixels away."""
    return -int(shift.max()), -int(shift.min())


def _check_choice(name: str, value: str, *allowed: str) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}; got {value!r}")
