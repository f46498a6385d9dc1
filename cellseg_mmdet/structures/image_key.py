"""`ImageKey`: which picture of which file, and the name by which its results are told apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

# What some file system does not allow, separators of folders first of all; and halves of surrogates, which stand for
# bytes that are no UTF-8 and go into no text file.
_UNSAFE = re.compile('[\\\\/:*?"<>|\x00-\x1f\x7f\ud800-\udfff]')


def safe_name(name: str) -> str:
    """Return a name of an image as the name of a file, without its suffix, that lies where it is written to.

    Names stand in files that others wrote; ``../../a`` must not lead out of a folder.

    Example:
        >>> safe_name("plate:1"), safe_name("../a"), safe_name("..")
        ('plate_1', '.._a', '__')
    """
    safe = _UNSAFE.sub("_", name)
    return safe if safe.strip(". ") else re.sub("[. ]", "_", safe) or "_"


@dataclass(frozen=True, order=True)
class ImageKey:
    """One picture of a run.

    Attributes:
        path: of the file or OME-Zarr folder as it was named, or the name given to bytes or an array.
        scene: index of the scene in a file that holds several, else None.
        plane: index on each axis that the file was taken apart along, as ``t0_z3``; None for a whole picture.
        name: unique in a run, safe as a file name; the bare stem of the file where that is unique.

    Example:
        >>> ImageKey("plate/a.tif", plane="z3", name="a_z3").indices
        {'Z': 3}
    """

    path: str
    scene: int | None = None
    plane: str | None = None
    name: str = ""

    @property
    def indices(self) -> dict[str, int]:
        """Axis letter -> index of ``plane``."""
        parts = self.plane.split("_") if self.plane else []
        return {part[0].upper(): int(part[1:]) for part in parts}

    def __str__(self) -> str:
        scene = "" if self.scene is None else f", scene {self.scene}"
        plane = "" if self.plane is None else f", plane {self.plane}"
        return f"{self.path}{scene}{plane}"
