"""Losses and metrics of trainings as curves, from what mmengine writes to ``vis_data/scalars.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.errors import DataError, UsageError, needs
from cellseg_mmdet.fileio import atomic_write

SUFFIXES = (".png", ".svg", ".pdf")
# Logged with the losses and the metrics, and neither of them.
_CLOCKS = ("time", "data_time", "memory", "eta")
_OPTIMIZER = ("lr", "base_lr", "momentum", "grad_norm")
_PLACES = ("epoch", "iter", "step")
_COLUMNS, _PANEL_INCHES = 3, (4.6, 3.2)


@dataclass(frozen=True, eq=False)
class Curve:
    """One quantity of one run.

    Attributes:
        x: (N,) where it was logged, ascending: iterations in training, what ``x_label`` says in validation.
        y: (N,) its values; nan where the training had none.
        x_label: 'iteration' or 'epoch'.
    """

    x: np.ndarray
    y: np.ndarray
    x_label: str


def read_curves(work_dir: str | os.PathLike[str]) -> dict[str, Curve]:
    """Read all that a training logged, by name, in the order of the log.

    A training that was resumed has a log for each start. From the first step that a later log holds, it takes the
    place of the earlier ones: what was done after the checkpoint, and lost, is not drawn.

    Raises:
        FileNotFoundError: if there is no log of a training in the folder.
        DataError: if a log is damaged; the message names file and line.
    """
    # The folders are named by the time of the start.
    logs = sorted(Path(work_dir).glob("*/vis_data/scalars.json"))
    merged: dict[str, dict[str, dict[int, float]]] = {"train": {}, "val": {}}
    by_epoch = False
    for log in logs:
        for kind, rows in _read_log(log).items():
            by_epoch |= kind == "train" and any("epoch" in row for row in rows)
            _continue_with(merged[kind], rows)
    if not any(merged.values()):
        raise FileNotFoundError(
            f"{work_dir}: no log of a training in it; it would be in <time of the start>/vis_data/scalars.json"
        )
    val_label = "epoch" if by_epoch else "iteration"
    return {
        name: _to_curve(values, "iteration" if kind == "train" else val_label)
        for kind, curves in merged.items()
        for name, values in curves.items()
    }


def select_keys(runs: Mapping[str, Mapping[str, Curve]], patterns: Sequence[str]) -> list[str]:
    """Return the names of the curves to draw, in the order of the logs: losses and metrics, or what is asked for.

    Args:
        patterns: names, or patterns such as ``loss*`` and ``cell/*``; none for all losses and all that training and
            validation measured.

    Raises:
        UsageError: a pattern fits no curve; the message lists the names there are.
    """
    names = list(dict.fromkeys(name for curves in runs.values() for name in curves))
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(f"no curve is named {pattern!r}; there are {', '.join(names)}")
    if patterns:
        return [name for name in names if any(fnmatchcase(name, p) for p in patterns)]
    return [name for name in names if name not in _OPTIMIZER]


def smooth(values: np.ndarray, num_values: int) -> np.ndarray:
    """Return the mean (N,) of each value and those before it, ``num_values`` in all; nan is passed over."""
    known = np.isfinite(values)
    total = np.cumsum(np.where(known, values, 0.0))
    count = np.cumsum(known)
    total[num_values:] -= total[:-num_values].copy()
    count[num_values:] -= count[:-num_values].copy()
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def name_runs(work_dirs: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the shortest ends of the folders' paths that tell them apart.

    Raises:
        UsageError: a folder is given twice.
    """
    paths = [Path(os.path.realpath(work_dir)) for work_dir in work_dirs]
    if len(set(paths)) != len(paths):
        raise UsageError("a work dir is given twice")
    longest = max(len(path.parts) for path in paths)
    tails = (["/".join(path.parts[-n:]) for path in paths] for n in range(1, longest + 1))
    return next(names for names in tails if len(set(names)) == len(names))


def plot_curves(
    path: str | os.PathLike[str],
    runs: Mapping[str, Mapping[str, Curve]],
    keys: Sequence[str],
    *,
    smoothing: int = 1,
) -> None:
    """Draw a panel for each key, with a curve for each run that has it.

    Args:
        path: picture to write, ``.png``, ``.svg`` or ``.pdf``.
        runs: name of a run -> what `read_curves` returns.
        keys: names of curves.
        smoothing: values that a drawn one is the mean of; the values themselves are then drawn thin.

    Raises:
        UsageError: for another suffix, or if there is nothing to draw.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: the name of a plot ends with {', '.join(SUFFIXES)}")
    if not keys:
        raise UsageError("the logs hold neither losses nor metrics to draw")
    # By its classes, not by pyplot: that looks for a screen, and keeps what it drew.
    with needs("plot"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(keys))
    rows = -(-len(keys) // columns)
    size = _PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows + 0.4
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, key in zip(panels, keys, strict=False):
        _draw_panel(panel, key, runs, smoothing)
    for panel in panels[len(keys) :]:
        panel.remove()
    _add_legend(figure, list(runs))
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _draw_panel(
    panel: Any, key: str, runs: Mapping[str, Mapping[str, Curve]], smoothing: int
) -> None:
    for number, curves in enumerate(runs.values()):
        curve = curves.get(key)
        if curve is None:
            continue
        color = f"C{number}"
        # A single measurement, such as of the last epoch, is a point: a line would not show it.
        marker = "o" if len(curve.x) < 30 else None
        if smoothing > 1:
            panel.plot(curve.x, curve.y, color=color, alpha=0.25, linewidth=0.8)
        y = smooth(curve.y, smoothing) if smoothing > 1 else curve.y
        panel.plot(curve.x, y, color=color, linewidth=1.6, marker=marker, markersize=4)
        panel.set_xlabel(curve.x_label)
    panel.set_title(key, fontsize=11)
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


def _add_legend(figure: Any, names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=f"C{number}", linewidth=2) for number in range(len(names))]
    figure.legend(lines, names, loc="outside upper left", ncols=min(len(names), 4), frameon=False)


def _read_log(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of training and those of validation."""
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            int(row["step"])
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{path}, line {number}: not a line that mmengine logs: {line[:60]!r}"
            ) from error
        # Training logs its place in all ways, validation its step alone, which counts epochs or iterations.
        rows["train" if "iter" in row else "val"].append(row)
    return rows


def _continue_with(curves: dict[str, dict[int, float]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Let the rows of a later start take the place of all from their first step on."""
    if not rows:
        return
    first = min(int(row["step"]) for row in rows)
    for values in curves.values():
        for step in [step for step in values if step >= first]:
            del values[step]
    for row in rows:
        for name, value in row.items():
            if name not in (*_CLOCKS, *_PLACES) and isinstance(value, int | float):
                curves.setdefault(name, {})[int(row["step"])] = float(value)


def _to_curve(values: Mapping[int, float], x_label: str) -> Curve:
    steps = sorted(values)
    return Curve(np.array(steps), np.array([values[step] for step in steps]), x_label)
