"""docs/models.md is what the cards say; what ships is whole."""

from __future__ import annotations

import pytest

from cellseg_mmdet.engine.checkpoint import read_checkpoint
from cellseg_mmdet.engine.weights import check_finite
from cellseg_mmdet.fileio import sha256_of
from cellseg_mmdet.shipped import list_models
from tools.models.pack import MAX_BYTES
from tools.models.pictures import pictures_in
from tools.models.render import BEGIN, END, PAGE, with_cards


def test_the_page_is_made_of_the_cards() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    expected = with_cards(text, [model.card for model in list_models()])
    assert text == expected, "tools/models/render.py writes it anew"


@pytest.mark.parametrize("model", list_models(), ids=lambda model: model.name)
def test_a_model_that_ships_is_what_its_card_says(model) -> None:
    assert model.card.name == model.name
    assert model.card.weights.sha256 == sha256_of(model.weights)
    assert model.card.weights.num_bytes == model.weights.stat().st_size <= MAX_BYTES
    content = read_checkpoint(model.weights)
    check_finite(content["state_dict"], model.name)
    assert tuple(content["meta"]["dataset_meta"]["classes"]) == model.card.classes
    assert (
        sum(one.numel() for one in content["state_dict"].values()) == model.card.weights.parameters
    )
    named = [one.file for one in model.card.scores.pictures] if model.card.scores else []
    there = pictures_in(model.folder)
    assert sorted(named) == [path.name for path in there], "tools/models/evaluate.py draws them"
    assert max(path.stat().st_size for path in there) < 100_000
    for source in model.card.trained_on:
        assert source.licence in ("CC0-1.0", "MIT", "Apache-2.0")
        assert source.notice or source.licence != "MIT"
