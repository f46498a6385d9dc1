from __future__ import annotations

import argparse
import os

import pytest

from cellseg_mmdet.choices import LAUNCHERS, SPLITS
from cellseg_mmdet.cli.arguments import (
    add_config_arguments,
    add_data_arguments,
    add_launcher_arguments,
    join_launcher,
    positive,
)
from cellseg_mmdet.engine import data_choice, distributed


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_data_arguments(parser, split=True)
    add_launcher_arguments(parser)
    add_config_arguments(parser)
    return parser.parse_args(arguments)


def test_nothing_is_chosen_by_default() -> None:
    args = parse()
    assert (args.data, args.fold, args.split, args.cfg_options) == (None, None, None, None)
    assert (args.launcher, args.local_rank, args.trust_checkpoint) == ("none", 0, False)


def test_options_are_read_as_mmengine_reads_them() -> None:
    args = parse("--cfg-options", "a.b=1", "c=[(1,2),(3,4)]", "d=x", "e=None")
    assert args.cfg_options == {"a.b": 1, "c": [(1, 2), (3, 4)], "d": "x", "e": None}


def test_options_without_a_value_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(argparse.ArgumentError, match=r"'lr'.*KEY=VALUE"):
        parse("--cfg-options", "lr")


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", ""])
def test_positive_refuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="from 1 on"):
        positive(text)


@pytest.mark.parametrize("option", ["--local_rank", "--local-rank"])
def test_the_local_rank_of_an_older_launcher(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "")
    monkeypatch.delenv("LOCAL_RANK")
    join_launcher(parse(option, "3"))
    assert os.environ["LOCAL_RANK"] == "3"
    join_launcher(parse(option, "1"))  # torchrun's own counts
    assert os.environ["LOCAL_RANK"] == "3"


def test_the_engine_knows_what_may_be_chosen() -> None:
    assert set(LAUNCHERS) == {"none", *distributed._RANK_VARIABLES}
    assert data_choice.SPLITS is SPLITS
