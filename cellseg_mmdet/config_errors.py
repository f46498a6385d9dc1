"""What is wrong with a config file, in a line that names the file and the line in it."""

from __future__ import annotations

import ast
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from cellseg_mmdet.errors import ConfigError

# Functions of mmengine whose frames hold, as ``filename``, the file that is read.
_MODULE = "mmengine.config.config"
_READERS = ("_file2dict", "_parse_lazy_import")
# The function that calls the class of a part.
_BUILDER = ("mmengine.registry.build_functions", "build_from_cfg")
_MAX_LENGTH = 500


def config_error(error: BaseException, config: str | os.PathLike[str]) -> ConfigError:
    """Return what an exception says that was raised while a config was read.

    Args:
        error: of ``mmengine.config.Config.fromfile``.
        config: the file that was to be read.

    Example:
        >>> config_error(KeyError("model"), "/configs/a.py")
        ConfigError("config /configs/a.py: KeyError: 'model'")
    """
    read = list(_files_read(error.__traceback__)) or [os.path.abspath(config)]
    if isinstance(error, RecursionError):
        loop = _loop(read)
        if loop:
            return ConfigError(
                f"config {loop[0]}: its _base_ leads back to it: {' -> '.join(loop)}"
            )
    path = read[-1]
    if isinstance(error, OSError) and not Path(path).is_file():
        child = read[-2] if len(read) > 1 else os.fspath(config)
        return ConfigError(
            f"config {_at(child, _line_of_base(child))}: its _base_ {path} does not exist"
        )
    return ConfigError(f"config {_at(path, _line(error, path))}: {_told(error)}"[:_MAX_LENGTH])


@contextmanager
def naming_parts(config: str | os.PathLike[str]) -> Iterator[None]:
    """Tell of a part of a config that mmengine cannot build: of a type that there is not, or with other arguments.

    Raises:
        ConfigError: the block builds one.
    """
    try:
        yield
    except (KeyError, TypeError) as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        last = frames[-1]
        # What the part itself does wrong is a fault, of which the traceback is wanted.
        if (last.f_globals.get("__name__"), last.f_code.co_name) != _BUILDER:
            raise
        text = str(error.args[0]) if error.args else type(error).__name__
        part = last.f_locals.get("obj_type")
        name = getattr(part, "__name__", part)
        where = "" if name is None or str(name) in text else f"type {name}: "
        raise ConfigError(
            f"config {config}: {where}{text.split('. Please check')[0]}; parts of your own are named in custom_imports"
            if isinstance(error, KeyError)
            else f"config {config}: {where}{text}"
        ) from error


def root_cause(error: BaseException) -> BaseException:
    """Return the exception that an exception began with."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def _files_read(trace: TracebackType | None) -> Iterator[str]:
    """Yield the config files that were being read, from the first to the innermost."""
    last = None
    for frame, _ in traceback.walk_tb(trace):
        is_reader = frame.f_globals.get("__name__") == _MODULE and frame.f_code.co_name in _READERS
        # An exception that is caught and raised again passes a frame twice.
        if is_reader and frame is not last:
            yield os.path.abspath(os.path.expanduser(frame.f_locals["filename"]))
            last = frame


def _loop(read: list[str]) -> list[str]:
    """Return the first way from a file to itself."""
    for start, path in enumerate(read):
        if path in read[start + 1 :]:
            return read[start : read.index(path, start + 1) + 1]
    return []


def _line(error: BaseException, path: str) -> int | None:
    """Return the line of a file that an exception is about: its own, of the parser, or of what was run."""
    mark = getattr(error, "problem_mark", None)  # yaml
    own = getattr(error, "lineno", None) or (None if mark is None else mark.line + 1)
    if own is not None:
        return own
    lines = [
        line
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == path
    ]
    return lines[-1] if lines else None


def _line_of_base(path: str) -> int | None:
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return None
    for node in tree.body:
        targets: list[Any] = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "_base_" for target in targets):
            return node.lineno
    return None


def _at(path: str, line: int | None) -> str:
    return path if line is None else f"{path}, line {line}"


def _told(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        text = f": {error.text.strip()}" if error.text and error.text.strip() else ""
        return f"syntax error, {error.msg}{text}"
    problem = getattr(error, "problem", None) or getattr(error, "msg", None) or str(error)
    return f"{type(error).__name__}: {' '.join(str(problem).split())}"
