#!/usr/bin/env python
"""Split the converted DSB2018 set into what the model `nuclei` learns from and what its thresholds are chosen on.

Images of one size, modality, brightness and size of nuclei are most likely of one source, often fields of one plate:
such a group is on one side. Every ``--every``-th group, by the hash of its name, is held out.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from cellseg_mmdet.annotations import file_set, read_annotations, stage_annotation_parts
from cellseg_mmdet.images import read_image
from cellseg_mmdet.images.intensity import to_bgr8
from cellseg_mmdet.structures import ImageRecord


def group_of(record: ImageRecord, images: Path) -> str:
    """Return the name of the group of an image."""
    pixels = to_bgr8(read_image(images / record.file_name))
    diameter_px = np.median(np.sqrt(record.masks.areas * 4 / np.pi)) if len(record.masks) else 1.0
    look = round(2 * np.log2(diameter_px)), round(float(np.median(pixels)) / 8)
    return f"{record.height}x{record.width} {record.cell_type} {look[0]} {look[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="data/dsb2018", type=Path)
    parser.add_argument("--every", default=12, type=int)
    args = parser.parse_args()
    records = read_annotations(args.root / "annotations/all.json")
    groups = [group_of(record, args.root / "stage1_train") for record in records]
    out = [int(hashlib.sha256(name.encode()).hexdigest(), 16) % args.every == 0 for name in groups]
    folder = args.root / "annotations"
    parts = {
        folder / "nuclei_train.json": [i for i, held in enumerate(out) if not held],
        folder / "nuclei_held_out.json": [i for i, held in enumerate(out) if held],
    }
    with file_set(folder) as files:
        stage_annotation_parts(files, parts, records, info={"description": __doc__.splitlines()[0]})
    for path, members in parts.items():
        kinds = Counter(records[i].cell_type for i in members)
        print(
            f"{path}: {len(members)} images of {len({groups[i] for i in members})} groups, {dict(kinds)}"
        )


if __name__ == "__main__":
    sys.exit(main())
