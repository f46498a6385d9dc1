"""The 2018 Data Science Bowl: ``<id>/images/<id>.png`` with ``<id>/masks/*.png``, or with a solution csv."""

from __future__ import annotations

import functools
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np

from cellseg_mmdet.annotations.csv_rows import Row as CsvRow
from cellseg_mmdet.annotations.csv_rows import read_table
from cellseg_mmdet.archives import list_files, read_file, unpack
from cellseg_mmdet.converters.cleaning import Cleaning
from cellseg_mmdet.converters.csv_cells import passes_end, size_fault
from cellseg_mmdet.converters.findings import find_overlaps, find_pieces
from cellseg_mmdet.converters.modality import modality_of
from cellseg_mmdet.converters.pipeline import Converted, Row, convert_images, finish_image
from cellseg_mmdet.converters.reader import READERS, shared_options
from cellseg_mmdet.converters.rejects import OnError, Rejected
from cellseg_mmdet.converters.source_groups import group_records
from cellseg_mmdet.errors import CellsegError, DataError
from cellseg_mmdet.images import Image, is_image, read_image
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.parsing import parse_strings
from cellseg_mmdet.structures import ImageRecord

CATEGORY = "nucleus"
GroupBy = Literal["image", "source"]


@dataclass
class _Image:
    """The files of one image below the root, or its rows in the solution."""

    image_id: str
    images: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    rows: list[CsvRow] = field(default_factory=list)


class _Found(NamedTuple):
    """The masks of one image, where each comes from, what cannot be used, and how many masks were clipped."""

    masks: Runs
    rows: list[Row]
    rejected: list[Rejected]
    num_clipped: int = 0


def read_dsb2018(
    root: str | os.PathLike[str],
    *,
    solution: str | os.PathLike[str] | None = None,
    group_by: GroupBy = "image",
    cleaning: Cleaning | None = None,
    on_error: OnError = "stop",
    workers: int | None = None,
) -> Converted:
    """Read the nuclei of every image; ``cell_type`` of an image is its modality (see `modality_of`).

    File names are ``<id>/images/<id>.png``. Overlaps and masks of several pieces are kept and listed as findings.

    Args:
        root: folder, or zip archive, of the image folders.
        solution: csv with ``ImageId``, ``EncodedPixels`` (column-major) and, where it has them, ``Height``, ``Width``
            and ``Usage``, to be read instead of the masks. Kaggle does not score images whose usage is 'Ignored', and
            there are no true masks of them: they are left out. An image whose only string is empty has no nuclei.
        group_by: 'source' gives every image the ``group`` of its source, so that folds have pieces of one field and
            fields of one plate on one side (see `source_groups`); with 'image' each stands alone.
        cleaning: cleaning steps.
        on_error: 'stop' or 'skip', as in `convert_images`.
        workers: processes; by default one per core.

    Raises:
        FileNotFoundError: if root or solution do not exist.
        DataError: if the root holds no image, or none that is not ignored, or there are neither masks nor a solution.
        DataSetError: for masks, rows or images that cannot be used, unless ``on_error`` is 'skip'.
    """
    images = _gather_files(root)
    rejected: list[Rejected] = []
    ignored: set[str] = set()
    if solution is not None:
        ignored = _gather_rows(solution, images, rejected, root)
    elif not any(image.masks for image in images.values()):
        raise DataError(
            f"{root}: no image has a folder masks; name a solution csv, or if there is none predict "
            "the images with cellseg infer --recursive"
        )
    convert = partial(
        _convert_image,
        root=str(root),
        solution=None if solution is None else str(solution),
        cleaning=cleaning or Cleaning(),
    )
    tasks = [image for image_id, image in images.items() if image_id not in ignored]
    if not tasks:
        raise DataError(f"{solution}: the Usage of all images in {root} is 'Ignored'")
    converted = convert_images(
        convert, tasks, rejected=rejected, on_error=on_error, workers=workers
    )
    if group_by == "source":
        paths = {_inner(path): path for image in images.values() for path in image.images}
        converted.records = group_records(
            converted.records,
            [paths[record.file_name] for record in converted.records],
            partial(_read_picture, str(root)),
            workers=workers,
        )
    return converted


def unpack_images(
    archive: str | os.PathLike[str], converted: Converted, folder: str | os.PathLike[str]
) -> None:
    """Write the images of the records, under the file names that these have, from a zip archive to a folder."""
    members = {_inner(name): name for name in list_files(archive)}
    names = [record.file_name for record in converted.records]
    unpack(archive, {name: members[name] for name in names}, folder)


def _inner(path: str) -> str:
    """Return ``<id>/images/<file>`` of a path that may begin with other folders."""
    return "/".join(path.split("/")[-3:])


def _gather_files(root: str | os.PathLike[str]) -> dict[str, _Image]:
    images: dict[str, _Image] = {}
    for name in list_files(root):
        parts = PurePosixPath(name).parts
        if len(parts) >= 3 and parts[-2] in ("images", "masks") and is_image(PurePosixPath(name)):
            image = images.setdefault(parts[-3], _Image(parts[-3]))
            (image.images if parts[-2] == "images" else image.masks).append(name)
    if not images:
        raise DataError(f"{root}: no image in it that is called <id>/images/<id>.png")
    return images


def _gather_rows(
    solution: str | os.PathLike[str],
    images: Mapping[str, _Image],
    rejected: list[Rejected],
    root: str | os.PathLike[str],
) -> set[str]:
    """Give every image its rows; return the images that the solution says are ignored."""
    ignored: dict[str, CsvRow] = {}

    def reject(image_id: str, row: CsvRow, cause: str) -> None:
        rejected.append(Rejected(str(solution), row.number, image_id, cause, row.content))

    table = read_table(solution, ("ImageId", "EncodedPixels"))
    says_usage = "Usage" in table.header
    for row in table.rows(
        "ImageId", lambda fault: rejected.append(Rejected(str(solution), *fault))
    ):
        image_id = row["ImageId"].strip()
        if says_usage and row["Usage"].strip().lower() == "ignored":
            ignored.setdefault(image_id, row)
        elif image_id in images:
            images[image_id].rows.append(row)
        else:
            reject(image_id, row, f"no folder {image_id} in {root}")
    scored = {image_id: image.rows[0] for image_id, image in images.items() if image.rows}
    for image_id in ignored.keys() & scored:
        cause = f"Usage is 'Ignored' here, and not in row {scored[image_id].number}"
        reject(image_id, ignored[image_id], cause)
    return ignored.keys() - scored


def _convert_image(
    image: _Image, *, root: str, solution: str | None, cleaning: Cleaning
) -> Converted:
    try:
        file_name, picture = _read_image(root, image)
        height, width = picture.size_hw
        if solution is None:
            masks, rows, rejected, num_clipped = _read_masks(root, image, height, width)
        else:
            masks, rows, rejected, num_clipped = _read_solution(
                solution, image, height, width, clip=cleaning.clip
            )
    except (OSError, CellsegError) as error:
        source = str(Path(root) / image.image_id)
        return Converted(rejected=[Rejected(source, None, image.image_id, str(error))])
    record = ImageRecord(
        file_name=file_name,
        height=height,
        width=width,
        masks=masks,
        categories=(CATEGORY,) * len(masks),
        cell_type=modality_of(picture),
    )
    converted = finish_image(
        record, rows, cleaning, source=solution or root, image_id=image.image_id
    )
    converted.rejected = rejected + converted.rejected
    if cleaning.clip:
        converted.cleaned["clip"] = num_clipped
    sources = [row.source or f"{solution}, row {row.number}" for row in rows]
    converted.findings = find_overlaps(masks, sources, image.image_id)
    converted.findings += find_pieces(masks, sources, image.image_id)
    return converted


def _read_image(root: str, image: _Image) -> tuple[str, Image]:
    if [PurePosixPath(name).stem for name in image.images] != [image.image_id]:
        # Submissions and scores tell images apart by their file names.
        raise DataError(
            f"expected one image called {image.image_id} in its folder images, found {image.images}"
        )
    [name] = image.images
    return _inner(name), _read_picture(root, name)


def _read_picture(root: str, name: str) -> Image:
    return read_image(read_file(root, name), name=name)


def _read_masks(root: str, image: _Image, height: int, width: int) -> _Found:
    """Read the mask files; every value but 0 is foreground."""
    if not image.masks:
        raise DataError("no mask in its folder masks")
    rows: list[Row] = []
    parts: list[np.ndarray] = []
    rejected: list[Rejected] = []
    for name in image.masks:
        row = Row(source=str(Path(root) / name))
        try:
            mask = read_image(read_file(root, name), name=name).pixels.any(axis=2)
            if mask.shape != (height, width):
                raise DataError(
                    f"mask of {mask.shape[0]} x {mask.shape[1]} pixels for an image of {height} x {width}"
                )
        except (OSError, CellsegError) as error:
            rejected.append(Rejected(row.source, None, image.image_id, str(error)))
            continue
        points = cv2.findNonZero(mask.astype(np.uint8))
        # (N, 1, 2) from OpenCV 4, (N, 2) from OpenCV 5
        xy = np.zeros((0, 2)) if points is None else points.reshape(-1, 2)
        parts.append(np.sort(xy.astype(np.int64) @ [height, 1]))
        rows.append(row)
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    pixels = np.concatenate([*parts, np.zeros(0, np.int64)])
    masks = Runs.from_pixels(pixels, owner, len(parts), height, width)
    return _Found(masks, rows, rejected)


def _read_solution(solution: str, image: _Image, height: int, width: int, *, clip: bool) -> _Found:
    if not image.rows:
        raise DataError(f"{solution} has no row for this image")
    faults: dict[int, str] = {}
    if {"Height", "Width"} <= image.rows[0].columns.keys():
        fault_of_size = functools.cache(partial(size_fault, height=height, width=width))
        for index, row in enumerate(image.rows):
            fault = fault_of_size((row["Height"], row["Width"]))
            if fault:
                faults[index] = fault
    good = [index for index in range(len(image.rows)) if index not in faults]
    texts = [image.rows[index]["EncodedPixels"] for index in good]
    if not any(text.strip() for text in texts) and len(image.rows) == 1:
        good, texts = [], []  # an image without nuclei
    masks, malformed = parse_strings(texts, height, width, order="column", clip=clip)
    faults |= {good[index]: cause for index, cause in malformed.items()}
    kept = [image.rows[index] for index in good if index not in faults]
    rejected = [
        Rejected(solution, row.number, image.image_id, faults[index], row.content)
        for index, row in enumerate(image.rows)
        if index in faults
    ]
    clipped = sum(passes_end(row["EncodedPixels"], height * width) for row in kept) if clip else 0
    return _Found(masks, [Row(row.number, row.content) for row in kept], rejected, clipped)


@READERS.register("dsb2018")
class Dsb2018Reader:
    """Convert the 2018 Data Science Bowl (nuclei) to COCO or MMDetection annotations, with folds."""

    output = "folds"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--root",
            required=True,
            help="folder, or zip archive, of <id>/images/<id>.png and <id>/masks/*.png",
        )
        parser.add_argument(
            "--solution",
            metavar="CSV",
            help="ImageId,EncodedPixels and more, such as stage1_solution.csv: read instead of the masks "
            "(.csv, .zip)",
        )
        parser.add_argument(
            "--images-dir",
            metavar="DIR",
            help="where to unpack the images of an archive, which training reads from files "
            "(default: beside it, under its name without .zip)",
        )

        parser.add_argument(
            "--group-by",
            choices=get_args(GroupBy),
            default="image",
            help="source: no fold has pieces of one field, or fields that look like one plate, on both sides "
            "(default: %(default)s)",
        )

    def read(self, args: Namespace) -> Converted:
        root = Path(args.root)
        converted = read_dsb2018(
            root, solution=args.solution, group_by=args.group_by, **shared_options(args)
        )
        converted.source = args.solution or args.root
        if root.is_file():
            images_dir = Path(args.images_dir or root.with_suffix(""))
            unpack_images(root, converted, images_dir)
            print(f"unpacked the images, which training reads, to {images_dir}")
        return converted
