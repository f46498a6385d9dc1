"""Several processes on machines without a GPU, where mmengine itself only knows CUDA.

mmengine binds every process of a launcher to a CUDA device and gives that device to
DistributedDataParallel. It skips the first where a process group exists already, and the second
where the config says otherwise: both are done here, and nothing at all is done where there is a
GPU.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log

from cellseg_mmdet.errors import UsageError

# Where each launcher says its rank, number of processes, and rank within the machine.
_RANK_VARIABLES = {
    "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}
_SYNC_BN = ("SyncBN", "MMSyncBN")
_SYNC_BN_ONLY = ("group", "stats_mode", "process_group")


@contextlib.contextmanager
def process_group(launcher: str, dist_cfg: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Hold a process group for a block: gloo without a GPU, else the one that mmengine makes.

    After an error it stays, for the processes that still wait in it would keep this one from
    ending.

    Raises:
        UsageError: this process was not started by the launcher that it was told.
    """
    if launcher != "none":
        check_launched_by(launcher)
        if get_device() == "cpu" and not torch.distributed.is_initialized():
            _init_gloo(launcher, dist_cfg or {})
    yield
    if launcher != "none" and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def check_launched_by(launcher: str) -> None:
    """Raise UsageError where the launcher's environment is missing, later a bare KeyError."""
    missing = [name for name in _RANK_VARIABLES[launcher] if name not in os.environ]
    if missing:
        raise UsageError(
            f"--launcher {launcher} was given, but {', '.join(missing)} is not set: start several "
            "processes by tools/dist_*.sh or tools/slurm_*.sh, and one without --launcher"
        )


def _init_gloo(launcher: str, dist_cfg: Mapping[str, Any]) -> None:
    for name, theirs in zip(
        ("RANK", "WORLD_SIZE", "LOCAL_RANK"), _RANK_VARIABLES[launcher], strict=True
    ):
        os.environ[name] = os.environ[theirs]
    os.environ.setdefault("MASTER_PORT", "29500")
    if launcher == "slurm" and "MASTER_ADDR" not in os.environ:
        nodes = subprocess.run(
            ["scontrol", "show", "hostnames", os.environ["SLURM_NODELIST"]],
            check=True,
            capture_output=True,
            text=True,
        )
        os.environ["MASTER_ADDR"] = nodes.stdout.split()[0]
    seconds = dist_cfg.get("timeout")
    torch.distributed.init_process_group(
        "gloo", timeout=None if seconds is None else timedelta(seconds=seconds)
    )


def revert_sync_bn(cfg: Config, launcher: str) -> None:
    """Make SyncBN a BN where there is one process or no GPU: it needs several, and CUDA.

    The weights have the same names and shapes in both.
    """
    if launcher != "none" and get_device() != "cpu":
        return
    count = _revert_norms(cfg.model)
    if cfg.pop("sync_bn", None):  # asks mmengine to convert each BN
        count += 1
    if count:
        why = "there is no GPU" if get_device() == "cpu" else "there is one process"
        print_log(f"SyncBN becomes BN ({count} settings of the model): {why}.", logger="current")


def _revert_norms(node: Any) -> int:
    """Revert the dicts below ``node`` in place and return how many they were."""
    if isinstance(node, dict):
        found = node.get("type") in _SYNC_BN
        if found:
            node["type"] = "BN"
            for key in _SYNC_BN_ONLY:
                node.pop(key, None)
        return found + sum(_revert_norms(value) for value in node.values())
    if isinstance(node, (list, tuple)):
        return sum(_revert_norms(value) for value in node)
    return 0


def adapt_model_wrapper(cfg: Config, launcher: str) -> None:
    """Keep mmengine from giving a device id to DistributedDataParallel, which refuses it on CPU."""
    if launcher == "none" or get_device() != "cpu":
        return
    wrapper = cfg.get("model_wrapper_cfg") or {
        "type": "MMDistributedDataParallel",
        "broadcast_buffers": False,
        "find_unused_parameters": cfg.get("find_unused_parameters", False),
    }
    cfg.model_wrapper_cfg = {**wrapper, "device_ids": None}
