"""`CellDataset`: instance annotations of cells, checked before the first batch."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, get_args

from mmdet.datasets import BaseDetDataset
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import DATASETS
from mmengine.fileio import get_local_path
from mmengine.logging import print_log

from cellseg_mmdet.annotations import layout_of
from cellseg_mmdet.annotations.faults import Faults, OnError
from cellseg_mmdet.annotations.files import AnnotationFiles, files_of
from cellseg_mmdet.annotations.image_files import missing_files, of_their_size
from cellseg_mmdet.annotations.validate import Checked, merged, read_checked, unused_classes
from cellseg_mmdet.datasets.sources import from_folder
from cellseg_mmdet.datasets.transforms import LoadCellImage, LoadRoIAnnotations
from cellseg_mmdet.errors import ConfigError, UsageError
from cellseg_mmdet.mask_pipelines import check_steps


@DATASETS.register_module()
class CellDataset(BaseDetDataset):
    """Images and their cells from a COCO json (RLE or polygons) or an mmdet 3.x pickle; or images alone.

    Args:
        ann_file: ``.json`` for COCO, ``.pkl`` for mmdet; a list of files is read as one. Empty with ``test_mode=True``:
            all images of the image folder, in order of their names, so that a model can be run on images nobody
            annotated.
        metainfo: ``classes`` must name the classes of the annotation file; their order here is that of the labels.
            Without ``classes``, those of the annotation file are taken.
        data_root: ``ann_file`` and ``data_prefix`` are relative to it.
        data_prefix: ``img`` is the image folder.
        single_class: make every class of the annotation file this one.
        on_error: what `annotations.validate` finds wrong with an entry, and an image file that cannot be read or is of
            another size than annotated, is an error ('stop'), or left out and counted in the log ('skip').
        **kwargs: those of `mmdet.datasets.BaseDetDataset`. ``filter_cfg`` (training only) may hold
            ``filter_empty_gt`` (drop images without cells) and ``min_size`` (of the shorter image side in pixels).

    Every image carries its ``cell_type`` (None where unknown), for the ``meta_keys`` of ``PackDetInputs``.

    Raises:
        ConfigError: ``on_error`` is not allowed, or a transform of the pipeline leaves masks behind (`check_steps`).

    Raises, when it is initialised (not later, with ``lazy_init=True`` in `full_init`):
        FileNotFoundError: the annotation file or an image is missing.
        NotADirectoryError: there is no image folder to list.
        UsageError: the classes differ, there is nothing to train on, or masks do not fit the pipeline.
        DataError: the annotation file is damaged, of no layout that is known, of another conversion than those beside
            it, or has entries that cannot be used.
    """

    def __init__(
        self,
        ann_file: AnnotationFiles = "",
        metainfo: Mapping[str, Any] | None = None,
        data_root: str = "",
        data_prefix: Mapping[str, str] | None = None,
        single_class: str | None = None,
        on_error: OnError = "stop",
        **kwargs: Any,
    ) -> None:
        if on_error not in get_args(OnError):
            raise ConfigError(
                f"on_error is {on_error!r}; allowed are {', '.join(get_args(OnError))}"
            )
        check_steps(kwargs.get("pipeline") or ())
        self.ann_file: Any
        self.single_class = single_class
        self.on_error: OnError = on_error
        self._said: list[str] = []
        metainfo = dict(metainfo or {})
        if isinstance(metainfo.get("classes"), str) and not os.path.isfile(metainfo["classes"]):
            metainfo["classes"] = (metainfo["classes"],)  # a name alone is one class
        super().__init__(
            ann_file=ann_file if isinstance(ann_file, str) else files_of(ann_file),
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
        if self.backend_args is not None:
            return images  # a remote store has no cheap listing, nor cheap headers
        self._check_image_files(images)
        return images if not self.ann_file else self._of_their_size(images)

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
                f"{self._source}: no instance is left to train on. Of its {len(self.data_list)} images {len(kept)} "
                f"passed filter_cfg={dict(rules)}, without a cell that counts. "
                "Loosen filter_cfg, or check how the annotations were converted"
                + "".join(f"\n{sentence}" for sentence in self._said)
            )
        return kept

    def _read_annotation_file(self) -> list[dict[str, Any]]:
        if not self.ann_file:
            raise UsageError(
                "CellDataset needs an ann_file to train; without one only test_mode=True is possible"
            )
        paths = files_of(self.ann_file)
        need_masks = self._mask_loaders() != []
        parts = [self._read_file(path, need_masks=need_masks) for path in paths]
        checked = merged(parts, paths)
        if not checked.images:
            raise UsageError(
                f"{self._source}: holds no image; check how the annotations were converted"
            )
        images = checked.images
        self._check_fits_pipeline(images)
        self._said = list(checked.said)
        unused = [] if self.test_mode else unused_classes(checked.classes, images)
        if unused and self.single_class is None:
            self._said.append(f"{self._source}: no instance is of the class {', '.join(unused)}")
        for sentence in self._said:
            print_log(sentence, "current", logging.WARNING)
        labels = self._set_classes(checked.classes)
        for image in images:
            for instance in image["instances"]:
                instance["bbox_label"] = labels[instance["bbox_label"]]
        return images

    def _read_file(self, path: str, *, need_masks: bool) -> Checked:
        layout_of(path)
        if self.backend_args is None and not os.path.isfile(path):
            raise FileNotFoundError(
                f"{path}: no such annotation file; make it with cellseg convert, "
                "or set data_root and ann_file of the data set"
            )
        with get_local_path(path, backend_args=self.backend_args) as local:
            return read_checked(
                local, name=path, on_error=self.on_error, need_masks=need_masks, keep_masks=False
            )

    @property
    def _source(self) -> str:
        """What messages call the annotation file or files."""
        return ", ".join(files_of(self.ann_file))

    def _join_prefix(self) -> None:
        """Make folders and annotation files relative to ``data_root``; mmengine's knows one file only."""
        files: AnnotationFiles = self.ann_file
        if isinstance(files, str):
            super()._join_prefix()
            return
        self.ann_file = ""
        super()._join_prefix()
        self.ann_file = [os.path.join(self.data_root or "", path) for path in files_of(files)]

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
                f"{self._source} has the classes {found}, the config's metainfo {tuple(wanted)}. "
                f"Set metainfo=dict(classes={found}) in every data set of the config and "
                f"num_classes={len(found)} in the model's heads; "
                "or give the data sets single_class='cell' to make all classes one"
            )
        order = {name: label for label, name in enumerate(wanted)}
        return [order[name] for name in found]

    def _check_image_files(self, images: list[dict[str, Any]]) -> None:
        missing = missing_files(images)
        if missing:
            first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise FileNotFoundError(
                f"{len(missing)} of {len(images)} images of {self._source} are missing: {first}. "
                f"Put them there, or point data_root and data_prefix.img (now {self.data_prefix['img']!r}) "
                "at the folder that holds them"
            )

    def _of_their_size(self, images: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the images whose file is of the size that is annotated.

        Raises:
            AnnotationError: there are others, and they are not to be skipped.
        """
        loader = next((s for s in self.pipeline.transforms if isinstance(s, LoadCellImage)), None)
        faults = Faults(self._source)
        kept = of_their_size(images, faults, None if loader is None else loader.selection)
        for sentence in faults.settle(self.on_error):
            print_log(sentence, "current", logging.WARNING)
        return kept

    def _mask_loaders(self) -> list[LoadAnnotations]:
        return [
            step
            for step in self.pipeline.transforms
            if isinstance(step, LoadAnnotations) and step.with_mask
        ]

    def _check_fits_pipeline(self, images: list[dict[str, Any]]) -> None:
        polygons_only = any(
            not step.poly2mask and not isinstance(step, LoadRoIAnnotations)
            for step in self._mask_loaders()
        )
        for image in images if polygons_only else ():
            if any(isinstance(instance.get("mask"), dict) for instance in image["instances"]):
                raise UsageError(
                    f"{self._source}: an instance of {os.path.basename(image['img_path'])} has an RLE mask, which "
                    "LoadAnnotations(poly2mask=False) would silently ignore; use LoadRoIAnnotations, or set "
                    "poly2mask=True"
                )


def _counts(image: dict[str, Any]) -> bool:
    return any(instance["ignore_flag"] == 0 for instance in image["instances"])
