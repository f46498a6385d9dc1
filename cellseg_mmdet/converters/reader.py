"""What a reader of a raw data set is; those there are stand in `READERS`, one file each in `readers`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import ClassVar, Literal, Protocol, TypedDict

from cellseg_mmdet.converters.cleaning import CLEANING_SWITCHES, Cleaning
from cellseg_mmdet.converters.pipeline import Converted
from cellseg_mmdet.converters.rejects import OnError
from cellseg_mmdet.registry import Registry

Output = Literal["folds", "file", "splits", "own"]


class Reader(Protocol):
    """A kind of raw data set. The docstring of its class is the help of its command.

    Attributes:
        output: what `convert` makes of it: 'folds', a folder of ``all``, ``train_fold{k}`` and ``val_fold{k}``;
            'file', one annotation file; 'splits', a folder with one file for each split that the data set has;
            'own', nothing: the reader writes a raw data set by itself.
    """

    output: ClassVar[Output]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add what it needs besides the arguments of the output and those of `add_shared_arguments`."""

    def read(self, args: Namespace) -> Converted | Iterable[Converted]:
        """Read the data set; one that has splits yields them one after the other, so that one is in memory.

        Raises:
            CellsegError, OSError: it cannot be read.
        """


READERS: Registry[Reader] = Registry("raw data set")


class Shared(TypedDict):
    """What the functions take that read a data set."""

    cleaning: Cleaning
    on_error: OnError
    workers: int | None


def add_shared_arguments(parser: ArgumentParser) -> None:
    """Add ``--clean``, ``--on-error`` and ``--workers``."""
    parser.add_argument(
        "--clean",
        nargs="+",
        default=[],
        metavar="SWITCH",
        help=f"cleaning steps, all off by default: {', '.join(CLEANING_SWITCHES)}",
    )
    parser.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="skip: leave out rows that cannot be used and list them in rejected.csv (default: stop)",
    )
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")


def shared_options(args: Namespace) -> Shared:
    """Return what `add_shared_arguments` asked for.

    Raises:
        UsageError: for an unknown cleaning step.
    """
    cleaning = Cleaning.from_switches(args.clean)
    return {"cleaning": cleaning, "on_error": args.on_error, "workers": args.workers}
