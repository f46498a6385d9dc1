"""The rule of the house: what each room of the package holds, and what it may import.

`tests/test_architecture.py` checks the imports against it; the table in CONTRIBUTING.md is made from it by
``python -m tests.rooms`` (``make rooms``), and a test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- rooms: begin (python -m tests.rooms) -->", "<!-- rooms: end -->"


class Room(NamedTuple):
    """A room of the package, or a module at its top.

    Attributes:
        holds: what may be in it.
        imports: rooms that it may import, besides itself and the modules at the top that import no room.
        needs_torch: whether it may import torch, mmcv, mmdet and mmengine when it is imported.
    """

    holds: str
    imports: frozenset[str] = frozenset()
    needs_torch: bool = False


def _rooms(names: str) -> frozenset[str]:
    return frozenset(names.split())


_DATA = "masks structures images annotations converters"
_DRAW = "visualization.draw"
_JUDGED = f"{_DATA} postprocess measure export evaluation {_DRAW}"
_PAGES = "visualization.charts visualization.pages"

# From the ground up: a room stands on those above it in this list.
ROOMS = {
    "masks": Room(
        "what a mask is: runs and bitmaps in boxes, RLE codecs, polygons, label maps, overlaps"
    ),
    "ops": Room(
        "mmcv's operators without a compiler; imports nothing else of the package", needs_torch=True
    ),
    "doctor": Room("one module: what is installed, and whether it works", _rooms("ops")),
    "shipped": Room("trained models that come with the package, a folder each, and their cards"),
    "structures": Room(
        "the types that everybody hands on: records, predictions, and the layout of their dumps",
        _rooms("masks"),
    ),
    "images": Room(
        "pictures: formats (`sources/`, one file each), planes, orientation, intensity, scale, listing",
        _rooms("masks structures"),
    ),
    "annotations": Room(
        "annotation files: COCO, MMDetection 3.x and 2.x, csv of cells; one validator for all who read them",
        _rooms("masks structures images"),
    ),
    "synthetic": Room("drawing phase-contrast images and their cells", _rooms("masks")),
    "converters": Room(
        "readers of raw data sets (`readers/`, one file each), cleaning, folds, findings",
        _rooms("masks structures images annotations synthetic"),
    ),
    "postprocess": Room(
        "steps from raw predictions to final instances", _rooms("masks structures")
    ),
    "pixel_codes": Room(
        "what a pixel model predicts, one file a code: cells to maps and maps to cells",
        _rooms("masks ops postprocess"),
    ),
    "measure": Room(
        "numbers per cell, in pixels and micrometres, and their medians per image and group",
        _rooms("masks ops structures images"),
    ),
    "fusion": Room(
        "detections of several models or views into one set", _rooms("masks structures")
    ),
    _DRAW: Room(
        "instances drawn over their image, contrast, sheets of pictures",
        _rooms("masks structures images converters"),
    ),
    "export": Room(
        "writers of predictions, one file each, and the check of submissions",
        _rooms(f"{_DATA} postprocess measure {_DRAW}"),
    ),
    "evaluation": Room(
        "metric functions, what became of each cell, and the tables of both; files of cells of every kind, read",
        _rooms(f"{_DATA} postprocess measure export"),
    ),
    "tuning": Room(
        "the search for the numbers of the post-processing and of pixel codes",
        _rooms("masks structures annotations converters postprocess pixel_codes evaluation"),
    ),
    "visualization.charts": Room("charts: inline SVG, and curves of trainings"),
    "visualization.pages": Room(
        "self-contained HTML pages: the report on a run, the page on a data set",
        _rooms(f"{_JUDGED} visualization.charts doctor"),
    ),
    "datasets": Room(
        "data sets and transforms that are registered in mmdet",
        _rooms(f"{_DATA} pixel_codes"),
        needs_torch=True,
    ),
    "models": Room(
        "model parts that are registered in mmdet",
        _rooms("masks structures pixel_codes fusion ops"),
        needs_torch=True,
    ),
    "tiling": Room(
        "pictures cut into tiles: covers, receptive fields, and merging with the result of the whole",
        _rooms("masks structures images pixel_codes fusion ops postprocess models"),
        needs_torch=True,
    ),
    "engine": Room(
        "configs, checkpoints, processes; the metric and the dump that mmdet's loops call",
        _rooms("masks structures annotations postprocess evaluation ops shipped"),
        needs_torch=True,
    ),
    "inference": Room(
        "predictor and runners: what needs a trained model",
        _rooms(f"{_JUDGED} {_PAGES} datasets models tiling engine ops fusion shipped pixel_codes"),
        needs_torch=True,
    ),
    "compile_ahead": Room(
        "one module: the kernels of a first run, in other processes",
        _rooms("masks ops structures images measure pixel_codes"),
    ),
    "demo": Room(
        "one module: the whole way on synthetic data",
        _rooms(f"{_JUDGED} {_PAGES} synthetic doctor"),
    ),
    "cli": Room(
        "the console command `cellseg`: argument parsers, one file a command; loads torch when a command runs",
        _rooms(
            f"{_JUDGED} {_PAGES} synthetic fusion tuning datasets models tiling engine inference ops compile_ahead demo"
            " doctor shipped"
        ),
    ),
}
# Modules at the top that import no room: every room may import them, but for `ops`.
GROUND = _rooms(
    "allocator archives choices config_content config_errors config_files errors fields fileio mask_pipelines npy"
    " pickle_machine processes progress registry safe_pickle terminal __init__"
)
ALONE = _rooms("ops")


def room_of(module: str) -> str | None:
    """Return the room of a module (``cellseg_mmdet.visualization.draw.sheets``), None if it is in none.

    Example:
        >>> room_of("cellseg_mmdet.visualization.draw.sheets")
        'visualization.draw'
    """
    pieces = module.split(".")[1:]
    for length in range(len(pieces), 0, -1):
        if ".".join(pieces[:length]) in ROOMS:
            return ".".join(pieces[:length])
    return None


def table() -> str:
    """Return the table of CONTRIBUTING.md."""
    lines = ["| in `cellseg_mmdet/` | what it holds | may import |", "|---|---|---|"]
    for name, room in ROOMS.items():
        imports = ", ".join(f"`{other}`" for other in ROOMS if other in room.imports) or "-"
        lines.append(f"| `{name.replace('.', '/')}` | {room.holds} | {imports} |")
    return "\n".join(lines)


def without_torch() -> list[str]:
    """Return the rooms that run without torch, mmcv, mmdet and mmengine."""
    return [name for name, room in ROOMS.items() if not room.needs_torch]


def written() -> str:
    """Return CONTRIBUTING.md with the table as the rule has it."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    names = ", ".join(f"`{name.replace('.', '/')}`" for name in without_torch())
    return f"{before}{BEGIN}\n\n{table()}\n\nWithout torch, mmcv and mmdet run: {names}.\n\n{END}{after}"


if __name__ == "__main__":
    CONTRIBUTING.write_text(written(), encoding="utf-8")
