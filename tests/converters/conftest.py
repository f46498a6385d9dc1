from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

HEADER = [
    "id",
    "annotation",
    "width",
    "height",
    "cell_type",
    "plate_time",
    "sample_date",
    "sample_id",
]


@dataclass
class Competition:
    """A folder laid out as the competition's, with 8 x 10 images."""

    root: Path
    height: int = 8
    width: int = 10
    rows: list[list[str]] = field(default_factory=list)

    @property
    def csv(self) -> Path:
        return self.root / "train.csv"

    @property
    def images(self) -> Path:
        return self.root / "train"

    def add(
        self, image_id: str, *annotations: str, cell_type: str = "cort", sample: str = ""
    ) -> Competition:
        """Add an image with a row per annotation."""
        self.images.mkdir(exist_ok=True)
        cv2.imwrite(
            str(self.images / f"{image_id}.png"), np.full((self.height, self.width), 128, np.uint8)
        )
        for annotation in annotations:
            self.add_row(
                image_id, annotation, str(self.width), str(self.height), cell_type, "", "", sample
            )
        return self

    def add_row(self, *values: str) -> Competition:
        self.rows.append(list(values))
        return self

    def write(self, header: Sequence[str] = HEADER) -> Competition:
        with self.csv.open("w", newline="") as file:
            csv.writer(file).writerows([header, *self.rows])
        return self


@pytest.fixture
def competition(tmp_path: Path) -> Competition:
    return Competition(tmp_path)
