"""What a picture may take of the memory, where several processes have one each."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any, cast

import pytest
import torch
from mmcv.transforms import Compose
from torch import nn

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.images.tile_choice import TileChoice
from cellseg_mmdet.inference import tiled
from cellseg_mmdet.inference.executors import processes
from cellseg_mmdet.inference.tasks import Job
from cellseg_mmdet.inference.tiled import TiledPredictor


def budget_bytes(choice: TileChoice, sharing: int) -> float:
    pipeline, device = Compose([]), torch.device("cpu")
    return TiledPredictor(nn.Module(), pipeline, device, choice, sharing=sharing).budget_bytes


def test_half_of_what_is_free_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled, "free_bytes", lambda device: 8_000_000_000)
    assert budget_bytes(TileChoice(), 1) == 4e9
    assert budget_bytes(TileChoice(), 4) == 1e9
    assert budget_bytes(TileChoice(memory_gb=3), 4) == 3e9  # as the user says


class _Said:
    """The end of a pipe that remembers what was sent."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def send(self, what: Any) -> None:
        self.said.append(what)


class _Model:
    def __init__(self, device: str | None) -> None:
        self.device = device


@pytest.mark.parametrize(
    ("gpus", "device", "sharing"),
    [
        (0, None, 5),  # the CPU
        (1, None, 5),  # one GPU
        (2, None, 3),  # numbers 0, 2 and 4 on the first one
        (2, "cuda", 3),
        (2, "cuda:1", 5),  # all on the one that was named
        (2, "cpu", 5),
    ],
)
def test_workers_know_how_many_share_a_device(
    gpus: int, device: str | None, sharing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def worker(job: Job, device: str | None, sharing: int) -> None:
        given.append(sharing)
        raise UsageError("that is enough")

    monkeypatch.setattr(processes, "Worker", worker)
    monkeypatch.setattr(processes.torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(processes.torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(processes.cv2, "setNumThreads", lambda count: None)
    monkeypatch.setattr(processes.signal, "signal", lambda *_: None)
    pipe = _Said()
    processes._work(Job(cast(Any, _Model(device)), "out"), 1, 5, cast(Connection, pipe))
    assert given == [sharing]
    assert str(pipe.said[0][1]) == "that is enough"
