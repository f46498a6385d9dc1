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


# As pages in docs/ name it.
FOLDER = "../cellseg_mmdet/shipped"


def main() -> None:
    run_tool(lambda: write_page(PAGE))


def write_page(page: Path) -> None:
    """Write the cards of all models into a page."""
    cards = [model.card for model in list_models()]
    content = with_cards(page.read_text(encoding="utf-8"), cards)
    with atomic_write(page) as temporary:
        temporary.write_text(content, encoding="utf-8")
    print(f"{page}: {len(cards)} models")


def with_cards(page: str, cards: Sequence[ModelCard]) -> str:
    """Return a page with these cards between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    chapters = [card.as_markdown(folder=f"{FOLDER}/{card.name}") for card in cards]
    text = "\n".join(chapters) or "No model is in this checkout yet.\n"
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
