"""Folds for cross-validation: stratified by cell type, never cutting a group in two."""

from __future__ import annotations

from collections import Counter
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


def describe_folds(records: Sequence[ImageRecord], folds: np.ndarray) -> list[str]:
    """Return a line on the groups, and one on each fold of `assign_folds`; none where no image has a group.

    Example:
        >>> from cellseg_mmdet.masks import Runs
        >>> masks = Runs.empty(4, 4)
        >>> records = [
        ...     ImageRecord(f"{i}.png", 4, 4, masks, (), "stained", group)
        ...     for i, group in enumerate(["plate 1", "plate 1", "plate 2"])
        ... ]
        >>> print(*describe_folds(records, assign_folds(records, 2)), sep="\\n")
        2 groups of 1 to 2 images
        fold 0: 2 images of 1 groups, 2 stained; 0 cells
        fold 1: 1 images of 1 groups, 1 stained; 0 cells
    """
    if not any(record.group for record in records):
        return []
    # As in `assign_folds`: an image without a group stands alone, whatever it is called.
    names: list[object] = [record.group or index for index, record in enumerate(records)]
    sizes = Counter(names).values()
    lines = [f"{len(sizes)} groups of {min(sizes)} to {max(sizes)} images"]
    for fold in np.unique(folds):
        chosen = np.flatnonzero(folds == fold)
        members = [records[index] for index in chosen]
        groups = {names[index] for index in chosen}
        types = Counter(record.cell_type for record in members if record.cell_type)
        kinds = "".join(f", {count} {name}" for name, count in sorted(types.items()))
        cells = sum(len(record.masks) for record in members)
        lines.append(
            f"fold {fold}: {len(members)} images of {len(groups)} groups{kinds}; {cells} cells"
        )
    return lines
