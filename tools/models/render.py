#!/usr/bin/env python
"""Write the cards of the models that ship into docs/models.md; tests/shipped/test_docs.py keeps the two in step."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.shipped import ModelCard, list_models
from cellseg_mmdet.terminal import run_tool

PAGE = Path(__file__).parents[2] / "docs/models.md"
BEGIN, END = "<!-- cards: begin (tools/models/render.py) -->", "<!-- cards: end -->"


def main() -> None:
    run_tool(_write)


def _write() -> None:
    cards = [model.card for model in list_models()]
    content = with_cards(PAGE.read_text(encoding="utf-8"), cards)
    with atomic_write(PAGE) as temporary:
        temporary.write_text(content, encoding="utf-8")
    print(f"{PAGE}: {len(cards)} models")


def with_cards(page: str, cards: Sequence[ModelCard]) -> str:
    """Return a page with these cards between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    text = "\n".join(card.as_markdown() for card in cards) or "No model is in this checkout yet.\n"
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
