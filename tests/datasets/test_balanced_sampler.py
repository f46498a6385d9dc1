from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from cellseg_mmdet.datasets import BalancedInfiniteSampler
from cellseg_mmdet.errors import ConfigError


class Kinds:
    """A data set of images that know their kind only."""

    def __init__(self, kinds: str, key: str = "cell_type") -> None:
        self.infos = [{key: kind} for kind in kinds]

    def __len__(self) -> int:
        return len(self.infos)

    def get_data_info(self, index: int) -> dict[str, str]:
        return self.infos[index]


@pytest.mark.parametrize(("power", "share"), [(1.0, 0.1), (0.5, 0.25), (0.0, 0.5)])
def test_a_kind_is_drawn_by_the_power_of_its_count(power: float, share: float) -> None:
    dataset = Kinds("a" * 90 + "b" * 10)
    drawn = list(islice(BalancedInfiniteSampler(dataset, power=power, seed=0), 20_000))
    counts = Counter(dataset.infos[index]["cell_type"] for index in drawn)
    assert counts["b"] / len(drawn) == pytest.approx(share, abs=0.02)
    assert len(set(drawn)) == 100


def test_the_order_depends_on_the_seed_alone_and_can_be_entered_anywhere() -> None:
    dataset = Kinds("aaab")
    first = list(islice(BalancedInfiniteSampler(dataset, seed=3), 50))
    assert list(islice(BalancedInfiniteSampler(dataset, seed=3), 50)) == first
    later = BalancedInfiniteSampler(dataset, seed=3)
    later.skip(20)
    assert list(islice(later, 30)) == first[20:]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="power=2"):
        BalancedInfiniteSampler(Kinds("ab"), power=2)
    with pytest.raises(ConfigError, match="no 'plate'"):
        BalancedInfiniteSampler(Kinds("ab"), key="plate")
