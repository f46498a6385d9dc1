"""What all converters share: images worked on in parallel, cleaned, checked; bad rows gathered; counts reported."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.annotations import FileSet, stage_annotation_parts
from cellseg_mmdet.converters.cleaning import Cleaning, clean_masks
from cellseg_mmdet.converters.findings import Finding
from cellseg_mmdet.converters.rejects import DataSetError, OnError, Rejected
from cellseg_mmdet.converters.splits import assign_folds, describe_folds
from cellseg_mmdet.errors import DataError
from cellseg_mmdet.fileio import save_records_csv
from cellseg_mmdet.progress import parallel_map
from cellseg_mmdet.structures import ImageRecord


@dataclass(frozen=True)
class Row:
    """Where one instance came from.

    Attributes:
        number: its line in the source, None for a whole file.
        content: what stood there.
        source: its own file, or whatever else names it, where that is not the source of the whole image.
    """

    number: int | None = None
    content: str = ""
    source: str = ""


@dataclass
class Converted:
    """Records of a data set, the rows that were left out, and how many instances each cleaning step touched.

    ``findings`` are oddities of annotations that were kept as they are; None where nobody looked for any. ``source`` is
    the file or folder that annotation files name as their origin, ``split`` which part of a data set this is ('' for
    all of it), ``categories`` the class names in the order of their ids (None for those that occur, sorted).
    """

    records: list[ImageRecord] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    cleaned: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] | None = None
    source: str = ""
    split: str = ""
    categories: tuple[str, ...] | None = None

    @property
    def num_cells(self) -> int:
        return sum(len(record.masks) for record in self.records)


def finish_image(
    record: ImageRecord, rows: Sequence[Row], cleaning: Cleaning, *, source: str, image_id: str
) -> Converted:
    """Clean the masks of one image and reject those that are still without a pixel; ``rows`` is one per instance."""
    masks, kept, counts = clean_masks(record.masks, cleaning)
    cause = "the mask has no pixel; --clean drop-empty drops such rows and counts them"
    filled = masks.areas > 0
    empty = kept[~filled]
    rejected = [
        Rejected(rows[i].source or source, rows[i].number, image_id, cause, rows[i].content)
        for i in empty
    ]
    categories = tuple(record.categories[i] for i in kept[filled])
    cleaned = ImageRecord(
        record.file_name,
        record.height,
        record.width,
        masks[filled],
        categories,
        record.cell_type,
        record.group,
    )
    return Converted([cleaned], rejected, counts)


def convert_images(
    convert: Callable[[Any], Converted],
    tasks: Sequence[Any],
    *,
    rejected: Sequence[Rejected] = (),
    on_error: OnError = "stop",
    workers: int | None = None,
) -> Converted:
    """Convert images in parallel and gather the outcome in the order of the tasks.

    Args:
        convert: picklable function of one task.
        tasks: one per image.
        rejected: rows that were bad before there was an image to put them in.
        on_error: 'stop' raises after all images have been looked at, so that one run shows every fault.
        workers: processes; by default one per core.

    Raises:
        DataSetError: for any rejected row, unless ``on_error`` is 'skip'.
        DataError: if no image is left.
    """
    total = Converted(rejected=list(rejected))
    for part in parallel_map(convert, tasks, description="convert", workers=workers):
        total.records += part.records
        total.rejected += part.rejected
        total.cleaned += part.cleaned
        if part.findings is not None:
            total.findings = (total.findings or []) + part.findings
        for name in (
            part.cleaned
        ):  # Counter addition drops zeros, and a step that changed nothing is worth a line
            total.cleaned[name] += 0
    total.rejected.sort(key=lambda reject: (reject.source, reject.row or 0))
    if total.rejected and on_error == "stop":
        raise DataSetError(total.rejected)
    if not total.records:
        raise DataError(
            "no image is left to write" + (f": {total.rejected[0]}" if total.rejected else "")
        )
    return total


def write_folds(
    files: FileSet,
    out_dir: str | os.PathLike[str],
    converted: Converted,
    *,
    suffix: str,
    num_folds: int,
    seed: int,
    info: dict[str, Any],
) -> tuple[list[Path], list[str]]:
    """Write ``all``, and ``train_fold{k}`` and ``val_fold{k}`` where ``num_folds`` is not 0.

    Returns:
        The paths, of files that are there when ``files`` are published, and lines that tell of folds of groups.
    """
    records = converted.records
    folds = assign_folds(records, num_folds, seed=seed) if num_folds else np.full(len(records), -1)
    parts: dict[str, np.ndarray] = {"all": np.arange(len(records))}
    for fold in range(num_folds):
        parts[f"train_fold{fold}"] = np.flatnonzero(folds != fold)
        parts[f"val_fold{fold}"] = np.flatnonzero(folds == fold)
    paths = {Path(out_dir) / f"{name}{suffix}": members.tolist() for name, members in parts.items()}
    stage_annotation_parts(files, paths, records, info=info)
    return list(paths), describe_folds(records, folds) if num_folds else []


def report(
    files: FileSet,
    converted: Converted,
    rejected_path: Path | None,
    findings_path: Path | None = None,
) -> str:
    """Return the lines that end a conversion: counts, cleaning, and where findings and rejected rows went.

    Those are written as well, and are there when ``files`` are published.
    """
    classes = Counter(name for record in converted.records for name in record.categories)
    types = Counter(record.cell_type for record in converted.records if record.cell_type)
    images = f"{len(converted.records)} images"
    # Where the type of an image is the class of its cells, the count per class says it already.
    images += _counts({} if types.keys() <= classes.keys() else types)
    lines = [f"{images}, {converted.num_cells} cells{_counts(classes)}"]
    for name, count in converted.cleaned.items():
        lines.append(f"cleaning, {name.replace('_', '-')}: {count} instances")
    if findings_path is not None and converted.findings is not None:
        save_records_csv(files.stage(findings_path), Finding, converted.findings)
        kinds = Counter(finding.kind for finding in converted.findings)
        lines.append(
            f"{len(converted.findings)} findings{_counts(kinds)}, listed in {findings_path}"
        )
    if rejected_path is not None:
        save_records_csv(files.stage(rejected_path), Rejected, converted.rejected)
        lines.append(f"{len(converted.rejected)} rejected rows, listed in {rejected_path}")
    return "\n".join(lines)


def _counts(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return f" ({listed})" if listed else ""
