"""The one judge of annotation files: what is a cell, what is a fault, and what is left out without being one.

Data set, metric, evaluation, converters and the check of files read annotations through `read_checked`, so that a mask
is a cell for all of them or for none:

- An entry that cannot be used is a fault: a missing mask, a value of another type or range, an RLE that does not
  fill its image. Faults end the reading, or with ``on_error='skip'`` they are left out and counted by reason.
- An annotation with an empty box, or whose mask has no pixel in its image, is no cell: left out, counted. Polygons are
  clipped to the image as COCO clips them; what lies outside altogether has no pixel.
- What is to be ignored (``iscrowd``, ``ignore_flag``) stays, and is counted: no cell to score or to learn from.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cellseg_mmdet.annotations.faults import Fault, Faults, OnError
from cellseg_mmdet.annotations.layout import Parsed, layout_of
from cellseg_mmdet.annotations.sets import check_set
from cellseg_mmdet.errors import DataError, shortened, shown
from cellseg_mmdet.fields import Identifier
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.masks.parsing import parse_masks
from cellseg_mmdet.masks.polygons import segmentations_to_runs

NO_PIXEL = "without a pixel in the image"
EMPTY_BOX = "with an empty box"
# A bitmap in its box is what training makes of a mask: no cell is 16,000 pixels high and wide.
_MAX_BOX_PX = 2**28


@dataclass(frozen=True, eq=False)
class Checked:
    """An annotation file of which every entry can be used.

    Attributes:
        classes: class names in the order of the labels.
        images: as `Parsed` has them.
        masks: of the instances of each image that have one; None where they were not asked for.
        faults: the entries that were left out.
        said: sentences for the log: what was left out, what is odd.
        category_ids: as `Parsed` has them.
    """

    classes: tuple[str, ...]
    images: list[dict[str, Any]]
    masks: list[Runs] | None
    faults: list[Fault]
    said: list[str]
    category_ids: tuple[Identifier, ...] = ()


def read_checked(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    on_error: OnError = "stop",
    need_masks: bool = True,
    keep_masks: bool = True,
    may_be_nothing: bool = False,
) -> Checked:
    """Read an annotation file of any layout and check every entry.

    Args:
        path: the file.
        name: what messages call it; by default its path.
        on_error: 'stop' for an error that names the faults; 'skip' to leave these entries out.
        need_masks: whether an annotation without a mask is a fault.
        keep_masks: whether the decoded masks are returned; they are checked in any case.
        may_be_nothing: whether annotations of which none can be used are no error.

    Raises:
        FileNotFoundError: there is no such file.
        AnnotationError: it has faults, and ``on_error`` is 'stop'.
        DataError: it is damaged or of no layout that is known, of another conversion than the files beside it, or none
            of its annotations can be used.

    Example:
        >>> from cellseg_mmdet import ImageRecord, Runs
        >>> from cellseg_mmdet.annotations import write_annotations
        >>> masks = Runs.from_label_map(np.array([[1, 1, 0, 2]]))
        >>> write_annotations("a.json", [ImageRecord("a.png", 1, 4, masks, ("cort", "cort"))])
        >>> checked = read_checked("a.json")
        >>> checked.classes, checked.masks, checked.said
        (('cort',), [Runs(2 instances, 2 runs, height=1, width=4)], [])
    """
    layout = layout_of(path)
    faults = Faults(os.fspath(path) if name is None else name)
    content = layout.load(path)
    check_set(path if name is None else name, content)
    parsed = layout.parse(content, faults)
    masks = [runs if keep_masks else None for runs in _validate(parsed, faults, need_masks)]
    _note(parsed, faults)
    said = faults.settle(on_error)
    if (
        parsed.number
        and not may_be_nothing
        and not any(image["instances"] for image in parsed.images)
    ):
        cause = f"none of its {parsed.number} annotations can be used. {' '.join(said)}"
        raise faults.whole_file(shortened(cause, 1500))
    return Checked(
        parsed.classes,
        parsed.images,
        masks if keep_masks else None,  # type: ignore[arg-type]
        faults.found,
        said,
        parsed.category_ids,
    )


def _validate(parsed: Parsed, faults: Faults, need_masks: bool) -> Iterator[Runs]:
    """Keep of the instances of each image those that can be used, and yield their masks."""
    for image in parsed.images:
        instances = []
        for instance in image["instances"]:
            x1, y1, x2, y2 = instance["bbox"]
            if x2 <= x1 or y2 <= y1:
                faults.left_out[EMPTY_BOX] += 1
            elif need_masks and ("mask" not in instance or _is_nothing(instance["mask"])):
                cause = "has no mask; a mask is an RLE or polygons, convert with masks"
                faults.add(instance["entry"], "no mask", cause, image["img_path"])
            else:
                instances.append(instance)
        image["instances"], masks = _masked(image, instances, faults)
        for instance in image["instances"]:
            del instance["entry"]
        yield masks


def _is_nothing(mask: Any) -> bool:
    return isinstance(mask, list | tuple) and not mask


def _masked(
    image: dict[str, Any], instances: list[dict[str, Any]], faults: Faults
) -> tuple[list[dict[str, Any]], Runs]:
    """Return the instances whose mask can be used, or that have none, and the masks of those that have."""
    height, width = image["height"], image["width"]
    masked = [number for number, instance in enumerate(instances) if "mask" in instance]
    parse = partial(segmentations_to_runs, height=height, width=width)
    masks, causes = parse_masks(parse, [instances[number]["mask"] for number in masked])
    for index, cause in causes.items():
        entry = instances[masked[index]]["entry"]
        faults.add(entry, "mask that cannot be read", f"its mask: {cause}", image["img_path"])
    readable = [number for index, number in enumerate(masked) if index not in causes]
    dropped = {masked[index] for index in causes}

    boxes = masks.boxes
    too_large = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) > _MAX_BOX_PX
    has_pixels = masks.areas > 0
    for number, is_large, has_pixel in zip(readable, too_large, has_pixels, strict=True):
        if is_large:
            cause = f"its mask lies in a box of more than {_MAX_BOX_PX} pixels, which no cell does"
            faults.add(instances[number]["entry"], "mask too large", cause, image["img_path"])
        elif not has_pixel:
            faults.left_out[NO_PIXEL] += 1
    apart = _apart([instances[number]["bbox"] for number in readable], boxes) & has_pixels
    for index in np.flatnonzero(apart & ~too_large).tolist():
        instance, (x1, y1, x2, y2) = instances[readable[index]], boxes[index].tolist()
        cause = f"its box {shown(instance['bbox'])} is not where its mask is, in x {x1} to {x2} and y {y1} to {y2}"
        faults.add(instance["entry"], "box apart from its mask", cause, image["img_path"])
    usable = has_pixels & ~too_large & ~apart
    if not usable.all():
        dropped |= {number for number, use in zip(readable, usable, strict=True) if not use}
        masks = masks[usable]
    if dropped:
        instances = [one for number, one in enumerate(instances) if number not in dropped]
    return instances, masks


def _apart(given: list[list[float]], boxes: np.ndarray) -> np.ndarray:
    """Return whether the boxes of annotations and those of their masks, (N, 4) xyxy, have no point in common."""
    found = np.array(given, dtype=np.float64).reshape(-1, 4)
    return (
        (found[:, 0] > boxes[:, 2])
        | (found[:, 1] > boxes[:, 3])
        | (found[:, 2] < boxes[:, 0])
        | (found[:, 3] < boxes[:, 1])
    )


def _note(parsed: Parsed, faults: Faults) -> None:
    """Enter what is odd about the file as a whole."""
    flags = [one["ignore_flag"] for image in parsed.images for one in image["instances"]]
    ignored = sum(flags)
    if ignored:
        note = f"{ignored} of {len(flags)} annotations are to be ignored (iscrowd or ignore_flag is 1): no cells"
        if 2 * ignored > len(flags):
            note += (
                ". That is most of them: tools for annotation export brush masks as RLE with iscrowd=1. "
                "If they are cells, set iscrowd to 0"
            )
        faults.notes.append(note)


def unused_classes(classes: tuple[str, ...], images: list[dict[str, Any]]) -> list[str]:
    """Return the classes that no instance of the images is of."""
    seen = Counter(one["bbox_label"] for image in images for one in image["instances"])
    return [name for label, name in enumerate(classes) if label not in seen]


def merged(parts: list[Checked], sources: list[str]) -> Checked:
    """Return several files as one.

    Raises:
        DataError: they have other classes, or an image is in two of them.

    Example:
        >>> part = Checked(("cell",), [], [], [], ["a.json: 2 left out"])
        >>> merged([part, part], ["a.json", "b.json"]).classes
        ('cell',)
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    known: dict[str, str] = {}
    for part, source in zip(parts, sources, strict=True):
        if set(part.classes) != set(first.classes):
            raise DataError(
                f"{sources[0]} has the classes {first.classes}, {source} has {part.classes}: those of files that are "
                "read as one must be the same; write all classes into the categories of both"
            )
        for image in part.images:
            if known.setdefault(image["img_path"], source) != source:
                raise DataError(
                    f"{image['img_path']} is in {known[image['img_path']]} and in {source}; "
                    "files that are read as one are of different images"
                )
    label_of = {name: label for label, name in enumerate(first.classes)}
    for part in parts[1:]:
        for image in part.images:
            for instance in image["instances"]:
                instance["bbox_label"] = label_of[part.classes[instance["bbox_label"]]]
    images = [image for part in parts for image in part.images]
    for number, image in enumerate(images, start=1):
        image["img_id"] = number  # those of the files may be the same
    return Checked(
        first.classes,
        images,
        None if first.masks is None else [masks for part in parts for masks in part.masks or ()],
        [fault for part in parts for fault in part.faults],
        [sentence for part in parts for sentence in part.said],
    )
