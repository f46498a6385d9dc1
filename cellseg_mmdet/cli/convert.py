"""Turn a raw data set into annotations that training reads: COCO json or MMDetection pickle, with folds.

Each kind of data set is a command of its own. Rows and cells that cannot be used stop the conversion, or are left out
and listed (--on-error skip); what was found odd is listed in findings.csv.
"""

from __future__ import annotations

import argparse
from functools import partial

from cellseg_mmdet.cli import CommandParser
from cellseg_mmdet.converters import READERS
from cellseg_mmdet.converters.convert import add_arguments as add_reader_arguments
from cellseg_mmdet.converters.convert import convert, describe

EXAMPLES = """\
  cellseg convert sartorius --csv train.csv --images train --out-dir annotations
  cellseg convert label-images --labels masks --images images --out annotations.json
  cellseg convert sartorius --help
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a command for each reader."""
    commands = parser.add_subparsers(
        title="kinds of data sets", metavar="KIND", dest="reader", required=True
    )
    for name in READERS.names():
        summary = describe(name).partition("\n")[0].rstrip(".")
        commands.add_parser(name, help=summary[:1].lower() + summary[1:], fill=partial(_fill, name))


def run(args: argparse.Namespace) -> None:
    """Read the data set and write its annotations."""
    convert(args.reader, args)


def _fill(name: str, parser: CommandParser) -> None:
    parser.description = describe(name)
    add_reader_arguments(parser, name)
