"""Loading images of any kind as what the network sees, and annotations with each mask in its own box."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BaseInstanceMasks
from mmengine import fileio
from mmengine.logging import print_log

from cellseg_mmdet.datasets.transforms.base import CellTransform
from cellseg_mmdet.errors import ConfigError, DataError, ImageError, MaskError
from cellseg_mmdet.images import MAX_PIXELS, Image, PlaneSelection, read_image
from cellseg_mmdet.images.image import RGB
from cellseg_mmdet.images.intensity import as_bgr, build_intensity
from cellseg_mmdet.masks.polygons import is_polygons, segmentations_to_runs
from cellseg_mmdet.masks.roi_masks import RoIMasks

# For mmdet's isinstance checks; `masks` itself knows nothing of mmdet.
BaseInstanceMasks.register(RoIMasks)


@TRANSFORMS.register_module()
class LoadCellImage(CellTransform):
    """Read an image of any kind and convert it to what the network sees, in training, test and inference alike.

    Required keys: img_path, or image (an `Image` that is read already).
    Added keys: img (uint8 (H, W, C), of three channels BGR), img_shape, ori_shape.

    Args:
        intensity: how stored values become 8 bits, ``dict(type=...)`` of `INTENSITIES`; by default
            ``dict(type='AsStored')``.
        selection: planes of stacks, the arguments of `PlaneSelection`.
        num_channels: of the network. Gray is repeated in all of them; other numbers of channels have to agree.
        max_pixels: larger images are refused.
        backend_args: of mmengine's file clients, for images that are not files here.

    Raises:
        ConfigError: the intensity or the selection has faults.
    """

    def __init__(
        self,
        intensity: Mapping[str, Any] | None = None,
        selection: Mapping[str, Any] | None = None,
        num_channels: int = 3,
        max_pixels: int = MAX_PIXELS,
        backend_args: Mapping[str, Any] | None = None,
    ) -> None:
        self.intensity = build_intensity(intensity)
        self.selection = _selection(selection or {})
        self.num_channels = num_channels
        self.max_pixels = max_pixels
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load one image.

        Raises:
            ImageError: it cannot be read, or has other channels than the network.
        """
        image = results.pop("image", None) or self.read(results["img_path"])
        results["img"] = self.convert(image)
        results["img_shape"] = results["ori_shape"] = image.size_hw
        return results

    def read(self, path: str) -> Image:
        """Read an image as it is stored."""
        source: str | bytes = path
        if self.backend_args is not None:
            source = fileio.get(path, self.backend_args)
        return read_image(source, self.selection, name=path, max_pixels=self.max_pixels)

    def convert(self, image: Image) -> np.ndarray:
        """Return what the network sees of an image, uint8 (H, W, num_channels)."""
        mapped = self.intensity.measure(image)
        if mapped.note:
            print_log(f"{image.key} {mapped.note}", logger="current", level=logging.WARNING)
        pixels = mapped.apply(image.pixels)
        channels = pixels.shape[2]
        if channels not in (1, self.num_channels):
            raise ImageError(
                f"{image.key}: has {channels} channels ({', '.join(image.channels)}), the network takes "
                f"{self.num_channels}: select with --channel, or with selection=dict(channel=...) of LoadCellImage"
            )
        if self.num_channels == len(RGB):
            return as_bgr(pixels)
        return np.ascontiguousarray(np.broadcast_to(pixels, (*image.size_hw, self.num_channels)))


@TRANSFORMS.register_module()
class LoadRoIAnnotations(LoadAnnotations):
    """mmdet's ``LoadAnnotations`` with `RoIMasks` in place of N full bitmaps; the same pixels, boxes, labels and flags.

    Takes polygons and COCO RLE, compressed (str or bytes) or not. An instance without a usable polygon is ignored, as
    in mmdet; a damaged RLE is an error, where mmdet ignores the instance or reads something else.

    Required keys: instances (bbox, bbox_label, ignore_flag; mask for ``with_mask``), ori_shape (for ``with_mask``).
    Added keys: gt_bboxes, gt_bboxes_labels, gt_ignore_flags, gt_masks (`RoIMasks`).

    Args:
        **kwargs: those of ``LoadAnnotations``, with its defaults; ``poly2mask`` makes no difference.
    """

    def _load_masks(self, results: dict[str, Any]) -> None:
        height, width = results["ori_shape"]
        where = str(results.get("img_path", "image"))
        instances = results.get("instances", [])
        masks = [_usable(instance.get("mask")) for instance in instances]
        results["gt_ignore_flags"] = np.array(
            [
                bool(instance["ignore_flag"]) or mask == []
                for instance, mask in zip(instances, masks, strict=True)
            ],
            dtype=bool,
        )
        try:
            runs = segmentations_to_runs(masks, height, width)
        except MaskError as error:
            raise DataError(f"{where}: {error}") from error
        results["gt_masks"] = RoIMasks.from_runs(runs)


def _usable(mask: Any) -> Any:
    """Return of polygons those with three points at least, and anything else as it is."""
    if not is_polygons(mask):
        return mask
    return [part for part in mask if len(part) % 2 == 0 and len(part) >= 6]


def _selection(arguments: Mapping[str, Any]) -> PlaneSelection:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for name, value in arguments.items()
    }
    try:
        return PlaneSelection(**values)
    except TypeError as error:
        raise ConfigError(f"selection: {error}") from None
