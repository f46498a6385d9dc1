"""docs/exports.md names every writer, and its commands are parsed as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cellseg_mmdet.cli import build_parser
from cellseg_mmdet.export import WRITERS

TEXT = (Path(__file__).parents[1] / "docs/exports.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", WRITERS.names())
def test_every_writer_has_its_row(name: str) -> None:
    assert f"\n| `{name}` | " in TEXT


def test_folders_are_those_that_are_written() -> None:
    for name in WRITERS.names():
        folder = getattr(WRITERS.get(name), "folder", None)
        if folder is not None:
            (row,) = re.findall(rf"\n\| `{name}` \| (.*?) \|", TEXT)
            assert f"`{folder}/" in row


def test_commands_can_be_parsed() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    commands = [line.split() for block in blocks for line in block.splitlines()]
    assert commands
    for words in commands:
        assert words[0] == "cellseg"
        assert build_parser().parse_args(words[1:]).command == words[1]
