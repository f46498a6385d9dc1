#!/usr/bin/env python
"""Split a converted set into what a shipped model learns from and what its thresholds are chosen on.

Images of one size, modality, brightness and size of cells are most likely of one source, often fields of one plate:
such a group is on one side. Every ``--every``-th group, by the hash of its name, is held out, or those of the images
that ``--hold-out`` names.

With ``--group-by source`` the groups are those of ``cellseg convert dsb2018 --group-by source``, made here where the
annotations have none, which keep the pieces of a field together as well. Of ``--every`` folds, stratified by modality,
that with the most groups is held out: another may be one plate alone.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from cellseg_mmdet.annotations import file_set, read_annotations, stage_annotation_parts
from cellseg_mmdet.converters.source_groups import group_records
from cellseg_mmdet.converters.splits import assign_folds
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.images import read_image
from cellseg_mmdet.images.intensity import to_bgr8
from cellseg_mmdet.structures import ImageRecord
from cellseg_mmdet.terminal import run_tool


def group_of(record: ImageRecord, images: Path) -> str:
    """Return the name of the group of an image."""
    pixels = to_bgr8(read_image(images / record.file_name))
    diameter_px = np.median(np.sqrt(record.masks.areas * 4 / np.pi)) if len(record.masks) else 1.0
    look = round(2 * np.log2(diameter_px)), round(float(np.median(pixels)) / 8)
    return f"{record.height}x{record.width} {record.cell_type} {look[0]} {look[1]}"


def sources(records: list[ImageRecord], images: Path) -> list[str]:
    """Return the name of the source of each image."""
    if not all(record.group for record in records):
        paths = [str(images / record.file_name) for record in records]
        records = group_records(records, paths, read_image)
    return [str(record.group) for record in records]


def held_out_sources(records: list[ImageRecord], groups: list[str], every: int) -> list[bool]:
    """Tell for each image whether it is in the fold with the most groups."""
    grouped = [replace(record, group=name) for record, name in zip(records, groups, strict=True)]
    folds = assign_folds(grouped, every)
    names = np.array(groups)
    counts = [len(set(names[folds == fold])) for fold in range(every)]
    return (folds == np.argmax(counts)).tolist()


def held_out(
    records: list[ImageRecord], groups: list[str], names: list[str] | None, every: int
) -> list[bool]:
    """Tell for each image whether it is held out."""
    if names is None:
        return [int(hashlib.sha256(name.encode()).hexdigest(), 16) % every == 0 for name in groups]
    unknown = set(names) - {Path(record.file_name).stem for record in records}
    if unknown:
        raise UsageError(f"--hold-out: there is no image {', '.join(sorted(unknown))}")
    return [Path(record.file_name).stem in names for record in records]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="of the model; of NAME_train.json and NAME_held_out.json")
    parser.add_argument("--annotations", required=True, type=Path, help="file of all images")
    parser.add_argument("--images", required=True, type=Path, help="folder of the images")
    parser.add_argument("--every", default=12, type=int, help="default: 12")
    parser.add_argument("--group-by", choices=("look", "source"), default="look")
    parser.add_argument("--hold-out", nargs="+", metavar="IMAGE", help="file names without suffix")
    args = parser.parse_args()
    records = read_annotations(args.annotations)
    if args.group_by == "source" and args.hold_out:
        raise UsageError("--hold-out names the images itself: without --group-by source")
    if args.group_by == "source":
        groups = sources(records, args.images)
        out = held_out_sources(records, groups, args.every)
        records = [replace(one, group=name) for one, name in zip(records, groups, strict=True)]
    else:
        groups = [group_of(record, args.images) for record in records]
        out = held_out(records, groups, args.hold_out, args.every)
    folder = args.annotations.parent
    parts = {
        folder / f"{args.name}_train.json": [i for i, held in enumerate(out) if not held],
        folder / f"{args.name}_held_out.json": [i for i, held in enumerate(out) if held],
    }
    with file_set(folder) as files:
        stage_annotation_parts(files, parts, records, info={"description": f"for {args.name}"})
    for path, members in parts.items():
        kinds = Counter(records[i].cell_type for i in members)
        print(
            f"{path}: {len(members)} images of {len({groups[i] for i in members})} groups, {dict(kinds)}"
        )


if __name__ == "__main__":
    sys.exit(run_tool(main))
