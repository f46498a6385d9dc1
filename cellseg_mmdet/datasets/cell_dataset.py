"""`CellDataset`: instance annotations of cells, checked before the first batch."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from mmdet.datasets import BaseDetDataset
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import DATASETS
from mmengine.fileio import get_local_path
from mmengine.logging import print_log

from cellseg_mmdet.annotations import check_set, layout_of
from cellseg_mmdet.datasets.sources import from_folder
from cellseg_mmdet.datasets.transforms import LoadRoIAnnotations
from cellseg_mmdet.errors import UsageError


@DATASETS.register_module()
class CellDataset(BaseDetDataset):
    """Images and their cells from a COCO json (RLE or polygons) or an mmdet 3.x pickle; or images alone.

    Args:
        ann_file: ``.json`` for COCO, ``.pkl`` for mmdet. Empty with ``test_mode=True``: all images of the image
            folder, in order of their names, so that a model can be run on images nobody annotated.
        metainfo: ``classes`` must name the classes of the annotation file; their order here is that of the labels.
            Without ``classes``, those of the annotation file are taken.
        data_root: ``ann_file`` and ``data_prefix`` are relative to it.
        data_prefix: ``img`` is the image folder.
        single_class: make every class of the annotation file this one.
        **kwargs: those of `mmdet.datasets.BaseDetDataset`. ``filter_cfg`` (training only) may hold
            ``filter_empty_gt`` (drop images without cells) and ``min_size`` (of the shorter image side in pixels).

    Every image carries its ``cell_type`` (None where unknown), for the ``meta_keys`` of ``PackDetInputs``.

    Raises, when it is initialised (not later, with ``lazy_init=True`` in `full_init`):
        FileNotFoundError: the annotation file or an image is missing.
        NotADirectoryError: there is no image folder to list.
        UsageError: the classes differ, there is nothing to train on, or a mask does not fit its image or the pipeline.
        DataError: the annotation file is damaged, of no layout that is known, or of another conversion than those
            beside it.
    """

    def __init__(
        self,
        ann_file: str = "",
        metainfo: Mapping[str, Any] | None = None,
        data_root: str = "",
        data_prefix: Mapping[str, str] | None = None,
        single_class: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.single_class = single_class
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=data_root,
            data_prefix=dict(data_prefix or {"img": ""}),
            **kwargs,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return the checked images of the annotation file, or of the image folder where there is none."""
        if not self.ann_file and self.test_mode:
            self._set_classes(None)
            images = from_folder(self.data_prefix["img"])
        else:
            images = self._read_annotation_file()
        for image in images:
            image["img_path"] = os.path.join(self.data_prefix["img"], image["img_path"])
        self._check_image_files(images)
        self._check_masks(images)
        return images

    def filter_data(self) -> list[dict[str, Any]]:
        """Return the images to train on; in test mode all of them.

        Raises:
            UsageError: no instance is left.
        """
        if self.test_mode:
            return self.data_list
        rules = self.filter_cfg or {}
        kept = [
            image
            for image in self.data_list
            if min(image["height"], image["width"]) >= rules.get("min_size", 0)
            and (not rules.get("filter_empty_gt", False) or _counts(image))
        ]
        if not any(_counts(image) for image in kept):
            raise UsageError(
                f"{self.ann_file}: no instance is left to train on. Of its {len(self.data_list)} images {len(kept)} "
                f"passed filter_cfg={dict(rules)}, without a cell that counts. "
                "Loosen filter_cfg, or check how the annotations were converted"
            )
        return kept

    def _read_annotation_file(self) -> list[dict[str, Any]]:
        if not self.ann_file:
            raise UsageError(
                "CellDataset needs an ann_file to train; without one only test_mode=True is possible"
            )
        layout = layout_of(self.ann_file)
        if self.backend_args is None and not os.path.isfile(self.ann_file):
            raise FileNotFoundError(
                f"{self.ann_file}: no such annotation file; make it with cellseg convert, "
                "or set data_root and ann_file of the data set"
            )
        with get_local_path(self.ann_file, backend_args=self.backend_args) as path:
            content = layout.load(path)
            check_set(self.ann_file, content)
            classes, images = layout.parse(content, self.ann_file)
        if not images:
            raise UsageError(
                f"{self.ann_file}: holds no image; check how the annotations were converted"
            )
        labels = self._set_classes(classes)
        dropped = 0
        for image in images:
            found = image["instances"]
            image["instances"] = [instance for instance in found if _has_area(instance["bbox"])]
            dropped += len(found) - len(image["instances"])
            for instance in image["instances"]:
                instance["bbox_label"] = labels[instance["bbox_label"]]
        if dropped:
            print_log(f"{self.ann_file}: left out {dropped} instances with an empty box", "current")
        return images

    def _set_classes(self, found: tuple[str, ...] | None) -> list[int]:
        """Settle ``metainfo['classes']`` and return our label of every class of the annotation file.

        ``found`` are the classes of the annotation file, None where there is none.
        """
        wanted = self._metainfo.get("classes")
        if self.single_class is not None:
            if wanted is not None and tuple(wanted) != (self.single_class,):
                raise UsageError(
                    f"single_class={self.single_class!r} but metainfo has classes {tuple(wanted)}; "
                    f"set metainfo=dict(classes=({self.single_class!r},)), or leave single_class out"
                )
            self._metainfo["classes"] = (self.single_class,)
            return [0] * len(found or ())
        if found is None:
            return []
        if wanted is None:
            self._metainfo["classes"] = wanted = found
        if set(wanted) != set(found):
            raise UsageError(
                f"{self.ann_file} has the classes {found}, the config's metainfo {tuple(wanted)}. "
                f"Set metainfo=dict(classes={found}) in every data set of the config and "
                f"num_classes={len(found)} in the model's heads; "
                "or give the data sets single_class='cell' to make all classes one"
            )
        order = {name: label for label, name in enumerate(wanted)}
        return [order[name] for name in found]

    def _check_image_files(self, images: list[dict[str, Any]]) -> None:
        if self.backend_args is not None:
            return  # a remote store has no cheap listing
        by_folder: dict[str, list[str]] = defaultdict(list)
        for image in images:
            folder, name = os.path.split(image["img_path"])
            by_folder[folder].append(name)
        missing = []
        for folder, names in by_folder.items():
            # One listing per folder: a stat per image takes minutes on a network drive.
            present = set(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else set()
            missing += [os.path.join(folder, name) for name in names if name not in present]
        if missing:
            first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise FileNotFoundError(
                f"{len(missing)} of {len(images)} images of {self.ann_file} are missing: {first}. "
                f"Put them there, or point data_root and data_prefix.img (now {self.data_prefix['img']!r}) "
                "at the folder that holds them"
            )

    def _check_masks(self, images: list[dict[str, Any]]) -> None:
        loaders = [
            step
            for step in self.pipeline.transforms
            if isinstance(step, LoadAnnotations) and step.with_mask
        ]
        polygons_only = any(
            not step.poly2mask for step in loaders if not isinstance(step, LoadRoIAnnotations)
        )
        for image, instance in _instances(images):
            mask = instance.get("mask")
            if not mask:  # none, or no polygon
                if loaders:
                    raise UsageError(
                        f"{self._where(image)} has no mask but the pipeline loads masks; convert with masks"
                    )
                continue
            if not isinstance(mask, dict):
                continue
            if polygons_only:
                raise UsageError(
                    f"{self._where(image)} has an RLE mask, which LoadAnnotations(poly2mask=False) "
                    "would silently ignore; use LoadRoIAnnotations, or set poly2mask=True"
                )
            if tuple(mask["size"]) != (image["height"], image["width"]):
                raise UsageError(
                    f"{self._where(image)} has a mask of (height, width) {tuple(mask['size'])}, "
                    f"the image is {(image['height'], image['width'])}; convert the annotations again"
                )

    def _where(self, image: dict[str, Any]) -> str:
        return f"{self.ann_file}: an instance of {os.path.basename(image['img_path'])}"


def _instances(images: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for image in images:
        for instance in image["instances"]:
            yield image, instance


def _has_area(bbox: list[float]) -> bool:
    x1, y1, x2, y2 = bbox
    return x2 > x1 and y2 > y1


def _counts(image: dict[str, Any]) -> bool:
    return any(instance["ignore_flag"] == 0 for instance in image["instances"])
