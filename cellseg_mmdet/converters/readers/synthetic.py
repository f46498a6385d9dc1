"""Synthetic images, drawn in the layout of a raw data set."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from cellseg_mmdet.converters.pipeline import Converted
from cellseg_mmdet.converters.reader import READERS
from cellseg_mmdet.synthetic import CELL_TYPES, write_dataset


@READERS.register("synthetic")
class SyntheticReader:
    """Write synthetic phase-contrast images with masks in the Sartorius competition's layout."""

    output = "own"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--out-dir", required=True, help="folder for train.csv, train/, test/ ..."
        )
        parser.add_argument(
            "--num-train", type=int, default=24, help="training images (default: 24)"
        )
        parser.add_argument("--num-test", type=int, default=6, help="test images (default: 6)")
        parser.add_argument("--seed", type=int, default=0, help="same seed, same data (default: 0)")
        parser.add_argument("--height", type=int, default=520, help="in pixels (default: 520)")
        parser.add_argument("--width", type=int, default=704, help="in pixels (default: 704)")
        parser.add_argument(
            "--density",
            type=float,
            default=1.0,
            help="cells relative to the real images (default: 1)",
        )
        parser.add_argument(
            "--cell-types", nargs="+", choices=CELL_TYPES, default=CELL_TYPES, help="default: all"
        )
        parser.add_argument(
            "--blank-metadata", action="store_true", help="leave sample and time columns empty"
        )
        parser.add_argument(
            "--overwrite", action="store_true", help="replace the data set of an earlier run"
        )
        parser.add_argument("--workers", type=int, help="processes (default: the available cores)")

    def read(self, args: Namespace) -> tuple[Converted, ...]:
        written = write_dataset(
            args.out_dir,
            num_train=args.num_train,
            num_test=args.num_test,
            seed=args.seed,
            height=args.height,
            width=args.width,
            density=args.density,
            cell_types=args.cell_types,
            blank_metadata=args.blank_metadata,
            overwrite=args.overwrite,
            workers=args.workers,
        )
        print(written)
        return ()
