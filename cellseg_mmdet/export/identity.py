"""What a cell is called in everything that is written: its number, its UUID, its class and the colour of that."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from cellseg_mmdet.fileio import ESCAPED
from cellseg_mmdet.visualization.draw.overlays import PALETTE_BGR

# Drawn once; from it and a name the same UUID comes every time (RFC 9562, version 5).
_NAMESPACE = uuid.UUID("0d8f6a52-5f0b-4a3e-9d0c-6b7a3f1f2c11")


def cell_uuid(image_id: str, cell_id: int) -> str:
    """Return the UUID of a cell, which another run over the same images gives again.

    Args:
        image_id: name of the image in the run.
        cell_id: number of the cell, of `ImagePrediction.cell_ids`; 0 for the image itself.

    Example:
        >>> cell_uuid("a", 1)
        '50538884-2821-5d4f-b8a5-604012392431'
    """
    return str(uuid.uuid5(_NAMESPACE, f"{image_title(image_id)}/{cell_id}"))


def image_title(image_id: str) -> str:
    """Return the name of an image as text, also where it is that of a file and no UTF-8.

    Example:
        >>> image_title("a\\udce4")
        'a\\\\udce4'
    """
    return image_id.encode("utf-8", errors=ESCAPED).decode()


def class_name(label: int, classes: Sequence[str]) -> str:
    """Return the name of a label; where the classes have none for it, its number."""
    return classes[label] if label < len(classes) else f"class {label}"


def class_rgb(label: int) -> tuple[int, int, int]:
    """Return the colour of a label: red, green and blue, 0 to 255; after seven labels colours come again."""
    blue, green, red = PALETTE_BGR[label % len(PALETTE_BGR)].tolist()
    return red, green, blue
