from __future__ import annotations

from pathlib import Path

import pytest

from cellseg_mmdet.errors import DataError, UsageError
from cellseg_mmdet.tuning.search import Search, open_storage
from cellseg_mmdet.tuning.space import find_parameters
from tests.tuning.scenes import STEPS

PARAMETERS = find_parameters(STEPS, None)
NAME = PARAMETERS[0].name


def search(path: Path, name: str = "all", **about: object) -> Search:
    return Search(open_storage(path), name, PARAMETERS, {"list": (1, 2), **about})


def try_out(one: Search, count: int) -> list[dict[str, float]]:
    """Try lists whose score is the closer to 1 the closer the threshold is to 0.8; return their numbers."""
    tried = []
    for _ in range(count):
        values, trial = one.ask()
        one.tell(trial, 1 - abs(values[NAME] - 0.8))
        tried.append(values)
    return tried


def test_the_first_numbers_are_those_of_the_list(tmp_path: Path) -> None:
    one = search(tmp_path / "a.journal")
    assert try_out(one, 1) == [one.start] == [{p.name: p.start for p in PARAMETERS}]
    assert one.best == (one.start, 0.7)


def test_the_best_numbers_are_found(tmp_path: Path) -> None:
    one = search(tmp_path / "a.journal")
    try_out(one, 40)
    values, score = one.best
    assert values[NAME] == pytest.approx(0.8, abs=0.03)
    assert score == 1 - abs(values[NAME] - 0.8)


def test_of_equal_scores_the_first_is_best(tmp_path: Path) -> None:
    one = search(tmp_path / "a.journal")
    for _ in range(5):
        _, trial = one.ask()
        one.tell(trial, 0.0)
    assert one.best == (one.start, 0.0)


def test_a_search_that_was_stopped_tries_what_it_would_have_tried(tmp_path: Path) -> None:
    whole = try_out(search(tmp_path / "whole.journal"), 16)
    stopped = tmp_path / "stopped.journal"
    tried = try_out(search(stopped), 7)
    search(stopped).ask()  # killed before there was a score
    again = search(stopped)
    assert again.num_tried == 7
    assert tried + try_out(again, 9) == whole
    assert again.num_tried == 16


def test_searches_of_one_file_are_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    try_out(search(path, "all"), 3)
    assert search(path, "other").num_tried == 0
    assert search(path, "all").num_tried == 3


def test_a_search_about_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    search(path, images="x", model="y")
    search(path, images="x", model="y")
    with pytest.raises(UsageError, match="with other images and model"):
        search(path, images="z", model="z")


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"text\n\n", b"{}\n", b"[1]\n"])
def test_another_file_in_the_place_of_a_search(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.journal"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.journal is no file of a search, or damaged"):
        open_storage(path)


def test_a_search_that_was_killed_goes_on(tmp_path: Path) -> None:
    journal = tmp_path / "search.journal"
    Search(open_storage(journal), "all", PARAMETERS, {})
    whole = journal.read_bytes()
    # Killed while it wrote a line, and held Optuna's own lock, as one of before may have been.
    journal.write_bytes(whole + b'{"op_code":5,"work')
    (tmp_path / "search.journal.lock").symlink_to("search.journal")
    Search(open_storage(journal), "all", PARAMETERS, {})
    assert journal.read_bytes().startswith(whole)
    assert b"work\n" not in journal.read_bytes()
    journal.write_bytes(whole[:20])
    Search(open_storage(journal), "all", PARAMETERS, {})
    other = tmp_path / "notes.txt"
    other.write_text("mine\n" * 3)
    with pytest.raises(DataError, match="no file of a search"):
        open_storage(other)
    assert other.read_text() == "mine\n" * 3
