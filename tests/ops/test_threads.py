from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cellseg_mmdet.ops.cpu.nms import nms
from cellseg_mmdet.ops.cpu.roi_align import roi_align_forward
from cellseg_mmdet.ops.threads import share_out

ROOT = Path(__file__).resolve().parents[2]


@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 50))
def test_every_item_is_done_once(count, threads, grain):
    done = np.zeros(count, dtype=int)

    def work(start: int, stop: int) -> None:
        done[start:stop] += 1

    share_out(work, count, threads, grain)
    assert (done == 1).all()


def test_an_error_of_a_range_is_raised_when_all_have_ended():
    ended = []

    def work(start: int, stop: int) -> None:
        if start == 0:
            raise KeyError(start)
        ended.append(start)

    with pytest.raises(KeyError):
        share_out(work, 6, threads=3)
    assert sorted(ended) == [2, 4]


def some_work() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 8, 30, 30, generator=generator)
    corner = 20 * torch.rand(400, 2, generator=generator)
    boxes = torch.cat([corner, corner + 8], 1)
    rois = torch.cat([torch.zeros(400, 1), boxes], 1)
    output = torch.zeros(400, 8, 7, 7)
    empty = torch.zeros(0)
    roi_align_forward(pixels, rois, output, empty, empty, 7, 7, 1.0, 0, 1, True)
    return output, nms(boxes, torch.rand(400, generator=generator), 0.5, 0)


def test_python_threads_may_enter_at_once():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    expected = some_work()
    gate = threading.Barrier(6)

    def enter(_: int):
        gate.wait()
        return [some_work() for _ in range(5)]

    try:
        with ThreadPoolExecutor(6) as pool:
            found = [result for results in pool.map(enter, range(6)) for result in results]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for result in found for a, b in zip(result, expected, strict=True))


def _squares(threads: int) -> np.ndarray:
    values = np.zeros(50)

    def work(start: int, stop: int) -> None:
        values[start:stop] = np.arange(start, stop) ** 2

    share_out(work, 50, threads)
    return values


def _send_squares(connection) -> None:
    connection.send(_squares(3))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
def test_a_forked_worker_has_threads_of_its_own():
    expected = _squares(3)  # the pool is there when the worker is forked
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    worker = context.Process(target=_send_squares, args=(there,), daemon=True)
    worker.start()
    arrived = here.poll(30)
    found = here.recv() if arrived else None
    worker.kill()
    worker.join()
    assert np.array_equal(found, expected)


READ_ONLY = """
import sys
from numba.core import caching
for name in ("_InTreeCacheLocator", "_UserWideCacheLocator", "_UserProvidedCacheLocator", "_IPythonCacheLocator"):
    locator = getattr(caching, name, None)
    if locator is not None:
        locator.from_function = classmethod(lambda *_: None)
for name in ("_InTreeCacheLocatorFsAgnostic", "_ZipCacheLocator"):
    locator = getattr(caching, name, None)
    if locator is not None:
        locator.from_function = classmethod(lambda *_: None)
import torch
from cellseg_mmdet.ops.cpu.nms import nms
print(nms(torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), torch.tensor([1.0, 2.0]), 0.5, 0).tolist())
"""


@pytest.mark.slow
def test_kernels_run_where_no_folder_can_be_written():
    command = [sys.executable, "-c", READ_ONLY]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == "[1]\n", result.stderr
