"""Pictures of any size with known cells: bright nuclei on dark, 500 in 1,000 x 1,000 pixels, drawn band by band."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile

from cellseg_mmdet.annotations import write_annotations
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord

# Of the grid that nuclei stand on, a little beside its points: 50,176 in 10,000 x 10,000 pixels.
PITCH_PX, JITTER_PX = 44.64, 8.0
# Half axes of the ellipses; diameters are 20 to 30 pixels, and a few neighbours touch.
AXES_PX = (10.0, 15.0)
TILE_PX = 512
_MARGIN_PX = 24
_BITS = 4  # of fractions of a pixel that OpenCV draws with


class Scene:
    """Nuclei in a square picture; the same for the same side and seed.

    Args:
        side: of the picture in pixels.
        seed: of the random numbers.

    Attributes:
        centres: (N, 2) float, (x, y) in pixels.
    """

    def __init__(self, side: int, seed: int = 0) -> None:
        self.side, self._seed = side, seed
        rng = np.random.default_rng(seed)
        count = max(1, round(side / PITCH_PX))
        grid = (np.arange(count) + 0.5) * side / count
        places = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
        self.centres = places + rng.uniform(-JITTER_PX, JITTER_PX, places.shape)
        self._axes = rng.uniform(*AXES_PX, places.shape)
        self._angles = rng.uniform(0, 180, len(places))
        self._levels = rng.integers(90, 230, len(places))

    def __len__(self) -> int:
        return len(self.centres)

    def band(self, y0: int, y1: int) -> np.ndarray:
        """Return rows of the picture, (rows, side) uint8; where bands begin changes the noise, and nothing else."""
        drawn = self._drawn(y0 - _MARGIN_PX, y1 + _MARGIN_PX, self._levels, np.uint8)
        blurred = cv2.GaussianBlur(drawn, (0, 0), 1.5)[_MARGIN_PX : _MARGIN_PX + y1 - y0]
        noise = np.random.default_rng((self._seed, y0)).normal(
            18, 4, blurred.shape
        )  # and background
        return (blurred + noise).clip(0, 255).astype(np.uint8)

    def labels(self) -> np.ndarray:
        """Return the nuclei as a label map (side, side) int32."""
        return self._drawn(0, self.side, np.arange(1, len(self) + 1), np.int32)

    def _drawn(self, y0: int, y1: int, values: np.ndarray, dtype: type) -> np.ndarray:
        canvas = np.zeros((y1 - y0, self.side), dtype)
        y = self.centres[:, 1]
        for number in np.flatnonzero((y > y0 - _MARGIN_PX) & (y < y1 + _MARGIN_PX)).tolist():
            centre = self.centres[number] - [0, y0]
            x_fixed, y_fixed = (round(place * 2**_BITS) for place in centre.tolist())
            a, b = (round(length * 2**_BITS) for length in self._axes[number].tolist())
            angle = float(self._angles[number])
            color = int(values[number])
            cv2.ellipse(
                canvas, (x_fixed, y_fixed), (a, b), angle, 0, 360, color, -1, cv2.LINE_8, _BITS
            )
        return canvas


def write_scene(path: Path, scene: Scene) -> None:
    """Write a picture as an OME-TIFF in tiles, compressed by deflate; no more than a band is in memory."""

    def tiles() -> Iterator[np.ndarray]:
        for y0 in range(0, scene.side, TILE_PX):
            band = scene.band(y0, min(y0 + TILE_PX, scene.side))
            for x0 in range(0, scene.side, TILE_PX):
                yield np.ascontiguousarray(band[:, x0 : x0 + TILE_PX])

    tifffile.imwrite(
        path,
        tiles(),
        shape=(scene.side, scene.side),
        dtype=np.uint8,
        tile=(TILE_PX, TILE_PX),
        compression="zlib",
        ome=True,
        metadata={
            "axes": "YX",
            "PhysicalSizeX": 0.5,
            "PhysicalSizeXUnit": "\u00b5m",
            "PhysicalSizeY": 0.5,
            "PhysicalSizeYUnit": "\u00b5m",
        },
    )


def write_training_set(folder: Path, images: int, side: int = 320) -> Path:
    """Write such pictures as PNG with their masks in a COCO file, and return it."""
    records = []
    for number in range(images):
        scene = Scene(side, seed=1000 + number)
        cv2.imwrite(str(folder / f"{number}.png"), scene.band(0, side))
        masks = Runs.from_label_map(scene.labels())
        records.append(
            ImageRecord(
                f"{number}.png", side, side, masks, ("nucleus",) * len(masks), "fluorescence"
            )
        )
    path = folder / "train.json"
    write_annotations(path, records, categories=["nucleus"])
    return path


def found_centres(scene: Scene, label_tiff: Path) -> tuple[int, int]:
    """Return how many nuclei have a cell at their centre that is there for no other one, and how many share one.

    The label image is read tile by tile.
    """
    x, y = np.rint(scene.centres).astype(int).clip(0, scene.side - 1).T
    found = np.zeros(len(scene), dtype=np.int64)
    with tifffile.TiffFile(label_tiff) as file:
        page = file.pages[0]
        for segment, place, shape in page.segments():
            if segment is None:
                continue
            top, left = place[-3], place[-2]
            block = segment.reshape(segment.shape[-3:-1])[: shape[-3], : shape[-2]]
            inside = (
                (y >= top) & (y < top + block.shape[0]) & (x >= left) & (x < left + block.shape[1])
            )
            found[inside] = block[y[inside] - top, x[inside] - left]
    count = np.bincount(found)[found]
    return int(((found > 0) & (count == 1)).sum()), int(((found > 0) & (count > 1)).sum())
