"""The pictures of a card: the images that a model predicts best and worst; `evaluate.py` asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cellseg_mmdet.evaluation.outcomes import find_outcomes
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.shipped.card import Picture
from cellseg_mmdet.structures import ImageRecord
from cellseg_mmdet.visualization.draw.pictures import read_picture
from cellseg_mmdet.visualization.pages.agreement import agreement_sheet, telling_window

# Fewer cells say little, good or bad.
MIN_CELLS = 4
# A window is so many cells wide, between these sides in pixels, and its drawing about so wide.
_CELLS_ACROSS, _SIDES_PX, _DRAWN_PX = 6, (96, 320), 340
_QUALITY = 75
_NAMES = ("best", "worst")
# A picture whose gray values span less is stretched: to look at, and nothing else.
_DARK_SPAN = 100


@dataclass(frozen=True, eq=False)
class Shown:
    """An image that was predicted.

    Attributes:
        record: its annotations.
        found: the predicted cells.
        score: its competition mAP.
        modality: of what kind it is.
    """

    record: ImageRecord
    found: Runs
    score: float
    modality: str


def write_pictures(shown: Sequence[Shown], images: Path, folder: Path, count: int) -> list[Picture]:
    """Write ``best_1.jpg``, ... and ``worst_1.jpg``, ... into a folder, and return what they show.

    Pictures of an earlier call are removed.

    Args:
        shown: images to choose from, see `extremes`.
        images: the folder that they are in.
        folder: of the pictures.
        count: of each kind, at most.
    """
    chosen = extremes(shown, count)
    written = []
    for kind, ones in zip(_NAMES, chosen, strict=True):
        for number, one in enumerate(ones, start=1):
            path = folder / f"{kind}_{number}.jpg"
            title = f"{kind} {number}: {one.modality}, mAP {one.score:.2f}"
            drawing = _drawing(one, images, title, of_errors=kind == "worst")
            parameters = [
                cv2.IMWRITE_JPEG_QUALITY, _QUALITY,
                # Thin coloured lines are lost where colours have half the resolution.
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
            ]  # fmt: skip
            encoded = cv2.imencode(".jpg", drawing, parameters)[1]
            with atomic_write(path) as temporary:
                temporary.write_bytes(encoded.tobytes())
            written.append(Picture(path.name, _caption(kind, number, one)))
    remove_pictures(folder, kept=[picture.file for picture in written])
    return written


def remove_pictures(folder: Path, kept: Sequence[str] = ()) -> None:
    """Remove the pictures of a folder, but for those that are kept."""
    for path in pictures_in(folder):
        if path.name not in kept:
            path.unlink()


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder, sorted by name."""
    return sorted(path for name in _NAMES for path in folder.glob(f"{name}_*.jpg"))


def extremes(shown: Sequence[Shown], count: int) -> tuple[list[Shown], list[Shown]]:
    """Return the images with the best scores, best first, and those with the worst, worst first; none is in both.

    Of a group of images that belong together (``group`` of their records) one is taken at most, and none with fewer
    than `MIN_CELLS` annotated cells, unless all have fewer.
    """
    many = [one for one in shown if len(one.record.masks) >= MIN_CELLS] or list(shown)
    ordered = sorted(many, key=lambda one: (-one.score, one.record.file_name))
    best = list(_of_groups(ordered, min(count, (len(ordered) + 1) // 2)))
    taken = {id(one) for one in best}
    rest = [one for one in reversed(ordered) if id(one) not in taken]
    return best, list(_of_groups(rest, count))


def _of_groups(ordered: Sequence[Shown], count: int) -> Iterator[Shown]:
    seen: set[str] = set()
    for one in ordered:
        group = one.record.group or one.record.file_name
        if group not in seen and len(seen) < count:
            seen.add(group)
            yield one


def _drawing(one: Shown, images: Path, title: str, *, of_errors: bool) -> np.ndarray:
    record = one.record
    picture = stretched(read_picture(images, record))
    areas = record.masks.areas
    diameter_px = float(np.median(np.sqrt(areas * 4 / np.pi))) if len(areas) else _SIDES_PX[0]
    side = int(np.clip(_CELLS_ACROSS * diameter_px, *_SIDES_PX))
    overlaps = Overlaps(one.found, record.masks)
    window = telling_window(picture.shape[:2], overlaps, side, of_errors=of_errors)
    scale = max(1, round(_DRAWN_PX / max(window.height, window.width)))
    return agreement_sheet(
        picture, record.masks, one.found, title=title, window=window, scale=scale
    )


def stretched(picture: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 with its gray values over the whole range, if they span little of it."""
    low, high = np.percentile(picture, (0.1, 99.9))
    if high - low >= _DARK_SPAN:
        return picture
    factor = 255 / max(high - low, 8.0)  # of a picture without anything in it noise stays noise
    return np.clip((picture - low) * factor, 0, 255).astype(np.uint8)


def _caption(kind: str, number: int, one: Shown) -> str:
    counts = find_outcomes(Overlaps(one.found, one.record.masks)).counts()
    parts = [f"{counts['hit']} of {len(one.record.masks)} cells found"]
    parts += [
        f"{counts[name]} {name}" for name in ("missed", "extra", "merged", "split") if counts[name]
    ]
    name = Path(one.record.file_name).stem
    return (
        f"{kind} {number}, {one.modality} (part of {name[:12]}, {one.record.height} x {one.record.width}): "
        f"competition mAP {one.score:.2f}, {', '.join(parts)}"
    )
