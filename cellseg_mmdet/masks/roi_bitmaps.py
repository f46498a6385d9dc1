"""What `RoIMasks` hold: small bitmaps in their own boxes, how they are stored, read and measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cellseg_mmdet.masks.ragged import ragged_arange, segment_ids, segment_reduce
from cellseg_mmdet.masks.roi_sampling import addresses, bitmap_offsets, columns_of, normalised
from cellseg_mmdet.masks.runs import Runs

if TYPE_CHECKING:
    from typing import Self


class RoIBitmaps:
    """N masks of one image, at the cost of their boxes: the data of `RoIMasks`, without its geometry.

    Args:
        boxes: (N, 4) int xyxy in pixels, x2 and y2 exclusive, inside the image; an instance has no pixel outside its
            box, which need not be tight.
        bitmaps: flat buffer of all bitmaps one after the other, each stored column by column as in COCO RLE: pixel
            (x, y) of instance ``i`` is ``bitmaps[offsets[i] + (x - x1) * (y2 - y1) + y - y1]``. uint8, 0 or 1; soft
            targets only are float32.
        height: image height in pixels.
        width: image width in pixels.

    Raises:
        ValueError: a box reaches out of the image, or the buffer does not fit the boxes.
    """

    def __init__(self, boxes: np.ndarray, bitmaps: np.ndarray, height: int, width: int) -> None:
        self.boxes = normalised(np.asarray(boxes, dtype=np.int64).reshape(-1, 4))
        self.bitmaps = bitmaps
        self.height, self.width = int(height), int(width)
        self.offsets = bitmap_offsets(self.boxes)
        if len(bitmaps) != self.offsets[-1]:
            raise ValueError(f"{len(bitmaps)} mask pixels for boxes of {self.offsets[-1]}")
        limits = [self.width, self.height, self.width, self.height]
        outside = ((self.boxes < 0) | (self.boxes > limits)).any(axis=1)
        if outside.any():
            index = int(np.argmax(outside))
            raise ValueError(
                f"box {self.boxes[index].tolist()} of instance {index} reaches out of "
                f"the image of {self.height} x {self.width} pixels"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} instances, height={self.height}, width={self.width})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RoIBitmaps):
            return NotImplemented
        return self.to_runs() == other.to_runs()

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, index: Any) -> Self:
        """Select instances by int (the result holds one), slice, integer or boolean array or tensor."""
        chosen = np.atleast_1d(np.arange(len(self))[to_numpy(index)])
        bounds = zip(self.offsets[chosen].tolist(), self.offsets[chosen + 1].tolist(), strict=True)
        pieces = [self.bitmaps[begin:end] for begin, end in bounds]
        bitmaps = np.concatenate(pieces) if pieces else self.bitmaps[:0]
        return type(self)(self.boxes[chosen], bitmaps, self.height, self.width)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield each mask as (height, width), one at a time."""
        for index in range(len(self)):
            x1, y1, x2, y2 = self.boxes[index]
            mask = np.zeros((self.height, self.width), self.bitmaps.dtype)
            mask[y1:y2, x1:x2] = self.bitmap(index)
            yield mask

    def __getstate__(self) -> dict[str, Any]:
        # An eighth of the bytes between the processes of a data loader.
        state = self.__dict__.copy()
        if self.bitmaps.dtype == np.uint8:
            state["bitmaps"] = None
            state["packed"] = np.packbits(self.bitmaps)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        packed = state.pop("packed", None)
        self.__dict__.update(state)
        if packed is not None:
            self.bitmaps = np.unpackbits(packed, count=int(self.offsets[-1]))

    def bitmap(self, index: int) -> np.ndarray:
        """Return the bitmap (y2 - y1, x2 - x1) of one instance, a view."""
        x1, y1, x2, y2 = self.boxes[index]
        return (
            self.bitmaps[self.offsets[index] : self.offsets[index + 1]].reshape(x2 - x1, y2 - y1).T
        )

    # ---------------------------------------------------------------- codecs

    @classmethod
    def from_runs(cls, runs: Runs) -> Self:
        """Decode runs, in tight boxes."""
        boxes = runs.boxes
        owner = segment_ids(runs.offsets)
        origin, stride = addresses(boxes)
        x, y = np.divmod(runs.starts, max(runs.height, 1))
        # A run that goes on at the top of the next column makes its box as high as the image: it is one run there too.
        begins = origin[owner] + x * stride[owner] + y
        bitmaps = np.zeros(bitmap_offsets(boxes)[-1], dtype=np.uint8)
        bitmaps[ragged_arange(begins, runs.lengths)] = 1
        return cls(boxes, bitmaps, runs.height, runs.width)

    def to_runs(self) -> Runs:
        """Encode all masks as runs."""
        bitmaps = (
            self.bitmaps.view(np.bool_) if self.bitmaps.dtype == np.uint8 else self.bitmaps > 0
        )
        origin, stride = addresses(self.boxes)
        column_owner, column_x = columns_of(self.boxes)
        column_begins = origin[column_owner] + column_x * stride[column_owner]
        begins, ends = _run_bounds(bitmaps, column_begins + self.boxes[column_owner, 1])
        owner = np.searchsorted(self.offsets, begins, side="right") - 1
        x1, y1 = self.boxes[owner, 0], self.boxes[owner, 1]
        x, y = np.divmod(begins - self.offsets[owner], self.boxes[owner, 3] - y1)
        return Runs.from_sorted(
            (x1 + x) * self.height + y1 + y,
            ends - begins,
            np.searchsorted(begins, self.offsets),
            self.height,
            self.width,
        )

    @classmethod
    def from_rle(
        cls, rles: Sequence[Mapping[str, Any]], height: int | None = None, width: int | None = None
    ) -> Self:
        """Decode COCO RLEs, see `Runs.from_coco`."""
        return cls.from_runs(Runs.from_coco(rles, height, width))

    def to_rle(self, *, text: bool = False) -> list[dict[str, Any]]:
        """Encode as compressed COCO RLEs, see `Runs.to_coco`."""
        return self.to_runs().to_coco(text=text)

    @classmethod
    def from_ndarray(cls, masks: np.ndarray) -> Self:
        """Take masks from (N, height, width); nonzero is foreground."""
        num_instances, height, width = masks.shape
        instance, x, y = np.nonzero(np.asarray(masks).transpose(0, 2, 1))
        return cls.from_runs(
            Runs.from_pixels(x * height + y, instance, num_instances, height, width)
        )

    def to_ndarray(self) -> np.ndarray:
        """Return (N, height, width), for who needs that: it is what this class exists to avoid."""
        if (self.boxes == [0, 0, self.width, self.height]).all():
            return self.bitmaps.reshape(-1, self.width, self.height).transpose(0, 2, 1)
        masks = np.zeros((len(self), self.height, self.width), dtype=self.bitmaps.dtype)
        for index, (x1, y1, x2, y2) in enumerate(self.boxes.tolist()):
            masks[index, y1:y2, x1:x2] = self.bitmap(index)
        return masks

    def astype(self, dtype: Any) -> np.ndarray:
        """Return (N, height, width) of ``dtype``; mmdet's visualizer asks for it."""
        return self.to_ndarray().astype(dtype)

    def to_tensor(self, dtype: Any, device: Any) -> Any:
        """Return a tensor (N, height, width), as `to_ndarray` does."""
        import torch

        return torch.as_tensor(self.to_ndarray(), dtype=dtype, device=device)

    # ---------------------------------------------------------------- measures

    @property
    def areas(self) -> np.ndarray:
        """Pixels of each instance, (N,) int64."""
        return segment_reduce(np.add, self.bitmaps, self.offsets, dtype=np.int64)

    @property
    def tight_boxes(self) -> np.ndarray:
        """Smallest boxes (N, 4) int64 xyxy around the pixels, x2 and y2 exclusive; zeros where there is none."""
        return self.to_runs().boxes

    def get_bboxes(self, dst_type: Any = "hbox") -> Any:
        """Return the tight boxes as boxes of mmdet, of the type or type name given."""
        from mmdet.structures.bbox import HorizontalBoxes, get_box_type

        boxes = HorizontalBoxes(self.tight_boxes.astype(np.float32))
        return boxes.convert_to(get_box_type(dst_type)[0])

    # ---------------------------------------------------------------- several

    @classmethod
    def cat(cls, masks: Sequence[Self]) -> Self:
        """Put the instances of several sets of masks of one image size behind each other.

        Raises:
            ValueError: there is none, or sizes differ.
        """
        sizes = {(part.height, part.width) for part in masks}
        if len(sizes) != 1:
            raise ValueError(f"can only join masks of one image size; got {sorted(sizes)}")
        boxes, bitmaps = (
            np.concatenate([getattr(part, name) for part in masks]) for name in ("boxes", "bitmaps")
        )
        return cls(boxes, bitmaps, *sizes.pop())


def _run_bounds(pixels: np.ndarray, column_begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return begin and end (exclusive) of every run of True in a flat bool buffer; no run crosses a column's begin."""
    previous = np.zeros_like(pixels)
    previous[1:] = pixels[:-1]
    previous[column_begins] = False
    following = np.zeros_like(pixels)
    following[:-1] = pixels[1:]
    following[column_begins - 1] = False  # -1, the last pixel, is followed by nothing
    return np.flatnonzero(pixels & ~previous), np.flatnonzero(pixels & ~following) + 1


def to_numpy(value: Any) -> Any:
    """Return a tensor as an array, and anything else as it is."""
    # By attribute, not by type: naming torch.Tensor would import torch.
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value
