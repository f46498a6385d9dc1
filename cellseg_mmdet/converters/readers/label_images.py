"""Label maps as TIFF or PNG images: StarDist's two folders, Cellpose's ``*_masks`` beside the images, and the like."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
from PIL import Image

from cellseg_mmdet.converters.cleaning import Cleaning
from cellseg_mmdet.converters.findings import Finding
from cellseg_mmdet.converters.label_maps import LabelledImage, convert_label_maps
from cellseg_mmdet.converters.pipeline import Converted
from cellseg_mmdet.converters.reader import READERS, shared_options
from cellseg_mmdet.converters.rejects import OnError
from cellseg_mmdet.errors import CellsegError, DataError, ImageError
from cellseg_mmdet.images import PlaneSelection, image_suffixes, is_image, open_images

# Pillow's modes of one channel of integers: 1 bit, 8 bits, indices of a palette, 16 and 32 bits.
_INTEGER_MODES = ("1", "L", "P", "I;16", "I;16B", "I;16L", "I;16N", "I")
# Pillow reads these, and not `read_image`: of a palette that gives the colours, where labels are the indices.
_LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


def read_label_images(
    labels_dir: str | os.PathLike[str],
    images_dir: str | os.PathLike[str],
    *,
    label_suffix: str = "",
    image_suffix: str = "",
    category: str = "cell",
    cleaning: Cleaning | None = None,
    on_error: OnError = "stop",
    workers: int | None = None,
) -> Converted:
    """Read every ``<name><label_suffix>.<any>`` and the size of its image, ``<name><image_suffix>.<any>``.

    Cellpose's layout is ``label_suffix='_masks'`` with both folders the same; its own data sets have
    ``image_suffix='_img'``. An image without a label image is a finding, and left out.

    Args:
        labels_dir: folder of the label images.
        images_dir: folder of the images; may be the same if the suffixes differ.
        label_suffix: what the names of label images end with, before the dot.
        image_suffix: what the names of images end with, before the dot.
        category: class of every cell.
        cleaning: cleaning steps.
        on_error: 'stop' or 'skip', as in `convert_images`.
        workers: processes; by default one per core.

    Raises:
        NotADirectoryError: if a folder does not exist.
        DataError: if there is no label image, or two label images or two images share a name.
        DataSetError: for files that cannot be used, unless ``on_error`` is 'skip'.
    """
    if label_suffix == image_suffix and os.path.realpath(labels_dir) == os.path.realpath(
        images_dir
    ):
        raise DataError(
            f"{labels_dir} is the folder of images and of labels: tell them apart by a label suffix, such as _masks"
        )
    labels = _by_name(labels_dir, label_suffix, _LABEL_SUFFIXES)
    if not labels:
        raise DataError(_nothing_found(Path(labels_dir), label_suffix))
    images = _by_name(images_dir, image_suffix, image_suffixes())
    labelled = [
        LabelledImage(
            image_id=f"{name}{image_suffix}",
            mask_path=str(path),
            image_path=str(images[name]) if name in images else None,
            category=category,
        )
        for name, path in labels.items()
    ]
    converted = convert_label_maps(
        labelled,
        load_label_image,
        images_dir=str(images_dir),
        cleaning=cleaning,
        on_error=on_error,
        workers=workers,
    )
    label_files = {os.path.realpath(path) for path in labels.values()}
    left_out = [
        Finding(str(path), path.stem, "image without labels", "has no label image, left out")
        for name, path in images.items()
        if name not in labels and os.path.realpath(path) not in label_files
    ]
    if left_out:
        converted.findings = [*(converted.findings or []), *left_out]
    return converted


def load_label_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the label map (H, W) of an image file with one channel of integers of up to 32 bits.

    Raises:
        DataError: if the file cannot be read, is a JPEG, holds several pages, channels or fractions, or only
            foreground (255) without telling cells apart.
    """
    try:
        with Image.open(path) as image:
            pages = getattr(image, "n_frames", 1)
            if pages > 1:
                raise DataError(f"holds {pages} pages; a label image is two-dimensional, of one")
            if image.mode not in _INTEGER_MODES:
                raise DataError(
                    f"pixels of mode {image.mode}; a label image has one channel of integers"
                )
            if image.format == "JPEG":
                raise DataError(
                    "JPEG does not keep numbers as they are; save labels as PNG or TIFF"
                )
            if image.format == "TIFF":
                _check_one_plane(path)
            labels = np.asarray(image)
    except CellsegError:
        raise
    except OSError as error:
        if error.filename is not None:  # else a damaged file sent the decoder beyond its end
            raise
        raise DataError(f"not an image that can be read, of up to 32 bits: {error}") from error
    except Exception as error:  # damaged files raise nearly anything: SyntaxError, struct.error, DecompressionBombError
        raise DataError(f"not an image that can be read, of up to 32 bits: {error}") from error
    values = np.unique(labels)
    if labels.dtype == bool or values.tolist() in ([0, 255], [255]):
        raise DataError("only background and foreground, which does not tell cells apart")
    return labels


def _check_one_plane(path: str | os.PathLike[str]) -> None:
    """Refuse a TIFF of several planes behind one page header, as of ImageJ, which Pillow takes for one; or of none.

    Raises:
        DataError: it is such, or its headers have faults.
    """
    try:
        planes = open_images(path, PlaneSelection(planes="each"))
    except ImageError as error:
        raise DataError(str(error).removeprefix(f"{path}: ")) from error
    planes[0].close()
    if len(planes) > 1:
        raise DataError(f"holds {len(planes)} planes; a label image is two-dimensional, of one")


def _by_name(
    folder: str | os.PathLike[str], suffix: str, allowed: tuple[str, ...]
) -> dict[str, Path]:
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"folder {root} does not exist")
    found: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        if is_image(path) and path.suffix.lower() in allowed and path.stem.endswith(suffix):
            name = path.stem.removesuffix(suffix)
            if name in found:
                raise DataError(
                    f"{found[name].name} and {path.name} in {root} share the name {path.stem!r}"
                )
            found[name] = path
    return found


def _nothing_found(folder: Path, suffix: str) -> str:
    message = f"no label image *{suffix} in {folder}; read are {', '.join(_LABEL_SUFFIXES)}"
    if any(folder.glob("*_seg.npy")):
        # A pickled dict: np.load would run whatever code it holds.
        message += (
            ". Cellpose's *_seg.npy can run code when they are read, so they are not; save the masks as PNG or TIFF in "
            "Cellpose (--save_png, --save_tif, or the File menu)"
        )
    return message


@READERS.register("label-images")
class LabelImageReader:
    """Convert label images (TIFF, PNG; 0 is background, every cell has a number) to COCO or MMDetection annotations.

    StarDist's layout is two folders with the same names; Cellpose's is one folder and --label-suffix _masks (its own
    data sets also need --image-suffix _img, its command line writes _cp_masks).
    """

    output = "file"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--labels", required=True, help="folder of the label images")
        parser.add_argument("--images", required=True, help="folder of the images")
        parser.add_argument(
            "--label-suffix", default="", help="what names of label images end with, such as _masks"
        )
        parser.add_argument(
            "--image-suffix", default="", help="what names of images end with, such as _img"
        )
        parser.add_argument("--category", default="cell", help="class of all cells (default: cell)")

    def read(self, args: Namespace) -> Converted:
        converted = read_label_images(
            args.labels,
            args.images,
            label_suffix=args.label_suffix,
            image_suffix=args.image_suffix,
            category=args.category,
            **shared_options(args),
        )
        converted.source = args.labels
        return converted
