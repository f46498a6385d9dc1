"""Which planes of a stack are meant: channel, z, t, scene. Nothing is dropped and nothing guessed."""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.images.image import RGB
from cellseg_mmdet.images.scene import Scene

MAX: Literal["max"] = "max"
_NAMES = {"C": "channels", "Z": "z", "T": "times"}
_OPTIONS = {"C": "--channel", "Z": "--z", "T": "--t"}
# What is read one by one; a header may say any number.
_MAX_PLANES = 1 << 18


@dataclass(frozen=True)
class PlaneSelection:
    """What of a file is read; indices count from 0.

    Attributes:
        channel: channels by index or name, in the order in which they become those of the picture.
        z: a plane, or 'max' for the largest value along z.
        t: a time.
        scene: by index or name.
        planes: 'each' makes every plane that is not selected otherwise an image of its own; a number selects one plane
            along an axis without a name, as that of a plain multi-page file.
        level: 0 for the full size, 1 for the first reduced size that the file holds (of a pyramid), and so on.

    Example:
        >>> PlaneSelection(channel=(0,), z="max")
        PlaneSelection(channel=(0,), z='max', t=None, scene=None, planes=None, level=0)
    """

    channel: tuple[int | str, ...] | None = None
    z: int | Literal["max"] | None = None
    t: int | None = None
    scene: int | str | None = None
    planes: int | Literal["each"] | None = None
    level: int = 0


@dataclass(frozen=True)
class Plane:
    """One picture of a scene.

    Attributes:
        at: index, or 'max', on each axis but Y, X, S and C.
        channels: indices along C; None where there is no such axis.
        label: of the axes that the scene was taken apart along, as ``t0_z3``; '' for none.
    """

    at: Mapping[str, int | Literal["max"]]
    channels: tuple[int, ...] | None
    label: str


def planes_of(scene: Scene, selection: PlaneSelection, fixed: Mapping[str, int]) -> Iterator[Plane]:
    """Return, to be made one by one, the pictures of a scene that are meant; one, unless it says ``planes='each'``.

    Args:
        scene: with its axes.
        selection: of the user.
        fixed: axis -> index of an `ImageKey`, which win over the selection.

    Raises:
        ImageError: an axis of several planes is not selected, or an index does not exist; without the file's name.
    """
    sizes = {axis: size for axis, size in scene.sizes.items() if axis not in "YXS"}
    unnamed = [axis for axis, size in sizes.items() if axis not in "CZT" and size > 1]
    choices: dict[str, Sequence[Any]] = {}
    apart: list[str] = []
    for axis, size in sizes.items():
        chosen = fixed.get(axis, _chosen(axis, scene, selection, unnamed, sizes))
        if chosen is None and size > 1:
            if selection.planes != "each":
                raise ImageError(_unselected(scene))
            apart.append(axis)
            choices[axis] = [(index,) for index in range(size)] if axis == "C" else range(size)
        elif axis == "C":
            choices[axis] = [_as_tuple(0 if chosen is None else chosen)]
        else:
            choices[axis] = [0 if chosen is None else chosen]
        if axis in fixed:
            apart.append(axis)
        _check(axis, choices[axis][0], size)
    _check_absent(scene, selection, sizes, takes_z=len(unnamed) == 1)
    _check_number(sizes, choices)
    return (
        _plane(dict(zip(choices, values, strict=True)), apart)
        for values in itertools.product(*choices.values())
    )


def _plane(at: dict[str, Any], apart: Sequence[str]) -> Plane:
    channels = at.pop("C", None)
    label = "_".join(f"{axis.lower()}{channels[0] if axis == 'C' else at[axis]}" for axis in apart)
    return Plane(at, channels, label)


def scene_index(scenes: Sequence[Scene], selection: PlaneSelection) -> list[int]:
    """Return the indices of the scenes that are meant.

    Raises:
        ImageError: there are several and none is selected, or the one selected does not exist.
    """
    names = [scene.name for scene in scenes]
    shown = ", ".join(
        f"{number} ({name})" if name else str(number) for number, name in enumerate(names)
    )
    if selection.scene is None:
        if len(scenes) == 1:
            return [0]
        if selection.planes == "each":
            return list(range(len(scenes)))
        raise ImageError(
            f"holds {len(scenes)} scenes, {shown}: select one with --scene, or take all with --planes each"
        )
    if isinstance(selection.scene, int) or str(selection.scene).isdecimal():
        index = int(selection.scene)
        if 0 <= index < len(scenes):
            return [index]
    elif selection.scene in names:
        return [names.index(selection.scene)]
    raise ImageError(f"has no scene {selection.scene!r}; there are {shown}")


def add_plane_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--channel --z --t --scene --planes --level`` to a command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_plane_arguments(parser)
        >>> selection_from(parser.parse_args(["--z", "max"])).z
        'max'
    """
    group = parser.add_argument_group("planes of stacks", "indices count from 0")
    group.add_argument(
        "--channel",
        type=lambda text: tuple(_number_or_name(part) for part in text.split(",")),
        help="channels by index or name, several with commas between them",
    )
    group.add_argument("--z", type=_z, help="a plane, or max for the largest value along z")
    group.add_argument("--t", type=int, help="a time")
    group.add_argument("--scene", type=_number_or_name, help="a scene by index or name")
    group.add_argument(
        "--planes",
        type=lambda text: "each" if text == "each" else int(text),
        metavar="each|N",
        help="each: every plane is an image of its own; a number: that page of a plain multi-page file",
    )
    group.add_argument(
        "--level",
        type=int,
        default=0,
        metavar="N",
        help="size of a pyramid that is read: 0 is the full one, 1 the next smaller one (default: 0)",
    )


def selection_from(args: argparse.Namespace) -> PlaneSelection:
    """Return the selection that the arguments of `add_plane_arguments` make."""
    return PlaneSelection(args.channel, args.z, args.t, args.scene, args.planes, args.level)


def with_scene(selection: PlaneSelection, scene: int | None) -> PlaneSelection:
    """Return the selection with the scene of an `ImageKey`, if it has one."""
    return selection if scene is None else replace(selection, scene=scene)


def _check_number(sizes: Mapping[str, int], choices: Mapping[str, Sequence[Any]]) -> None:
    """Raise ImageError if more planes are to be read than any file has."""
    apart = math.prod(map(len, choices.values()))
    along = max((sizes[axis] for axis, chosen in choices.items() if chosen[0] == MAX), default=1)
    if apart > _MAX_PLANES or along > _MAX_PLANES:
        raise ImageError(
            f"its header says {max(apart, along)} planes, more than the {_MAX_PLANES} that are read one by one: "
            "it is damaged, or select some (--channel, --z, --t)"
        )


def _chosen(
    axis: str,
    scene: Scene,
    selection: PlaneSelection,
    unnamed: Sequence[str],
    sizes: Mapping[str, int],
) -> Any:
    if axis == "C":
        if selection.channel is None:
            return None
        return tuple(_channel_index(channel, scene) for channel in selection.channel)
    if axis == "Z":
        return selection.z
    if axis == "T":
        return selection.t
    if axis in unnamed and len(unnamed) == 1:
        if isinstance(selection.planes, int):
            return selection.planes
        if "Z" not in sizes:  # a stack whose file does not name its axis
            return selection.z
    return None


def _channel_index(channel: int | str, scene: Scene) -> int:
    if isinstance(channel, int):
        return channel
    if channel in scene.channels:
        return scene.channels.index(channel)
    there = ", ".join(scene.channels) or f"0 to {scene.sizes['C'] - 1}, without names"
    raise ImageError(f"has no channel {channel!r}; there are {there}")


def _check(axis: str, chosen: Any, size: int) -> None:
    for index in _as_tuple(chosen):
        if index != MAX and not 0 <= index < size:
            option = _OPTIONS.get(axis, "--planes")
            what = f"0 to {size - 1}" if size > 1 else "0 only"
            raise ImageError(f"has no plane {index} for {option}; there are {what}")


def _unselected(scene: Scene) -> str:
    parts, options = [], []
    for axis, size in scene.sizes.items():
        if axis in "YXS" or size == 1:
            continue
        names = f" ({', '.join(scene.channels)})" if axis == "C" and any(scene.channels) else ""
        parts.append(f"{size} {_NAMES.get(axis, 'planes')}{names}")
        options.append({"C": "--channel", "Z": "--z (a number or max)", "T": "--t"}.get(axis, ""))
    wanted = [option for option in options if option] or ["--planes with a number"]
    return (
        f"holds {', '.join(parts)} (axes {scene.axes}, shape {' x '.join(map(str, scene.shape))}): select with "
        f"{', '.join(wanted)}, or make every plane an image of its own with --planes each"
    )


def _check_absent(
    scene: Scene, selection: PlaneSelection, sizes: Mapping[str, int], *, takes_z: bool
) -> None:
    """Raise ImageError where a plane is selected along an axis that the file does not have, but for the first."""
    if "C" not in sizes and selection.channel is not None:
        count = scene.sizes.get("S", 1)
        names = scene.channels or (RGB if count == len(RGB) else ("gray",))
        known = [(*range(count),), tuple(names)]
        if selection.channel not in known:
            what = "a colour image" if count > 1 else "an image of one channel"
            raise ImageError(
                f"has no channels to select from for --channel {','.join(map(str, selection.channel))}: it is {what}"
            )
    if "Z" not in sizes and not takes_z and selection.z not in (None, MAX):
        _check("Z", selection.z, 1)
    if "T" not in sizes and selection.t is not None:
        _check("T", selection.t, 1)
    if not takes_z and isinstance(selection.planes, int):
        _check("", selection.planes, 1)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _number_or_name(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _z(text: str) -> int | str:
    return MAX if text == MAX else int(text)
