"""Folds for cross-validation: stratified by cell type, never cutting a group in two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.structures import ImageRecord


def assign_folds(records: Sequence[ImageRecord], num_folds: int, *, seed: int = 0) -> np.ndarray:
    """Return the fold (N,) int64 in 0..num_folds-1 of every image.

    Images with the same ``group`` share a fold; an image without one stands alone. Groups are taken from the one with
    most images down, equals in an order drawn from ``seed``, and each goes to the fold that has the fewest images of
    its cell types, then the fewest images, then the fewest cells.

    Raises:
        UsageError: for fewer than two folds, or fewer groups than folds.
    """
    if num_folds < 2:
        raise UsageError(f"cross-validation needs at least 2 folds; got {num_folds}")
    members: dict[tuple[str, object], list[int]] = {}
    for index, record in enumerate(records):
        key = ("group", record.group) if record.group else ("image", index)
        members.setdefault(key, []).append(index)
    groups = list(members.values())
    if len(groups) < num_folds:
        raise UsageError(
            f"{num_folds} folds need at least as many groups of images; found {len(groups)} "
            f"among {len(records)} images. Ask for fewer folds"
        )

    cell_types = sorted({record.cell_type or "" for record in records})
    images = np.zeros((num_folds, len(cell_types)), dtype=np.int64)
    cells = np.zeros(num_folds, dtype=np.int64)
    shuffled = np.random.default_rng(seed).permutation(len(groups))
    # Large groups first: small ones can then level out what they leave uneven.
    by_size = sorted(shuffled, key=lambda g: -len(groups[g]))
    folds = np.empty(len(records), dtype=np.int64)
    for g in by_size:
        group_images = np.zeros(len(cell_types), dtype=np.int64)
        for index in groups[g]:
            group_images[cell_types.index(records[index].cell_type or "")] += 1
        load = images @ group_images  # images of this group's types that a fold already has
        fold = min(range(num_folds), key=lambda f: (load[f], images[f].sum(), cells[f], f))
        folds[groups[g]] = fold
        images[fold] += group_images
        cells[fold] += sum(len(records[index].masks) for index in groups[g])
    return folds
