"""Config files: where the shipped ones lie, how one is found by its name, and how mmengine reads them."""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellseg_mmdet.config_errors import config_error, root_cause
from cellseg_mmdet.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from mmengine.config import Config

PACKAGE = "cellseg_mmdet"
# Where mim and mmengine look for the configs of a package; in a checkout a link to its configs/.
CONFIGS = Path(__file__).parent / ".mim" / "configs"
# Trained models: a folder each, with these files in it.
MODELS = Path(__file__).parent / "shipped"
MODEL_CONFIG, MODEL_WEIGHTS, MODEL_CARD = "config.json", "weights.safetensors", "card.json"
_MAX_NAMED = 5


def shipped_configs() -> dict[str, Path]:
    """Return name -> file of all experiments that come with the package, without the bases they are made of.

    Example:
        >>> shipped_configs()["mask-rcnn_r18_fpn_cpu_sartorius"].name
        'mask-rcnn_r18_fpn_cpu_sartorius.py'
    """
    return {
        path.stem: path for path in sorted(CONFIGS.glob("*/*.py")) if path.parent.name != "_base_"
    }


def shipped_models() -> dict[str, Path]:
    """Return name -> folder of all trained models that come with the package: those whose weights are there.

    Example:
        >>> all((folder / "weights.safetensors").is_file() for folder in shipped_models().values())
        True
    """
    return {path.parent.name: path.parent for path in sorted(MODELS.glob(f"*/{MODEL_WEIGHTS}"))}


def is_model_name(name: str | os.PathLike[str]) -> bool:
    """Return whether this names a trained model that comes with the package, and not a file."""
    return os.fspath(name) in shipped_models() and not Path(name).is_file()


def config_path(config: str | os.PathLike[str]) -> Path:
    """Return the file of a config: a path, else the name of a shipped config or of a shipped model.

    Args:
        config: a file, or ``mask-rcnn_r18_fpn_cpu_sartorius``, with or without ``.py`` and the folder it is in
            (``mask_rcnn/...`` or ``cellseg_mmdet::mask_rcnn/...``), or the name of a model in `shipped_models`.

    Raises:
        UsageError: there is neither such a file nor such a name; similar names are given.

    Example:
        >>> config_path("unet_cpu_sartorius").name
        'unet_cpu_sartorius.py'
    """
    if Path(config).is_file():
        return Path(config)
    models = shipped_models()
    if os.fspath(config) in models:
        return models[os.fspath(config)] / MODEL_CONFIG
    shipped = shipped_configs()
    wanted = os.fspath(config).removeprefix(f"{PACKAGE}::").removesuffix(".py")
    folder, _, name = wanted.rpartition("/")
    found = shipped.get(name)
    if found and folder in ("", found.parent.name):
        return found
    alike = difflib.get_close_matches(name, [*models, *shipped], _MAX_NAMED, cutoff=0.7)
    raise UsageError(
        f"config {config}: there is no such file, and no shipped config or model has this name. "
        + (f"Similar: {', '.join(alike)}" if alike else f"The shipped ones lie in {CONFIGS}")
    )


def as_base(config: str | os.PathLike[str], folder: Path) -> str:
    """Return how a config file in a folder names another as its ``_base_``.

    That is a relative path, and ``cellseg_mmdet::...`` for a shipped config that was named, not given by its path.

    Raises:
        UsageError: see :func:`config_path`.
    """
    path = config_path(config)
    if path.is_relative_to(CONFIGS):
        return f"{PACKAGE}::{path.relative_to(CONFIGS).as_posix()}"
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def read_config(config: str | os.PathLike[str], **options: Any) -> Config:
    """Read a config file, or a shipped config by its name.

    Args:
        config: see :func:`config_path`.
        options: of ``mmengine.config.Config.fromfile``.

    Raises:
        UsageError: see :func:`config_path`.
        ConfigError: it, or one of its bases, cannot be read; the message names file and line.
        OSError: it may not be read, or there is no room for the copy that mmengine makes.
    """
    from mmengine.config import Config

    register_with_mmengine()
    path = config_path(config)
    try:
        cfg = Config.fromfile(path, **options)
    except ImportError as error:
        missing = root_cause(error)
        if not isinstance(missing, ModuleNotFoundError):
            raise  # a fault in a module, whose traceback is needed
        raise ConfigError(
            f"config {path}: {missing}, which custom_imports need; set PYTHONPATH to the folder that it lies in"
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError) and error.errno:
            error.filename = error.filename or tempfile.gettempdir()  # where mmengine copies it to
            raise
        raise config_error(error, path) from error
    _leave_scope(cfg._cfg_dict)
    return cfg


def register_with_mmengine() -> None:
    """Let mmengine find ``_base_ = "cellseg_mmdet::..."``: it asks a table for the packages that have configs."""
    from mmengine.config.utils import MODULE2PACKAGE

    MODULE2PACKAGE.setdefault(PACKAGE, PACKAGE)


def _leave_scope(node: Any) -> None:
    """Drop the mark of what a config took from a ``cellseg_mmdet::`` base: our parts are in mmdet's registries."""
    if isinstance(node, dict):
        if node.get("_scope_") == PACKAGE:
            del node["_scope_"]
        for value in node.values():
            _leave_scope(value)
    elif isinstance(node, list | tuple):
        for value in node:
            _leave_scope(value)
