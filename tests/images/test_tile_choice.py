"""What may be said about tiles."""

from __future__ import annotations

import argparse

import pytest

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.images.tile_choice import TileChoice, add_tile_arguments, tile_choice_from


def parsed(*words: str) -> TileChoice:
    parser = argparse.ArgumentParser()
    add_tile_arguments(parser)
    return tile_choice_from(parser.parse_args(words))


@pytest.mark.parametrize(
    ("words", "choice"),
    [
        ([], TileChoice("auto")),
        (["--tile", "off"], TileChoice("off")),
        (["--tile", "256"], TileChoice(256)),
        (["--memory", "1.5"], TileChoice("auto", 1.5)),
    ],
)
def test_from_a_command_line(words: list[str], choice: TileChoice) -> None:
    assert parsed(*words) == choice


@pytest.mark.parametrize("tile", ["3", "-512", "large", "512.5"])
def test_other_words(tile: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(f"--tile={tile}")
    assert f"{tile}: auto, off, or a side of at least 64 pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("each",), "tile='each': 'auto', 'off', or a side in pixels"),
        ((63,), "tile=63"),
        ((True,), "tile=True"),
        (("auto", 0.0), "memory_gb=0.0: must be above 0"),
        (("auto", float("nan")), "memory_gb=nan"),
    ],
)
def test_out_of_range(arguments: tuple, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        TileChoice(*arguments)
