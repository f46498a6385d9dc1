"""How much memory there is, and how much a picture takes that is predicted as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from cellseg_mmdet.tiling.receptive_field import peak_bytes_per_px

# Of what is free, by default; the rest is for whoever else is on the machine.
SHARE = 0.5
# Decoding maps as a whole takes label maps, vectors and lists of pixels.
DECODING_BYTES_PER_PX = 100
# What operators use inside comes on top of the tensors between them.
OVERHEAD = 1.3
# Pictures that fit if this is what a pixel takes are not looked at any closer.
MOST_BYTES_PER_PX = 5000


def free_bytes(device: torch.device | str = "cpu") -> int:
    """Return the memory of a device that is free; for this process, where a container limits it.

    Example:
        >>> free_bytes() > 0
        True
    """
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = _of_the_machine()
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        try:
            left = int(Path(limit).read_text()) - int(Path(used).read_text())
        except (OSError, ValueError):  # no such file, or 'max'
            continue
        free = min(free, max(left, 0))
    return free


def _of_the_machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 << 30


def network_bytes_per_px(model: nn.Module) -> float:
    """Return the memory by pixel of its input that a detector's backbone and neck take at their most."""
    device = next(model.parameters()).device
    first = (part.in_channels for part in model.modules() if isinstance(part, nn.Conv2d))
    example = torch.zeros(1, next(first, 3), 256, 256, device=device)

    def forward(image: Tensor) -> object:
        return model._forward(image) if hasattr(model, "code") else model.extract_feat(image)

    return OVERHEAD * peak_bytes_per_px(model, example, forward)
