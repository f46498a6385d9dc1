"""Arguments that several commands share, named as mmdet names them, and how these begin and end."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from cellseg_mmdet.annotations.faults import OnError
from cellseg_mmdet.choices import LAUNCHERS, SPLITS
from cellseg_mmdet.config_files import is_model_name
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.processes import end_with_parent

if TYPE_CHECKING:
    from cellseg_mmdet.cli import CommandParser

CONFIG_HELP = "config file, or the name of a shipped one"
MODEL_HELP = (
    "a model that ships, by its name (`cellseg models` lists them); or two arguments, CONFIG CHECKPOINT: config file, "
    "or the name of a shipped one, and checkpoint file or URL"
)
_CHECKPOINTS = (".pth", ".pt", ".safetensors")


class ConfigOptions(argparse.Action):
    """mmengine's ``DictAction``, imported when the option is given: ``--help`` needs no torch."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Put the settings as a dict into the namespace."""
        from mmengine.config import DictAction

        try:
            DictAction(self.option_strings, self.dest)(parser, namespace, values, option_string)
        except ValueError as error:
            raise argparse.ArgumentError(
                self, f"{values}: give KEY=VALUE, one or several ({error})"
            ) from None


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add CONFIG and CHECKPOINT."""
    parser.add_argument("config", metavar="CONFIG", help=CONFIG_HELP)
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="checkpoint file or URL, or the name of a model that ships",
    )


def add_model_and_images(parser: CommandParser, dest: str, metavar: str, about: str) -> None:
    """Add MODEL, which may be CONFIG CHECKPOINT, and images after it.

    ``config``, ``checkpoint`` (None for a model that ships) and ``dest``, a list, are what was given.
    """
    parser.add_argument("config", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument(dest, nargs="+", metavar=metavar, help=about)
    parser.set_defaults(checkpoint=None)
    parser.rest = dest
    parser.finish = partial(_take_checkpoint, parser, dest, metavar)


def _take_checkpoint(
    parser: CommandParser, dest: str, metavar: str, args: argparse.Namespace
) -> None:
    """Take the checkpoint from the images, where one has to be, or is, before them."""
    words = getattr(args, dest)
    is_checkpoint = words[0].endswith(_CHECKPOINTS) or "://" in words[0]
    # A name with one word behind it is meant for a model: if none of this name ships, that is told when it is loaded.
    is_model = is_model_name(args.config) or (len(words) == 1 and not args.config.endswith(".py"))
    if is_checkpoint or not is_model:
        args.checkpoint = words.pop(0)
    if not words:
        parser.error(
            f"after CONFIG and CHECKPOINT, {args.config} {args.checkpoint}, {metavar} is missing"
        )


def add_option_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=ConfigOptions,
        metavar="KEY=VALUE",
        help="override settings of the config, e.g. optim_wrapper.optimizer.lr=0.01; "
        'a list is written key="[(a,b),(c,d)]", quoted and without spaces',
    )


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options`` and ``--trust-checkpoint``."""
    add_option_arguments(parser)
    parser.add_argument(
        "--trust-checkpoint",
        action="store_true",
        help="allow checkpoints to run code while they are loaded: if you trust who made them",
    )


def add_data_arguments(parser: argparse.ArgumentParser, *, split: bool = False) -> None:
    """Add ``--data`` and ``--fold``, and for what tests ``--split``; `engine.DataChoice` takes them."""
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder that holds the data sets, such as DIR/sartorius/ (default: CELLSEG_DATA, else data)",
    )
    parser.add_argument(
        "--fold",
        type=int,
        metavar="N",
        help="fold that is held out (default: CELLSEG_FOLD, else 0)",
    )
    if split:
        parser.add_argument(
            "--split",
            choices=SPLITS,
            help="what is predicted: the held-out images, with a score, or the test images, with one if they are "
            "annotated (default: CELLSEG_SPLIT, else val)",
        )


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--work-dir``, ``--launcher`` and ``--local_rank``."""
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        help="folder of logs and checkpoints (default: work_dirs/CONFIG_NAME)",
    )
    parser.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="none",
        help="what started the processes of this job",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def join_launcher(args: argparse.Namespace) -> None:
    """End with the launcher, even if it is killed, and put the local rank where mmengine looks for it.

    Older launchers give the rank by argument, torchrun by the environment. Call it first: the libraries take seconds
    to be imported, in which the launcher may be killed.
    """
    if args.launcher != "none":
        end_with_parent()
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))


def leave_launcher(args: argparse.Namespace, status: int | None) -> None:
    """End a process of a launcher whose work is done at once, after Python's own exit handlers.

    A library that aborts while the interpreter ends would fail the job although all results are written, and the
    launcher would kill the other processes. Without a launcher nothing is done.
    """
    if args.launcher == "none":
        return
    atexit._run_exitfuncs()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


@contextlib.contextmanager
def telling_of_compilation() -> Iterator[None]:
    """Say on standard error, once, that kernels are compiled in the block; nothing where they were kept."""
    # Numba is imported here: other commands start without it.
    from cellseg_mmdet.ops.kernels import at_first_compilation
    from cellseg_mmdet.progress import note

    text = "compiling kernels, once after an installation: up to half a minute"
    with at_first_compilation(lambda: note(text)):
        yield


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device", help="such as cpu or cuda:0 (default: the first accelerator there is)"
    )


WRITERS_HELP = (
    "submission: submission.csv; coco: predictions.json (COCO results) and images.json (the data set they refer to); "
    "overlay: pictures; dump: predictions.pkl, what evaluate, ensemble and export read; label-tiff, npz, ome-zarr: "
    "label images; geojson: outlines for QuPath; imagej: ROI sets; outlines: text and SVG; csv, parquet: the table "
    "of cells that measure writes, cells.csv or cells.parquet; docs/exports.md says more"
)


def add_writer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what writers can be told; `writer_options` reads it."""
    from cellseg_mmdet.export import FORMATS, WRITERS
    from cellseg_mmdet.export.geojson import OBJECT_TYPES
    from cellseg_mmdet.export.label_maps import OVERLAPS

    group = parser.add_argument_group("writers")
    group.add_argument(
        "--format",
        choices=FORMATS.names(),
        help="of a submission (default: sartorius)",
    )
    group.add_argument(
        "--simplify",
        type=from_zero,
        metavar="PX",
        help="let outlines (geojson, imagej, outlines) move by so many pixels, so that they have fewer points; "
        "the IoU that is left is said (default: along the edges of pixels)",
    )
    group.add_argument(
        "--overlaps",
        choices=OVERLAPS,
        help="who gets a pixel of several cells in label images: the one with the higher score, the smaller, the "
        "larger, or the one whose centre is nearer (default: score)",
    )
    group.add_argument(
        "--object-type",
        choices=OBJECT_TYPES,
        help="what QuPath takes the cells of GeoJSON for (default: detection)",
    )
    group.add_argument(
        "--measurements",
        action="store_true",
        help="measure the cells of GeoJSON, so that QuPath shows shapes and intensities; the images are read",
    )
    group.add_argument(
        "--names",
        help="what the columns of a table are called: cellseg, cellprofiler, qupath or imagej (default: cellseg)",
    )
    group.add_argument(
        "--table-format",
        choices=("csv", "parquet"),
        help="of the writer table, which is csv or parquet (default: csv)",
    )
    if "ome-zarr" in WRITERS.names():
        group.add_argument(
            "--place",
            choices=("beside", "inside"),
            help="where OME-Zarr labels go: into a folder of their own, or into the image's own OME-Zarr "
            "(default: beside)",
        )


def writer_options(
    args: argparse.Namespace,
    names: Sequence[str],
    pixel_size_um: tuple[float, float] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the options of each of the writers that are named.

    Args:
        args: of `add_writer_arguments`.
        names: of the writers.
        pixel_size_um: height and width of a pixel for those that say it, in place of what the images say.

    Raises:
        UsageError: an option is given that none of them takes.
    """
    from cellseg_mmdet.export import options_of, taken_by

    measure = None
    if args.measurements:
        from cellseg_mmdet.measure import MeasureOptions, QuPathMeasurements

        measure = QuPathMeasurements(MeasureOptions(pixel_size_um=pixel_size_um))
    given = {
        "simplify_px": args.simplify,
        "overlaps": args.overlaps,
        "object_type": args.object_type,
        "measure": measure,
        "names": args.names,
        "table_format": args.table_format,
        "place": args.place,
        "pixel_size_um": pixel_size_um if taken_by("pixel_size_um", names) else None,
        "format": args.format,
    }
    return options_of(names, given)


def add_pixel_size_argument(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--pixel-size UM [UM]``; `pixel_size_from` reads it."""
    parser.add_argument(
        "--pixel-size",
        nargs="+",
        type=_micrometres,
        metavar="UM",
        help=f"micrometres, or height and width of a pixel, in place of what the images say{what}",
    )


def pixel_size_from(args: argparse.Namespace) -> tuple[float, float] | None:
    """Return height and width of a pixel in micrometres; None where they are not given.

    Raises:
        UsageError: more than two numbers are given.
    """
    given = args.pixel_size
    if not given:
        return None
    if len(given) > 2:
        raise UsageError("--pixel-size: give one number, or height and width")
    return given[0], given[-1]


def _micrometres(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: must be micrometres, more than 0")
    return value


def add_tta_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--tta``."""
    parser.add_argument(
        "--tta",
        action="store_true",
        help="test-time augmentation: predict several views of each image and merge what is found",
    )


def from_zero(text: str) -> float:
    """Read a number from 0 on, as ``type`` of an argument.

    Example:
        >>> from_zero("0.5")
        0.5
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: must be a number from 0 on")
    return value


def add_on_error_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--on-error`` to a command that reads cells of any kind (`evaluation.sources`)."""
    parser.add_argument(
        "--on-error",
        choices=get_args(OnError),
        default="stop",
        help="skip: leave out annotations and COCO results that cannot be used, and say how many (default: stop)",
    )


def positive(text: str) -> int:
    """Read a number from 1 on, as ``type`` of an argument.

    Example:
        >>> positive("3")
        3
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a number from 1 on")
    return value
