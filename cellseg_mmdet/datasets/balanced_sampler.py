"""A sampler that shows rare kinds of images more often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sized

import torch
from mmdet.registry import DATA_SAMPLERS
from mmengine.dataset import InfiniteSampler

from cellseg_mmdet.errors import ConfigError


@DATA_SAMPLERS.register_module()
class BalancedInfiniteSampler(InfiniteSampler):
    """mmengine's ``InfiniteSampler``, which draws with replacement: images of rare kinds more often.

    A kind of n images is drawn in proportion to n ** power; within a kind all images are alike.

    Args:
        dataset: of which each entry of ``get_data_info`` has ``key``.
        key: what tells kinds apart.
        power: 1 draws all images alike, 0 all kinds alike.
        seed: of the order; by default a random one, shared by all processes.

    Raises:
        ConfigError: ``power`` is not in [0, 1], or the images have no ``key``.
    """

    def __init__(
        self, dataset: Sized, key: str = "cell_type", power: float = 0.5, seed: int | None = None
    ) -> None:
        if not 0 <= power <= 1:
            raise ConfigError(f"BalancedInfiniteSampler: power={power} must be in [0, 1]")
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]  # type: ignore[attr-defined]
        if any(key not in info for info in infos):
            raise ConfigError(f"BalancedInfiniteSampler: the images have no {key!r}")
        kinds = [info[key] for info in infos]
        counts = Counter(kinds)
        self.weights = torch.tensor(
            [counts[kind] ** (power - 1.0) for kind in kinds], dtype=torch.float64
        )
        super().__init__(dataset, shuffle=True, seed=seed)

    def _infinite_indices(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(self.seed)
        while True:
            drawn = torch.multinomial(
                self.weights, self.size, replacement=True, generator=generator
            )
            yield from drawn.tolist()
