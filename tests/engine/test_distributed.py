"""What is changed for one process, and for several without a GPU; tests/tools runs them."""

from __future__ import annotations

import os

import pytest
from mmengine.config import Config

from cellseg_mmdet.engine import distributed
from cellseg_mmdet.engine.config import prepare_model_cfg
from cellseg_mmdet.engine.distributed import process_group
from cellseg_mmdet.errors import UsageError

RANK_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
SYNC_BN_MODEL = {
    "type": "MaskRCNN",
    "backbone": {"norm_cfg": {"type": "SyncBN", "requires_grad": True}},
    "roi_head": {
        "bbox_head": [{"norm_cfg": {"type": "MMSyncBN", "stats_mode": "N", "eps": 1e-3}}],
        "mask_head": {"norm_cfg": {"type": "GN", "num_groups": 4}},
    },
}


@pytest.fixture
def device(request, monkeypatch) -> None:
    monkeypatch.setattr(distributed, "get_device", lambda: request.param)


@pytest.mark.parametrize(
    ("device", "launcher"),
    [("cpu", "none"), ("cpu", "pytorch"), ("cuda", "none")],
    indirect=["device"],
)
def test_sync_bn_becomes_bn(device, launcher: str):
    cfg = Config({"model": SYNC_BN_MODEL, "sync_bn": "torch"})

    prepare_model_cfg(cfg, launcher)

    assert cfg.model.backbone.norm_cfg == {"type": "BN", "requires_grad": True}
    assert cfg.model.roi_head.bbox_head[0].norm_cfg == {"type": "BN", "eps": 1e-3}
    assert cfg.model.roi_head.mask_head.norm_cfg == {"type": "GN", "num_groups": 4}
    assert "sync_bn" not in cfg


@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_nothing_changes_for_several_gpus(device):
    before = {"model": SYNC_BN_MODEL, "sync_bn": "torch"}
    cfg = Config(before)

    prepare_model_cfg(cfg, "pytorch")

    assert cfg.to_dict() == before


@pytest.mark.parametrize("device", ["cpu"], indirect=True)
def test_the_log_says_it_once_and_why(device, monkeypatch):
    lines = []
    monkeypatch.setattr(distributed, "print_log", lambda line, **_: lines.append(line))

    prepare_model_cfg(Config({"model": SYNC_BN_MODEL}))
    prepare_model_cfg(Config({"model": {"type": "MaskRCNN"}}))

    assert lines == ["SyncBN becomes BN (2 settings of the model): there is no GPU."]


@pytest.mark.parametrize("device", ["cpu"], indirect=True)
@pytest.mark.parametrize("find_unused", [True, False])
def test_a_cpu_model_is_wrapped_without_a_device(device, find_unused: bool):
    cfg = Config({"model": {}, "find_unused_parameters": find_unused})

    prepare_model_cfg(cfg, "pytorch")

    assert cfg.model_wrapper_cfg == {
        "type": "MMDistributedDataParallel",
        "broadcast_buffers": False,
        "find_unused_parameters": find_unused,
        "device_ids": None,
    }


@pytest.mark.parametrize("device", ["cpu"], indirect=True)
def test_a_wrapper_of_the_config_is_kept(device):
    cfg = Config({"model": {}, "model_wrapper_cfg": {"type": "Mine", "static_graph": True}})

    prepare_model_cfg(cfg, "slurm")

    assert cfg.model_wrapper_cfg == {"type": "Mine", "static_graph": True, "device_ids": None}


@pytest.mark.parametrize("launcher", ["pytorch", "slurm", "mpi"])
def test_a_missing_launcher_is_explained(launcher: str, monkeypatch):
    names = distributed._RANK_VARIABLES[launcher]
    for name in names:
        monkeypatch.delenv(name, raising=False)

    match = f"{', '.join(names)} is not set: start several"
    with pytest.raises(UsageError, match=match), process_group(launcher):
        pass


@pytest.mark.parametrize("device", ["cpu"], indirect=True)
@pytest.mark.parametrize(
    ("launcher", "rank", "world_size", "local_rank", "master"),
    [
        ("pytorch", "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"),
        ("slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NODELIST"),
        (
            "mpi",
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
            "OMPI_COMM_WORLD_LOCAL_RANK",
            "MASTER_ADDR",
        ),
    ],
)
def test_gloo_starts_from_every_launcher(
    device, launcher, rank, world_size, local_rank, master, monkeypatch, tmp_path
):
    for name in RANK_NAMES:
        # set first: what the code under test sets is undone only for names known to monkeypatch
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in ((rank, "3"), (world_size, "4"), (local_rank, "1"), (master, "n1")):
        monkeypatch.setenv(name, value)
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho n1; echo n2\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    started = []

    def init(backend, timeout) -> None:
        started.append((backend, timeout.total_seconds(), *map(os.environ.get, RANK_NAMES)))

    monkeypatch.setattr(distributed.torch.distributed, "init_process_group", init)
    with process_group(launcher, {"backend": "nccl", "timeout": 60}):
        pass

    assert started == [("gloo", 60, "3", "4", "1", "n1", "29500")]
