"""``--data``, ``--fold`` and ``--split``: where the data lies, which fold is held out, and what a test predicts."""

from __future__ import annotations

import argparse
import copy
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from cellseg_mmdet.choices import SPLITS
from cellseg_mmdet.errors import UsageError

_VARIABLES = {"data": "CELLSEG_DATA", "fold": "CELLSEG_FOLD", "split": "CELLSEG_SPLIT"}


@dataclass(frozen=True)
class DataChoice:
    """What a user says of the data; None leaves what the environment says, else the config.

    Args:
        data: folder that holds the data sets, in place of the config's ``data/``.
        fold: number of the fold that is held out.
        split: what a test predicts: ``'val'``, the held-out part, or ``'test'``.

    Example:
        >>> from mmengine.config import Config
        >>> cfg = Config({"fold": 0, "val_evaluator": {"ann_file": "data/val_fold0.json"}})
        >>> choose_data(cfg, DataChoice(fold=1))
        >>> cfg.val_evaluator.ann_file
        'data/val_fold1.json'
    """

    data: str | None = None
    fold: int | None = None
    split: str | None = None

    @classmethod
    def from_arguments(cls, args: argparse.Namespace) -> DataChoice:
        """Return the choice of a command line that has ``--data``, ``--fold`` and ``--split``, or some of them."""
        return cls(**{name: getattr(args, name, None) for name in _VARIABLES})


def choose_data(cfg: Config, choice: DataChoice | None = None) -> None:
    """Write a choice of data into a config, wherever it is meant: data sets, evaluators and what tells of them.

    The config says what it has now by ``data_root``, ``fold``, ``test_split`` and ``test_splits``, as
    ``configs/_base_/datasets/`` shows; a dumped config still does. What the choice leaves open is taken from the
    environment, ``CELLSEG_DATA``, ``CELLSEG_FOLD`` and ``CELLSEG_SPLIT``, where the config has such a thing.

    - ``data``: ``data_root`` is ``data/sartorius/``, so all folders and annotation files below ``data/`` move.
    - ``fold``: ``fold0`` in the names of annotation files becomes ``fold1``; other names stay.
    - ``split``: the test data set gets the entries of ``test_splits[split]``, the metrics its annotation file. There
      are no metrics where it has none.

    Raises:
        UsageError: the folder is not there, fold or split is none, or the config lacks what is to be chosen.
    """
    choice = choice or DataChoice()
    data = _chosen(choice, "data", cfg, needs=("data_root",))
    fold = _chosen(choice, "fold", cfg, needs=("fold",))
    split = _chosen(choice, "split", cfg, needs=("test_split", "test_splits"))
    if choice.data is not None:
        _check_holds(choice.data, _parent_and_name(cfg)[1])
    if data is not None:
        _move(cfg, data)
    if fold is not None:
        _hold_out(cfg, _fold_number(fold))
    if split is not None and split != cfg.test_split:
        _test_on(cfg, split)


def _chosen(choice: DataChoice, name: str, cfg: Config, needs: tuple[str, ...]) -> Any:
    """Return what the user chose, else what the environment says, None for neither."""
    value = getattr(choice, name)
    missing = [key for key in needs if key not in cfg]
    if value is not None and missing:
        raise UsageError(
            f"--{name} {value}: {cfg.filename} has no {' and no '.join(missing)}, so nothing there can be chosen"
        )
    if value is None and not missing:
        value = os.environ.get(_VARIABLES[name]) or None
    return value


def _check_holds(data: str, name: str) -> None:
    if "://" not in data and not Path(data, name).is_dir():
        raise UsageError(
            f"--data {data}: there is no folder {Path(data, name)}; give the folder that holds {name}/"
        )


def _move(cfg: Config, data: str) -> None:
    old, name = _parent_and_name(cfg)
    for part in _dicts(cfg._cfg_dict):
        for key in ("data_root", "ann_file"):
            _change(part, key, partial(_moved, data, old, name))


def _moved(data: str, old: str, name: str, path: str) -> str:
    """Return a path of the data set below the folder ``data``, others as they are."""
    if f"{path}/".startswith(old or f"{name}/"):
        return os.path.join(data, path.removeprefix(old))
    return path


def _parent_and_name(cfg: Config) -> tuple[str, str]:
    """Return ``'data/'`` and ``'sartorius'`` of a ``data_root`` ``'data/sartorius/'``."""
    parent, slash, name = cfg.data_root.rstrip("/").rpartition("/")
    return parent + slash, name


def _fold_number(fold: int | str) -> int:
    try:
        number = int(fold)
    except ValueError:
        number = -1
    if number < 0:
        raise UsageError(f"fold {fold!r} (--fold or CELLSEG_FOLD) is not a number from 0 on")
    return number


def _hold_out(cfg: Config, fold: int) -> None:
    pattern = re.compile(rf"fold{cfg.fold}(?!\d)")
    for part in _dicts(cfg._cfg_dict):
        _change(part, "ann_file", partial(_in_name, pattern, f"fold{fold}"))
    cfg.fold = fold


def _in_name(pattern: re.Pattern[str], new: str, path: str) -> str:
    """Replace a pattern in the name of a file, not in its folder."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + pattern.sub(new, name)


def _change(part: ConfigDict, key: str, change: Callable[[str], str]) -> None:
    """Change a path, or each of a list of paths."""
    value = part.get(key)
    if isinstance(value, str):
        part[key] = change(value)
    elif isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        part[key] = [change(one) for one in value]


def _test_on(cfg: Config, split: str) -> None:
    allowed = [name for name in SPLITS if name in cfg.test_splits]
    if split not in allowed:
        raise UsageError(
            f"split {split!r} (--split or CELLSEG_SPLIT) is none of {cfg.filename}, "
            f"allowed are {' and '.join(map(repr, allowed))}"
        )
    entries = copy.deepcopy(cfg.test_splits[split])
    cfg.test_split = split
    # Leaves write `test_dataloader = val_dataloader`: one object, of which the other part must not change.
    cfg.test_dataloader = copy.deepcopy(cfg.test_dataloader)
    for dataset in _dicts(cfg.test_dataloader.dataset):
        if "ann_file" in dataset:
            dataset.update(entries)
    metrics = copy.deepcopy(cfg.get("test_evaluator") or cfg.get("val_evaluator") or [])
    if not entries["ann_file"]:
        metrics = []
    for part in _dicts(metrics):
        if "ann_file" in part:
            part["ann_file"] = cfg.data_root + entries["ann_file"]
    cfg.test_evaluator = metrics


def _dicts(node: Any) -> Iterator[ConfigDict]:
    """Yield the dicts of a config from the top down, each once."""
    seen: set[int] = set()
    waiting = deque([node])
    while waiting:
        part = waiting.popleft()
        if isinstance(part, dict) and id(part) not in seen:
            seen.add(id(part))
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)
