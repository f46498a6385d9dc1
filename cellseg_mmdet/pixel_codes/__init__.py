"""What a pixel model predicts, one module a code: how cells become maps, and maps cells. Needs no torch.

Example:
    >>> code = build_pixel_code(dict(type="FlowCode"))
    >>> code.channels
    3
"""

from cellseg_mmdet.pixel_codes.code import (
    PIXEL_CODES,
    ChannelGroup,
    Decoded,
    PixelCode,
    Targets,
    build_pixel_code,
    class_probabilities,
    owners,
)
from cellseg_mmdet.pixel_codes.turns import IDENTITY, TURNS, Turn
from cellseg_mmdet.registry import import_siblings

import_siblings(__name__, __path__)

__all__ = [
    "IDENTITY",
    "PIXEL_CODES",
    "TURNS",
    "ChannelGroup",
    "Decoded",
    "PixelCode",
    "Targets",
    "Turn",
    "build_pixel_code",
    "class_probabilities",
    "owners",
]
