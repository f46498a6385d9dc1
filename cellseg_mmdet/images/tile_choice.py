"""`TileChoice`: how the user says whether pictures are cut into tiles."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.fields import is_number

_LEAST_TILE = 64  # pixels; less is for nothing but tests


@dataclass(frozen=True)
class TileChoice:
    """Whether pictures are cut into tiles, and what memory may be used.

    Attributes:
        tile: 'auto' where the whole would not fit the memory, a side in pixels, or 'off'.
        memory_gb: in 10^9 bytes; by default half of what is free.

    Raises:
        ConfigError: a number is out of its range.

    Example:
        >>> TileChoice(1024)
        TileChoice(tile=1024, memory_gb=None)
    """

    tile: int | Literal["auto", "off"] = "auto"
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tile, str):
            if self.tile not in ("auto", "off"):
                raise ConfigError(f"tile={self.tile!r}: 'auto', 'off', or a side in pixels")
        elif type(self.tile) is not int or self.tile < _LEAST_TILE:
            raise ConfigError(
                f"tile={self.tile}: 'auto', 'off', or a side of at least {_LEAST_TILE} pixels"
            )
        gb = self.memory_gb
        if gb is not None and (not is_number(gb) or not 0 < gb < float("inf")):
            raise ConfigError(f"memory_gb={gb!r}: must be above 0, and finite")


def add_tile_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--tile --memory`` to a command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_tile_arguments(parser)
        >>> tile_choice_from(parser.parse_args(["--tile", "512", "--memory", "3"]))
        TileChoice(tile=512, memory_gb=3.0)
    """
    group = parser.add_argument_group("large pictures")
    group.add_argument(
        "--tile",
        type=_tile,
        default="auto",
        metavar="auto|N|off",
        help="auto: pictures that would not fit the memory are cut into tiles; N: tiles of N pixels; off: none "
        "(default: auto)",
    )
    group.add_argument(
        "--memory",
        type=float,
        metavar="GB",
        help="what a picture may take (default: half of what is free on the device)",
    )


def tile_choice_from(args: argparse.Namespace) -> TileChoice:
    """Return the choice that the arguments of `add_tile_arguments` make."""
    return TileChoice(args.tile, args.memory)


def _tile(text: str) -> int | str:
    if text in ("auto", "off"):
        return text
    if text.isdecimal() and int(text) >= _LEAST_TILE:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"{text}: auto, off, or a side of at least {_LEAST_TILE} pixels"
    )
