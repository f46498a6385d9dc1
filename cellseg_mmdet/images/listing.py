"""Which pictures are meant by files and folders, and the name of each, unique in a run."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from cellseg_mmdet.errors import ImageError
from cellseg_mmdet.images.scene import FORMATS
from cellseg_mmdet.images.selection import PlaneSelection
from cellseg_mmdet.images.source import open_images
from cellseg_mmdet.images.sources.ome_zarr import is_zarr
from cellseg_mmdet.structures.image_key import ImageKey, safe_name

# What a run of inference keeps in the folder that it writes to; such a folder holds results, not images.
RESULTS_MARK = ".cellseg-run"
_LOG = logging.getLogger(__name__)
# What stands behind the stem of a file in the names of its scenes and planes.
_PLANES = re.compile(r"(?:_s(\d+))?((?:_[a-z]\d+)*)")
# Cellpose writes its results beside the images, as a pickled object.
_CELLPOSE_RESULT = "_seg.npy"


def image_suffixes() -> tuple[str, ...]:
    """Return the suffixes of all formats that are read, in lower case.

    Example:
        >>> {".png", ".tif", ".zarr"} <= set(image_suffixes())
        True
    """
    kinds = [FORMATS.get(name) for name in FORMATS.names()]
    return tuple(suffix for kind in kinds for suffix in kind.suffixes)  # type: ignore[attr-defined]


def is_image(path: PurePath) -> bool:
    """Return whether a name has an image's suffix and is not hidden, as the ``._*`` files are that macOS leaves.

    Example:
        >>> [is_image(Path(name)) for name in ("a.TIF", "a.csv", "._a.tif")]
        [True, False, False]
    """
    name = path.name
    if name.startswith(".") or name.endswith(_CELLPOSE_RESULT):
        return False
    return path.suffix.lower() in image_suffixes()


def list_files(folder: str | os.PathLike[str], *, recursive: bool = False) -> list[Path]:
    """Return the image files and OME-Zarr folders in a folder, sorted; hidden files and folders are left out.

    Raises:
        NotADirectoryError: if there is no such folder.

    Example:
        >>> Path("scan").mkdir()
        >>> for name in ("b.tif", "a.png", "notes.txt", ".hidden.png"):
        ...     Path("scan", name).touch()
        >>> [path.name for path in list_files("scan")]
        ['a.png', 'b.tif']
    """
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"image folder {root} does not exist")
    return sorted(_walk(root, recursive=recursive))


def files_by_stem(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the image files of a folder (not of its sub-folders) by their stem, sorted by name.

    Raises:
        NotADirectoryError: if there is no such folder.
        ImageError: two images share a stem, such as a.png and a.tif: annotations could not tell them apart.

    Example:
        >>> from cellseg_mmdet.visualization.draw import write_picture
        >>> write_picture("plate/a1.png", np.zeros((2, 3), np.uint8))
        >>> files_by_stem("plate")
        {'a1': PosixPath('plate/a1.png')}
    """
    images: dict[str, Path] = {}
    for path in list_files(folder):
        known = images.setdefault(path.stem, path)
        if known != path:
            raise ImageError(
                f"{known.name} and {path.name} in {folder} share the name {path.stem!r}"
            )
    return images


def find_images(
    paths: Iterable[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    selection: PlaneSelection | None = None,
    exclude: Sequence[str | os.PathLike[str]] = (),
) -> list[ImageKey]:
    """Return the pictures that are named, or lie in the folders that are named, with a name unique among them.

    Files keep the order given; those of a folder are sorted. A file named twice counts once. A file of which no header
    can be read counts as one picture: reading it says what is wrong.

    Args:
        paths: files, OME-Zarr folders and folders of such.
        recursive: search sub-folders as well, but for those that hold results of ``cellseg infer``. A folder without an
            image of its own is searched so in any case, and that is logged.
        selection: for ``planes='each'`` headers are read, and every plane is a picture of its own.
        exclude: folders whose content is not taken, such as that of results.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no image.
        ImageError: a file named has no suffix of an image.

    Example:
        ``a/1.png`` and ``b/1.png`` are named ``a_1`` and ``b_1``; ``a.png`` and ``a.tif`` ``a_png`` and ``a_tif``;
        plane 3 of a stack ``stack.tif`` is named ``stack_z3``; any other file by its stem.
    """
    left_out = [Path(os.path.realpath(folder)) for folder in exclude]
    roots: dict[Path, Path] = {}
    seen: set[Path] = set()
    for named in map(Path, paths):
        for path in _images_of(named, recursive=recursive):
            resolved = Path(os.path.realpath(path))  # unlike `resolve`, it lets loops of links be
            if resolved in seen or any(resolved.is_relative_to(folder) for folder in left_out):
                continue
            seen.add(resolved)
            roots[path] = named if named.is_dir() and not is_zarr(named) else named.parent
    keys = [key for path in roots for key in _planes(path, selection)]
    return name_images(keys, roots)


def name_images(keys: Sequence[ImageKey], roots: dict[Path, Path]) -> list[ImageKey]:
    """Return the keys with names that are unique, also where a file system ignores case, and safe as file names.

    A name is the bare stem of the file; where that is not unique, its path from the folder that was named, then with
    the suffix, then with that folder, then with a hash of the path. It does not depend on the order.

    Args:
        keys: without names.
        roots: path -> folder that it was found in.
    """
    level = [0] * len(keys)
    while True:
        names = [
            safe_name(_LEVELS[number](Path(key.path), roots[Path(key.path)])) + _suffix_of(key)
            for key, number in zip(keys, level, strict=True)
        ]
        same = defaultdict(list)
        for index, name in enumerate(names):
            same[name.casefold()].append(index)
        shared = [group for group in same.values() if len(group) > 1]
        raised = [index for group in shared for index in group if level[index] + 1 < len(_LEVELS)]
        if not raised:
            return [replace(key, name=name) for key, name in zip(keys, names, strict=True)]
        for index in raised:
            level[index] += 1


def key_of_name(path: str | os.PathLike[str], name: str) -> ImageKey:
    """Return the key of a picture by its file and the name that `find_images` gave it.

    Example:
        >>> key_of_name("scan/stack.tif", "stack_s1_t0_z3")
        ImageKey(path='scan/stack.tif', scene=1, plane='t0_z3', name='stack_s1_t0_z3')
        >>> key_of_name("b/1.png", "b_1").plane is None
        True
    """
    path = os.fspath(path)
    stem = safe_name(Path(path).stem)
    match = _PLANES.fullmatch(name.removeprefix(stem)) if name.startswith(stem) else None
    if match is None:
        return ImageKey(path, name=name)
    scene, plane = match.groups()
    return ImageKey(path, None if scene is None else int(scene), plane[1:] or None, name)


def _without_suffix(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _without_root(path: Path, root: Path) -> str:
    suffix = f"_{path.suffix[1:]}" if path.suffix else ""
    return _without_suffix(path, root) + suffix


def _with_root(path: Path, root: Path) -> str:
    return f"{Path(os.path.realpath(root)).name}/{_without_root(path, root)}"


_LEVELS: tuple[Callable[[Path, Path], str], ...] = (
    lambda path, root: path.stem,
    _without_suffix,
    _without_root,
    _with_root,
    lambda path, root: f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:10]}",
)


def _suffix_of(key: ImageKey) -> str:
    scene = "" if key.scene is None else f"_s{key.scene}"
    return scene + (f"_{key.plane}" if key.plane else "")


def _planes(path: Path, selection: PlaneSelection | None) -> list[ImageKey]:
    whole = ImageKey(str(path))
    if selection is None or selection.planes != "each":
        return [whole]
    try:
        sources = open_images(whole, selection)
    except ImageError:
        return [whole]
    sources[0].close()
    return [replace(source.key, name="") for source in sources]


def _walk(folder: Path, *, recursive: bool) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if is_zarr(path):
                yield path
            elif recursive and not (path / RESULTS_MARK).is_dir():
                yield from _walk(path, recursive=True)
        elif is_image(path) and path.is_file():
            yield path


def _images_of(path: Path, *, recursive: bool) -> list[Path]:
    if path.is_file():
        if path.suffix.lower() not in image_suffixes():
            raise ImageError(
                f"{path}: the suffix is not that of an image; allowed are {', '.join(image_suffixes())}"
            )
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such image or folder")
    if is_zarr(path):
        return [path]
    found = list_files(path, recursive=recursive)
    if not found and not recursive:
        found = list_files(path, recursive=True)
        if found:
            _LOG.warning(
                "%s: no image in the folder itself; the %d in its sub-folders are taken",
                path,
                len(found),
            )
    if not found:
        raise FileNotFoundError(
            f"{path}: no image in this folder and its sub-folders; suffixes are {', '.join(image_suffixes())}"
        )
    return found
