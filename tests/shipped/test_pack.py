"""`tools/models/pack.py`: from a checkpoint to the folder of a model that ships."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cellseg_mmdet.engine import load_config
from cellseg_mmdet.engine.checkpoint import read_checkpoint
from cellseg_mmdet.errors import CheckpointError, ConfigError, DataError, UsageError
from cellseg_mmdet.fileio import sha256_of
from cellseg_mmdet.inference import Predictor
from cellseg_mmdet.shipped import ModelCard
from cellseg_mmdet.shipped.card import Picture, Score, Scores
from tests.shipped.tiny import FACTS, write_tiny
from tools.models import pack as module
from tools.models.pack import inference_config, pack

FILES = ("card.json", "config.json", "weights.safetensors")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


def test_packing_twice_gives_the_same_bytes(
    tiny: tuple[Path, Path, Path], packed: Path, tmp_path: Path
) -> None:
    config, checkpoint, facts = tiny
    folder = pack(checkpoint, config, "tiny", facts=facts, half=True, out_dir=tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == list(FILES)
    for name in FILES[1:]:
        assert (folder / name).read_bytes() == (packed / "tiny" / name).read_bytes()
    card = ModelCard.read(folder / "card.json")
    assert card.weights.sha256 == sha256_of(folder / "weights.safetensors")
    assert card.weights.num_bytes == (folder / "weights.safetensors").stat().st_size
    assert card.training.checkpoint_sha256 == sha256_of(checkpoint)
    assert (card.classes, card.diameter_px, card.training.averaged) == (("nucleus",), 25.0, False)


@pytest.mark.parametrize("half", [False, True], ids=["whole", "half"])
def test_the_weights_are_those_of_the_checkpoint(
    half: bool, tiny: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    config, checkpoint, facts = tiny
    folder = pack(checkpoint, config, "tiny", facts=facts, half=half, out_dir=tmp_path)
    expected = read_checkpoint(checkpoint)["state_dict"]
    found = read_checkpoint(folder / "weights.safetensors")["state_dict"]
    left_out = {key for key in expected if key.endswith("num_batches_tracked")}
    assert left_out and set(found) == set(expected) - left_out
    for key, value in found.items():
        stored = expected[key].half() if half and expected[key].dim() > 1 else expected[key]
        assert value.dtype == torch.float32
        assert torch.equal(value, stored.float()), key


@pytest.mark.slow
def test_the_packed_model_predicts_what_the_checkpoint_does(
    tiny: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    config, checkpoint, facts = tiny
    folder = pack(checkpoint, config, "tiny", facts=facts, out_dir=tmp_path)
    picture = np.random.default_rng(0).integers(0, 255, (40, 48), dtype=np.uint8)
    maps = []
    for paths in ((config, checkpoint), (folder / "config.json", folder / "weights.safetensors")):
        predictor = Predictor(paths[0], str(paths[1]), device="cpu")
        seen: list[torch.Tensor] = []
        predict_maps = predictor.model.predict_maps
        predictor.model.predict_maps = lambda inputs, f=predict_maps, seen=seen: (
            seen.append(f(inputs)) or seen[-1]
        )
        predictor.predict({"a.png": picture})
        maps.append(seen[0])
    assert torch.equal(*maps)


def test_what_the_checkpoint_says_of_its_training_is_on_the_card(tmp_path: Path) -> None:
    meta = {"iter": 90, "seed": 5}
    average = {"steps": torch.tensor(3)}
    config, checkpoint, facts = write_tiny(tmp_path, ema_state_dict=average, meta=meta)
    folder = pack(checkpoint, config, "tiny", facts=facts, out_dir=tmp_path / "out")
    training = ModelCard.read(folder / "card.json").training
    assert (training.averaged, training.iterations, training.seed) == (True, 90, 5)


def test_the_config_is_whole_and_holds_nothing_of_training(packed: Path) -> None:
    text = (packed / "tiny/config.json").read_text()
    for word in ("_base_", "init_cfg", "package://", "train_pipeline", "optim", "data/dsb2018"):
        assert word not in text
    cfg = load_config(packed / "tiny/config.json")
    assert cfg.tta_model and cfg.tta_pipeline and cfg.postprocess
    assert cfg.cell_scale == {"diameter_px": 25.0}


def test_what_json_cannot_write_is_named(tiny: tuple[Path, Path, Path]) -> None:
    cfg = load_config(tiny[0])
    cfg.model.backbone.type = torch.nn.ReLU
    with pytest.raises(ConfigError, match=r"model\.backbone\.type is a type: allowed are text"):
        inference_config(cfg)


@pytest.mark.slow
def test_scores_stay_with_their_weights_and_config(
    tiny: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    config, checkpoint, facts = tiny
    folder = pack(checkpoint, config, "tiny", facts=facts, half=True, out_dir=tmp_path)
    score = Score(2, 9, 0.5, 0.75)
    scores = Scores("a fold", "evaluate", score, {"fluorescence": score}, {})
    card = ModelCard.read(folder / "card.json")
    replace(card, scores=scores).write(folder / "card.json")
    pack(checkpoint, config, "tiny", facts=facts, half=True, out_dir=tmp_path)
    scored = ModelCard.read(folder / "card.json")
    assert scored.scores == scores

    other = tmp_path / "other.py"
    other.write_text(f"_base_ = {str(config)!r}\ncell_scale = dict(diameter_px=31.0)\n")
    pack(folder / "weights.safetensors", other, "tiny", facts=facts, half=True, out_dir=tmp_path)
    changed = ModelCard.read(folder / "card.json")
    assert changed == replace(scored, scores=None, diameter_px=31.0)

    replace(changed, scores=scores).write(folder / "card.json")
    pack(checkpoint, other, "tiny", facts=facts, half=False, out_dir=tmp_path)
    assert ModelCard.read(folder / "card.json").scores is None


def test_too_many_bytes_are_refused_and_leave_nothing(
    tiny: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, checkpoint, facts = tiny
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(UsageError, match=r"bytes, allowed are 1,000: give --half"):
        pack(checkpoint, config, "tiny", facts=facts, out_dir=tmp_path)
    assert not list((tmp_path / "tiny").iterdir())


def without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda facts: facts.pop(key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("summary"), r"facts\.json: the card has no 'summary'"),
        (lambda facts: facts["training"].pop("seed"), "training has no 'seed'"),
        (lambda facts: facts["training"].update(seed="0"), r"training\.seed is '0' \(text\)"),
        (lambda facts: facts["trained_on"][0].pop("notice"), r"trained_on\.0 has no 'notice'"),
        (lambda facts: facts.update(colour=1), r"'colour'; allowed are name, summary"),
        (lambda facts: facts.update(fails=3), "fails is 3; it must be a list"),
    ],
)
def test_facts_that_are_missing_or_wrong_are_named(
    change: Callable[[dict[str, Any]], None],
    message: str,
    tiny: tuple[Path, Path, Path],
    tmp_path: Path,
) -> None:
    config, checkpoint, _ = tiny
    facts = json.loads(json.dumps(FACTS))
    change(facts)
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=message):
        pack(checkpoint, config, "tiny", facts=tmp_path / "facts.json", out_dir=tmp_path / "out")
    assert not list((tmp_path / "out/tiny").iterdir())


def test_a_checkpoint_that_diverged_and_a_name_that_is_none(
    tiny: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    config, checkpoint, facts = tiny
    content = read_checkpoint(checkpoint)
    content["state_dict"]["decoder.extra"] = torch.tensor([float("nan")])
    torch.save(content, tmp_path / "nan.pth")
    with pytest.raises(CheckpointError, match=r"decoder\.extra: the training diverged"):
        pack(tmp_path / "nan.pth", config, "tiny", facts=facts, out_dir=tmp_path)
    with pytest.raises(UsageError, match=r"name '\.\./x'"):
        pack(checkpoint, config, "../x", facts=facts, out_dir=tmp_path)


def test_a_card_is_written_and_read(packed: Path, tmp_path: Path) -> None:
    card = ModelCard.read(packed / "tiny/card.json")
    score = Score(1, 2, 0.25, 1.0)
    pictures = (Picture("best_1.jpg", "A caption."),)
    scores = Scores("d", "c", score, {"a": score}, {"up to 15 px": score}, pictures)
    whole = replace(card, scores=scores)
    whole.write(tmp_path / "card.json")
    assert ModelCard.read(tmp_path / "card.json") == whole
    text = whole.as_markdown()
    assert "| cells up to 15 px | 1 | 2 | 0.250 | 1.000 |" in text
    assert "Copyright (c) nobody" in text and card.weights.sha256 in text
    assert "best_1.jpg" not in text
    assert "![best_1.jpg](folder/best_1.jpg)\n\nA caption." in whole.as_markdown(folder="folder")
    broken = asdict(whole) | {"scores": asdict(whole.scores) | {"overall": {"images": 1}}}
    (tmp_path / "card.json").write_text(json.dumps(broken))
    with pytest.raises(DataError, match=r"card\.json: scores\.overall has no 'cells'"):
        ModelCard.read(tmp_path / "card.json")
