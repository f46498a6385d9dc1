"""Turn predictions into other formats: label images, outlines for QuPath and ImageJ, COCO results, pictures.

PREDS is a dump of raw predictions (.pkl), written after the post-processing of its config or as it is; or final cells:
COCO results (predictions.json beside its images.json), annotations, a csv file such as a submission, or a folder of
label images. Cells are numbered as they come, and have the same number in every output.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellseg_mmdet.cli.arguments import (
    WRITERS_HELP,
    add_on_error_argument,
    add_pixel_size_argument,
    add_writer_arguments,
    pixel_size_from,
    telling_of_compilation,
    writer_options,
)
from cellseg_mmdet.cli.evaluate import PREDICTIONS_HELP
from cellseg_mmdet.export import WRITERS
from cellseg_mmdet.images import add_plane_arguments, selection_from

if TYPE_CHECKING:
    from cellseg_mmdet.evaluation.sources import CellSource
    from cellseg_mmdet.images import ImageKey, PlaneSelection
    from cellseg_mmdet.images.picture import Picture
    from cellseg_mmdet.structures import ImagePrediction

# Writers that read the images.
_NEEDY = {"overlay": "overlays need"} | dict.fromkeys(("table", "csv", "parquet"), "a table needs")

EXAMPLES = """\
  cellseg export results/predictions.json --to geojson imagej --out-dir exported
  cellseg export val.pkl --config my_config.py --to label-tiff overlay --images images/ --out-dir exported
  cellseg export val.pkl --no-postprocess --to coco --out-dir raw
  cellseg export cellpose_masks --to geojson --simplify 1 --object-type cell --out-dir exported
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("predictions", metavar="PREDS", help=PREDICTIONS_HELP)
    parser.add_argument(
        "--to",
        nargs="+",
        required=True,
        choices=WRITERS.names(),
        metavar="FORMAT",
        help=f"{', '.join(WRITERS.names())}. {WRITERS_HELP}",
    )
    parser.add_argument(
        "--out-dir", required=True, metavar="DIR", help="folder for what is written"
    )
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="config of a dump: post-processing and class names; final cells need none",
    )
    parser.add_argument(
        "--no-postprocess", action="store_true", help="write the predictions of a dump as they are"
    )
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="PATH",
        help="the images, or folders of them: overlays need them, label images take the size of a pixel from them, and "
        "a submission as PREDS the size of the image (default: the paths that PREDS names, where they are there)",
    )
    parser.add_argument("--recursive", action="store_true", help="search sub-folders as well")
    add_on_error_argument(parser)
    add_pixel_size_argument(parser, ": in tables, label images and scale bars")
    add_writer_arguments(parser)
    add_plane_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Write the files and say what they are."""
    from cellseg_mmdet.evaluation.sources import Context, read_source
    from cellseg_mmdet.export import opened
    from cellseg_mmdet.images import image_size_hw
    from cellseg_mmdet.postprocess import Tally
    from cellseg_mmdet.progress import progress_bar

    names = list(dict.fromkeys(args.to))
    options = writer_options(args, names, pixel_size_from(args))
    source = read_source(args.predictions, on_error=args.on_error)
    if "dump" in names:
        options["dump"]["is_final"] = not (source.is_raw and args.no_postprocess)
    writers = [WRITERS.get(name)(**options[name]) for name in names]
    pipeline, classes = _of_config(args, source)
    selection = selection_from(args)
    keys = _keys(args, selection)
    sizes = {} if source.sizes_hw else {n: image_size_hw(key, selection) for n, key in keys.items()}
    predictions = source.predictions(Context(sizes))
    classes = classes or source.classes or _numbered(predictions)

    needed_by = next((what for name, what in _NEEDY.items() if name in names), "")
    needed_by = needed_by or ("measurements need" if args.measurements else "")
    tally, num_cells = Tally(), 0
    with telling_of_compilation(), opened(writers, args.out_dir, classes):
        for raw in progress_bar(predictions, description="export"):
            found = raw if pipeline is None else tally.through(pipeline, raw)
            picture = _picture(found, keys, selection, needed_by=needed_by)
            for writer in writers:
                writer.add(found, picture)
            num_cells += len(found)
        written: dict[Path, str] = {}
        for writer in writers:
            written |= writer.close().files
    for path, what in written.items():
        print(f"{path}: {what}")
    if sentence := tally.sentence():
        print(sentence)
    print(f"{num_cells} cells in {len(predictions)} images")


def _of_config(args: argparse.Namespace, source: CellSource) -> tuple[Any, tuple[str, ...] | None]:
    """Return the post-processing and the class names that the config of a dump says, as far as they are wanted."""
    from cellseg_mmdet.config_content import class_names, read_config
    from cellseg_mmdet.errors import UsageError
    from cellseg_mmdet.postprocess.from_config import pipeline_from_config

    if not source.is_raw:
        if args.config:
            raise UsageError(
                f"{args.predictions} holds final cells ({source.title}): --config is for a dump of raw predictions"
            )
        return None, None
    if args.config is None:
        if args.no_postprocess:
            return None, None
        raise UsageError(
            f"{args.predictions} holds raw predictions: --config must name the file with their post-processing and "
            "classes, or --no-postprocess write them as they are"
        )
    config = read_config(args.config)
    return None if args.no_postprocess else pipeline_from_config(config), class_names(config)


def _keys(args: argparse.Namespace, selection: PlaneSelection) -> Mapping[str, ImageKey]:
    """Return the images that are named, by the names that a run of inference gives them."""
    from cellseg_mmdet.images import find_images

    if not args.images:
        return {}
    keys = find_images(args.images, recursive=args.recursive, selection=selection)
    return {key.name: key for key in keys}


def _picture(
    found: ImagePrediction,
    keys: Mapping[str, ImageKey],
    selection: PlaneSelection,
    *,
    needed_by: str,
) -> Picture:
    """Return the picture that cells were found in, which need not be there.

    Raises:
        UsageError: something needs it, as ``needed_by`` says, and it is not there.
        DataError: it is of another size.
    """
    from cellseg_mmdet.errors import DataError, UsageError
    from cellseg_mmdet.images import image_size_hw
    from cellseg_mmdet.images.listing import key_of_name
    from cellseg_mmdet.images.picture import Picture
    from cellseg_mmdet.structures import safe_name

    # Pictures are named so that files of results can be.
    key = keys.get(found.image_id) or keys.get(safe_name(found.image_id))
    if key is None:
        if needed_by and not (found.img_path and Path(found.img_path).exists()):
            raise UsageError(
                f"{needed_by} the image of {found.image_id!r}: --images must name it, or its folder"
            )
        key = key_of_name(found.img_path or found.image_id, found.image_id)
    picture = Picture(key, selection)
    size_hw = image_size_hw(key, selection) if needed_by else (found.height, found.width)
    if size_hw != (found.height, found.width):
        height, width = size_hw
        raise DataError(
            f"{key}: {height} x {width} pixels, and the cells of {found.image_id!r} are of an image of "
            f"{found.height} x {found.width}"
        )
    return picture


def _numbered(predictions: Sequence[ImagePrediction]) -> tuple[str, ...]:
    """Return names of classes that nothing names."""
    count = 1 + max((int(found.labels.max(initial=0)) for found in predictions), default=0)
    return ("cell",) if count == 1 else tuple(f"class {number}" for number in range(count))
