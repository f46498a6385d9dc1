"""Loading images of any kind as what the network sees, and annotations with each mask in its own box."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks
from mmengine import fileio
from mmengine.logging import print_log

from cellseg_mmdet.datasets.transforms.base import CellTransform
from cellseg_mmdet.errors import ConfigError, DataError, ImageError, MaskError
from cellseg_mmdet.images import MAX_PIXELS, Image, ImageSource, PlaneSelection, read_image
from cellseg_mmdet.images.image import RGB
from cellseg_mmdet.images.intensity import IntensityMap, as_bgr, build_intensity
from cellseg_mmdet.masks.polygons import is_polygons, segmentations_to_runs
from cellseg_mmdet.masks.roi_masks import RoIMasks
from cellseg_mmdet.masks.runs import Runs

# For mmdet's isinstance checks; `masks` itself knows nothing of mmdet.
BitmapMasks.register(RoIMasks)


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
        cache_mb: converted images are kept in memory, in each worker of the data loader, until they fill so many
            megabytes; the others are read each time. By default none is kept.

    Raises:
        ConfigError: the intensity, the selection or ``cache_mb`` has faults.
    """

    def __init__(
        self,
        intensity: Mapping[str, Any] | None = None,
        selection: Mapping[str, Any] | None = None,
        num_channels: int = 3,
        max_pixels: int = MAX_PIXELS,
        backend_args: Mapping[str, Any] | None = None,
        cache_mb: float = 0,
    ) -> None:
        if not cache_mb >= 0:
            raise ConfigError(f"cache_mb must be at least 0; got {cache_mb}")
        self.intensity = build_intensity(intensity)
        self.selection = _selection(selection or {})
        self.num_channels = num_channels
        self.max_pixels = max_pixels
        self.backend_args = backend_args
        self._free_bytes = int(cache_mb * 1e6)
        self._kept: dict[str, np.ndarray] = {}

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load one image.

        Raises:
            ImageError: it cannot be read, or has other channels than the network.
        """
        image = results.pop("image", None)
        results["img"] = self.convert(image) if image else self._of_file(results["img_path"])
        results["img_shape"] = results["ori_shape"] = results["img"].shape[:2]
        return results

    def _of_file(self, path: str) -> np.ndarray:
        """Return what the network sees of a file, from memory if it is kept there."""
        if path in self._kept:
            return self._kept[path].copy()  # transforms may write into what they get
        pixels = self.convert(self.read(path))
        # Which are kept makes no difference, as images come in random order.
        if pixels.nbytes <= self._free_bytes:
            self._free_bytes -= pixels.nbytes
            self._kept[path] = pixels.copy()
        return pixels

    def read(self, path: str) -> Image:
        """Read an image as it is stored."""
        source: str | bytes = path
        if self.backend_args is not None:
            source = fileio.get(path, self.backend_args)
        return read_image(source, self.selection, name=path, max_pixels=self.max_pixels)

    def convert(self, image: Image) -> np.ndarray:
        """Return what the network sees of an image, uint8 (H, W, num_channels)."""
        return self.converted(image.pixels, self.measured(image), image)

    def measured(self, image: Any) -> IntensityMap:
        """Look at a whole picture, and return how its values become what the network sees.

        Args:
            image: an `Image`, an `ImageSource`, or what has their key, channels, dtype and windows.
        """
        mapped = self.intensity.measure(image)
        if mapped.note:
            print_log(f"{image.key} {mapped.note}", logger="current", level=logging.WARNING)
        return mapped

    def converted(
        self, pixels: np.ndarray, mapped: IntensityMap, image: Image | ImageSource
    ) -> np.ndarray:
        """Return what the network sees of a picture or a window of it, uint8 (h, w, num_channels).

        Args:
            pixels: stored values (h, w, C).
            mapped: `measured` of the whole picture.
            image: that the pixels are of, for errors.

        Raises:
            ImageError: it has other channels than the network.
        """
        pixels = mapped.apply(pixels)
        channels = pixels.shape[2]
        if channels not in (1, self.num_channels):
            raise ImageError(
                f"{image.key}: has {channels} channels ({', '.join(image.channels)}), the network takes "
                f"{self.num_channels}: select with --channel, or with selection=dict(channel=...) of LoadCellImage"
            )
        if self.num_channels == len(RGB):
            return as_bgr(pixels)
        return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], self.num_channels)))


@TRANSFORMS.register_module()
class LoadRoIAnnotations(LoadAnnotations):
    """mmdet's ``LoadAnnotations`` with `RoIMasks` in place of N full bitmaps; the same pixels, boxes, labels and flags.

    Takes polygons and COCO RLE, compressed (str or bytes) or not. An instance without a usable polygon is ignored, as
    in mmdet; a damaged RLE is an error, where mmdet ignores the instance or reads something else.

    Required keys: instances (bbox, bbox_label, ignore_flag; mask for ``with_mask``), ori_shape (for ``with_mask``).
    Added keys: gt_bboxes, gt_bboxes_labels, gt_ignore_flags, gt_masks (`RoIMasks`), gt_seg_map (with ``with_seg``).

    Args:
        background_label: for ``with_seg``, where the data set has no ``seg_map_path``: the class, 0..254, of pixels in
            no cell. gt_seg_map (H, W) uint8 is then drawn from the masks: the label of the later one where cells
            overlap, ``ignore_index`` in ignored ones. With the number of classes here, which is mmdet's order of things
            and stuff, a semantic head has one class more than the detector.
        **kwargs: those of ``LoadAnnotations``, with its defaults; ``poly2mask`` makes no difference.

    Raises:
        ConfigError: ``background_label`` is out of its range.
    """

    def __init__(self, *, background_label: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if background_label is not None and not 0 <= background_label <= 254:
            raise ConfigError(
                f"background_label must be a class within 0 to 254; got {background_label}"
            )
        self.background_label = background_label

    def _load_masks(self, results: dict[str, Any]) -> None:
        runs, ignored = _runs_of(results)
        results["gt_ignore_flags"] = ignored
        results["gt_masks"] = RoIMasks.from_runs(runs)

    def _load_seg_map(self, results: dict[str, Any]) -> None:
        """Read the map of classes, or draw it from the masks where there is none.

        Raises:
            ConfigError: there is no map, and no label to draw the background with.
        """
        if results.get("seg_map_path") is not None:
            super()._load_seg_map(results)
            return
        if self.background_label is None:
            raise ConfigError(
                f"with_seg=True, but {results.get('img_path', 'image')} has no seg_map_path: to draw the map of "
                "classes from the masks give LoadRoIAnnotations background_label, such as the number of classes"
            )
        runs, ignored = _runs_of(results)
        labels = np.array([one["bbox_label"] for one in results.get("instances", [])], dtype=int)
        order = np.argsort(ignored, kind="stable")  # what is ignored in any of two cells is ignored
        classes = np.where(ignored, self.ignore_index, labels)[order]
        values = np.array([self.background_label, *classes], dtype=np.uint8)
        results["gt_seg_map"] = values[runs[order].to_label_map()]
        results["ignore_index"] = self.ignore_index


def _runs_of(results: dict[str, Any]) -> tuple[Runs, np.ndarray]:
    """Return the masks of all instances, and which are ignored (N,) bool.

    Raises:
        DataError: one is damaged.
    """
    height, width = results["ori_shape"]
    instances = results.get("instances", [])
    masks = [_usable(instance.get("mask")) for instance in instances]
    ignored = [
        bool(instance["ignore_flag"]) or mask == []
        for instance, mask in zip(instances, masks, strict=True)
    ]
    try:
        runs = segmentations_to_runs(masks, height, width)
    except MaskError as error:
        raise DataError(f"{results.get('img_path', 'image')}: {error}") from error
    return runs, np.array(ignored, dtype=bool)


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
