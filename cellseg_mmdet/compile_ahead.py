"""The kernels of a first run, compiled in other processes while this one still loads torch.

``python -m cellseg_mmdet.compile_ahead decode measure`` compiles them, and numba keeps them for all processes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cellseg_mmdet.images import read_image
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.measure import intensity, measure_image
from cellseg_mmdet.ops.kernels import is_kept
from cellseg_mmdet.pixel_codes import flow
from cellseg_mmdet.processes import begin_worker
from cellseg_mmdet.progress import available_cores
from cellseg_mmdet.structures import ImagePrediction


class Part(NamedTuple):
    """Kernels that are compiled one after the other.

    Attributes:
        compile: calls them all.
        is_kept: whether the last one of them is kept from an earlier process.
    """

    compile: Callable[[], None]
    is_kept: Callable[[], bool]


@contextlib.contextmanager
def compiled_ahead(names: Sequence[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Compile what is not kept, a process for each part, while the block runs.

    A kernel that the block calls meanwhile is loaded if it is ready, else compiled here as well: nothing waits. The
    processes end with the block. On one core there is nothing to gain, and none is started.

    Args:
        names: of `PARTS`.

    Example:
        >>> with compiled_ahead([]) as processes:
        ...     len(processes)
        0
    """
    missing = [name for name in names if available_cores() > 1 and not PARTS[name].is_kept()]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "cellseg_mmdet.compile_ahead",
                name,
                "--parent",
                str(os.getpid()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in missing
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _decode() -> None:
    """Decode a cell in a ring-shaped one, which is looked at twice."""
    y, x = np.mgrid[:48, :48] - 24
    radius = np.hypot(y, x)
    labels = np.where(radius < 8, 1, 2 * ((radius > 11) & (radius < 14))).astype(np.int32)
    code = flow.FlowCode()
    maps = code.encode_labels(labels).maps
    code.decode(maps)


def _measure() -> None:
    """Measure two cells of a gray picture."""
    labels = np.zeros((24, 24), dtype=np.int32)
    labels[4:10, 4:10], labels[12:20, 11:20] = 1, 2
    masks = Runs.from_label_map(labels)
    found = ImagePrediction(
        "two", 1, 24, 24, masks.boxes, np.ones(2), np.zeros(2, dtype=np.int64), masks
    )
    measure_image(found, ["cell"], read_image(labels.astype(np.uint8)))


PARTS = {
    "decode": Part(_decode, lambda: is_kept(flow._compare)),
    "measure": Part(_measure, lambda: is_kept(intensity._intensities)),
}


def main(words: Sequence[str]) -> None:
    """Compile the named parts."""
    if "--parent" in words:
        place = words.index("--parent")
        begin_worker(int(words[place + 1]))
        words = words[:place]
    for name in words:
        PARTS[name].compile()


if __name__ == "__main__":
    main(sys.argv[1:])
