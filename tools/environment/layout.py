"""Where things lie in a checkout, and what is recorded there."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path

MMCV_NAMES = ("onedl-mmcv", "mmcv")  # the maintained distribution, and OpenMMLab's own


OPS = ("portable", "compiled")  # how mmcv's operators may come into .venv


class SetupError(Exception):
    """Set-up cannot go on; the message says why, and what to do."""


@dataclass(frozen=True)
class Layout:
    """The folders of one checkout."""

    root: Path

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def build(self) -> Path:
        return self.root / "build"

    def site_packages(self) -> Path | None:
        """Return the folder of the installed packages, or None where there is no environment."""
        return next(self.venv.glob("lib/python3.*/site-packages"), None)

    def installed(self, name: str) -> str:
        """Return the version of an installed distribution, or 'none', without starting Python."""
        site = self.site_packages()
        infos = sorted(site.glob(f"{name.replace('-', '_')}-*.dist-info")) if site else []
        return infos[0].stem.split("-", 1)[1] if infos else "none"

    def pins(self) -> dict[str, str]:
        """Return distribution name -> its requirement in requirements.txt."""
        return read_pins((self.root / "requirements.txt").read_text(encoding="utf-8"))

    def mmcv(self) -> tuple[str, str]:
        """Return name and requirement of the mmcv distribution."""
        pins = self.pins()
        name = next(name for name in MMCV_NAMES if name in pins)
        return name, pins[name]

    def ops(self) -> str:
        """Return which operators of mmcv are wanted: as OPS says, else as .venv was made before.

        Raises SetupError where OPS is something else.
        """
        wanted = os.environ.get("OPS") or self.stamp("ops") or OPS[0]
        if wanted not in OPS:
            raise SetupError(f"OPS={wanted} is not one of {', '.join(OPS)}.")
        return wanted

    def stamp(self, step: str) -> str:
        """Return what a finished step recorded, or an empty string."""
        try:
            return self._stamp_file(step).read_text(encoding="utf-8")
        except OSError:
            return ""

    def set_stamp(self, step: str, text: str) -> None:
        """Record a finished step."""
        file = self._stamp_file(step)
        file.parent.mkdir(exist_ok=True)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)

    def drop_stamp(self, step: str) -> None:
        """Forget that a step was finished."""
        if self.stamp(step):
            self._stamp_file(step).unlink()

    def _stamp_file(self, step: str) -> Path:
        return self.venv / ".setup" / step  # inside, so that the stamps go with the environment


def read_pins(text: str) -> dict[str, str]:
    """Return distribution name -> requirement, in the order of a requirements file.

    Raises SetupError on a line that does not pin one version.
    """
    pins = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#")[0].strip()
        match = re.match(r"([A-Za-z0-9._-]+)==\S", line)
        if line and not match:
            raise SetupError(f"requirements.txt, line {number}: '{line}' is not 'name==version'.")
        if match:
            pins[match.group(1)] = line
    return pins


def broken_distributions(site: Path) -> list[Path]:
    """Return the .dist-info folders of packages whose files are not all there in full.

    A killed pip leaves such packages behind, and takes them for installed the next time.
    """
    return [info for info in sorted(site.glob("*.dist-info")) if not _is_complete(info)]


def _is_complete(info: Path) -> bool:
    try:
        with (info / "RECORD").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except OSError:
        return False
    sized = [(name, int(size)) for name, _, size in rows if size and not _may_change(name)]
    return all(_size(info.parent / name) == size for name, size in sized)


def _may_change(name: str) -> bool:
    # Two OpenCV wheels share cv2/, so one of them is overwritten; bytecode is Python's to write.
    return name.startswith("cv2/") or name.endswith(".pyc")


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None
