"""Label maps in ``.npz`` files (one per image, id 0 for background) beside a folder of images."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cellseg_mmdet.annotations.csv_rows import read_table
from cellseg_mmdet.converters.cleaning import Cleaning
from cellseg_mmdet.converters.label_maps import LabelledImage, convert_label_maps
from cellseg_mmdet.converters.pipeline import Converted
from cellseg_mmdet.converters.reader import READERS, shared_options
from cellseg_mmdet.converters.rejects import OnError
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.images import files_by_stem
from cellseg_mmdet.npy import read_npz


def read_npz_masks(
    masks_dir: str | os.PathLike[str],
    images_dir: str | os.PathLike[str],
    *,
    category: str = "cell",
    labels: Mapping[str, str] | None = None,
    cleaning: Cleaning | None = None,
    on_error: OnError = "stop",
    workers: int | None = None,
) -> Converted:
    """Read every ``<image>.npz`` of a folder (array ``arr_0``, or the only one) and the size of its image.

    Args:
        masks_dir: folder of the label maps.
        images_dir: folder of the images of the same names.
        category: class of every cell where ``labels`` is not given.
        labels: class of the cells of each image, by image id; see `read_labels`.
        cleaning: cleaning steps.
        on_error: 'stop' or 'skip', as in `convert_images`.
        workers: processes; by default one per core.

    Raises:
        DataSetError: for files that cannot be used, unless ``on_error`` is 'skip'.
        DataError: if there is no ``.npz`` file.
    """
    mask_paths = sorted(Path(masks_dir).glob("*.npz"))
    if not mask_paths:
        raise DataError(f"no .npz file in {masks_dir}")
    images = files_by_stem(images_dir)
    labelled = [
        LabelledImage(
            image_id=path.stem,
            mask_path=str(path),
            image_path=str(images[path.stem]) if path.stem in images else None,
            category=category if labels is None else labels.get(path.stem),
        )
        for path in mask_paths
    ]
    return convert_label_maps(
        labelled,
        load_label_map,
        images_dir=str(images_dir),
        cleaning=cleaning,
        on_error=on_error,
        workers=workers,
    )


def read_labels(csv_path: str | os.PathLike[str], *, column: str = "cell_type") -> dict[str, str]:
    """Return the class of each image from a csv with columns ``id`` and ``column`` (``train.csv`` is one).

    Raises:
        DataError: if a column is missing, a class is empty, or an image has two different ones.
    """
    labels: dict[str, str] = {}
    for row in read_table(csv_path, ("id", column)).rows("id"):
        image_id, name = row["id"].strip(), row[column].strip()
        where = f"{csv_path}, row {row.number}"
        if not name:
            raise DataError(f"{where}: the {column} of image {image_id} is empty")
        if labels.setdefault(image_id, name) != name:
            raise DataError(
                f"{where}: image {image_id} is {name!r} here and {labels[image_id]!r} above"
            )
    return labels


def load_label_map(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the label map (H, W) of an ``.npz`` file: ``arr_0``, or the only array.

    Raises:
        DataError: naming the file, if it is damaged, holds several arrays and no ``arr_0``, or no label map.
    """
    return read_npz(path, "arr_0")


@READERS.register("npz")
class NpzReader:
    """Convert label maps in .npz files to COCO or MMDetection annotations."""

    output = "file"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--masks", required=True, help="folder of <image>.npz: array arr_0, or the only one"
        )
        parser.add_argument(
            "--images", required=True, help="folder of the images of the same names"
        )
        parser.add_argument(
            "--category", default="cell", help="class of all cells without --labels (default: cell)"
        )
        parser.add_argument(
            "--labels",
            metavar="CSV",
            help="csv with a column id and one of classes; train.csv is one",
        )
        parser.add_argument(
            "--label-column", default="cell_type", help="column of the classes (default: cell_type)"
        )

    def read(self, args: Namespace) -> Converted:
        converted = read_npz_masks(
            args.masks,
            args.images,
            category=args.category,
            labels=read_labels(args.labels, column=args.label_column) if args.labels else None,
            **shared_options(args),
        )
        converted.source = args.masks
        return converted
