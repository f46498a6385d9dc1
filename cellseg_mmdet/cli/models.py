"""List the trained models that come with the package, or print the card of one.

The card says what a model finds, what it was trained on and under which licence, how good it is, and where it fails.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from cellseg_mmdet.shipped import ModelCard, find_model, list_models

EXAMPLES = """\
  cellseg models
  cellseg models nuclei
  cellseg models nuclei --json
"""
_HEAD = ("name", "cells px", "mAP", "F1", "MB", "licence", "for what, and trained on")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="of a model, for its card")
    parser.add_argument("--json", action="store_true", help="print the cards as JSON")


def run(args: argparse.Namespace) -> None:
    """Print the table or the card."""
    one = args.name is not None
    models = [find_model(args.name)] if one else list_models()
    cards = [model.card for model in models]
    if args.json:
        told = [asdict(card) for card in cards]
        print(json.dumps(told[0] if one else told, indent=1, ensure_ascii=False))
    elif one:
        print(cards[0].as_markdown(1, str(models[0].folder)), end="")
    elif cards:
        print(table(cards))
    else:
        print("no model comes with this installation; `cellseg train` makes one of your own")


def table(cards: Sequence[ModelCard]) -> str:
    """Return a line for each model, and one for what it was trained on."""
    rows = [_HEAD, *map(_row, cards)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    for number, card in reversed(list(enumerate(cards, start=1))):
        sources = "; ".join(source.name for source in card.trained_on)
        lines.insert(number + 1, " " * (sum(widths) + 2 * len(widths)) + sources)
    last = (
        "cells px: how wide it sees cells; pictures are resized to that, by --diameter PX (of yours) or an estimate\n"
        "mAP: competition mAP, F1: of cells found at IoU 0.5, both of held-out images, 1 is perfect\n"
        "`cellseg infer NAME IMAGES --out-dir DIR` finds cells; `cellseg models NAME` says more, and where it fails"
    )
    return "\n".join([*lines, last])


def _row(card: ModelCard) -> tuple[str, ...]:
    scores = card.scores and card.scores.overall
    return (
        card.name,
        "-" if card.diameter_px is None else f"{card.diameter_px:g}",
        f"{scores.kaggle_map:.3f}" if scores else "-",
        f"{scores.f1_50:.3f}" if scores else "-",
        f"{card.weights.num_bytes / 1e6:.1f}",
        card.licence,
        card.summary,
    )
