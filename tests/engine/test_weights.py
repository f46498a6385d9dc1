from __future__ import annotations

import pytest
import torch
from mmengine.model import BaseModel

from cellseg_mmdet.engine import weights
from cellseg_mmdet.engine.weights import CheckWeights, check_resumable, load_weights, weights_of
from cellseg_mmdet.errors import CheckpointError


class Net(BaseModel):
    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.body, self.norm = torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)
        self.head = torch.nn.Linear(4, num_classes)

    def forward(self, inputs, mode="tensor"):
        return self.head(self.norm(self.body(inputs)))


class FakeRunner:
    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([1, 2], "holds a list, not a dict"),
        ({"state_dict": [1]}, "its state_dict is a list"),
        ({"state_dict": {}}, "its state_dict holds no weights: found nothing"),
        ({"state_dict": {"a": "x"}}, "its state_dict holds no weights: found a"),
        ({"state_dict": {"a": torch.ones(1), "b": "x"}}, "'b' in its state_dict is a str"),
        (
            {"model": {"a": torch.ones(1)}},
            "it has no state_dict, and holds no weights: found model",
        ),
        ({}, "holds no weights: found nothing"),
        (None, "holds a NoneType"),
    ],
)
def test_what_holds_no_weights_is_named(content: object, told: str) -> None:
    with pytest.raises(CheckpointError, match=rf"x\.pth.*{told}") as error:
        weights_of(content, "x.pth")
    assert "\n" not in str(error.value)


def test_weights_are_loaded_with_and_without_a_state_dict_and_the_prefix_of_wrappers() -> None:
    source = Net()
    own = source.state_dict()
    old = {key: value for key, value in own.items() if "num_batches_tracked" not in key}
    wrapped = {f"module.{key}": value for key, value in own.items()}
    for content in (own, {"state_dict": own}, {"state_dict": wrapped}, old):
        model = Net()
        load_weights(model, content, "x.pth")
        assert torch.equal(model.head.weight, source.head.weight)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda weights: weights.pop("head.bias"), "1 of its weights are missing, head.bias"),
        (lambda weights: weights.update(extra=torch.ones(1)), "not in the model, extra"),
        (lambda weights: weights.update({"head.weight": torch.ones(7, 4)}), "size mismatch.*head"),
        (lambda weights: weights["norm.running_var"].fill_(torch.inf), "1 of 9 .*running_var"),
        (lambda weights: weights["head.bias"][1].fill_(torch.nan), r"NaN, head\.bias: .*diverged"),
    ],
    ids=["missing", "more", "size", "inf", "nan"],
)
def test_weights_that_do_not_fit_are_refused(change, told: str) -> None:
    changed = Net().state_dict()
    change(changed)
    for refuse in (
        lambda: load_weights(Net(), {"state_dict": changed}, "x.pth"),
        lambda: CheckWeights("x.pth", strict=True).after_load_checkpoint(
            FakeRunner(Net()), {"state_dict": changed}
        ),
    ):
        with pytest.raises(CheckpointError, match=rf"^checkpoint x\.pth.*{told}") as error:
            refuse()
        assert "\n" not in str(error.value)


def test_training_may_start_from_some_weights_but_not_from_none(monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(weights, "print_log", lambda text, **_: said.append(text))
    check = CheckWeights("x.pth", strict=False)
    check.after_load_checkpoint(FakeRunner(Net(7)), Net(2).state_dict())
    assert said == ["7 of 9 weights come from x.pth; not so head.weight, head.bias"]
    with pytest.raises(CheckpointError, match="not one of its weights does, a"):
        check.after_load_checkpoint(FakeRunner(Net()), {"a": torch.ones(1)})


def test_what_a_training_cannot_go_on_from_is_named() -> None:
    whole = {"meta": {"epoch": 1, "iter": 1}, "state_dict": {}, "message_hub": {}, "optimizer": {}}
    check_resumable(whole, "x.pth")
    for key in whole:
        rest = {other: value for other, value in whole.items() if other != key}
        with pytest.raises(CheckpointError, match=rf"x\.pth has no {key}.*load_from=x\.pth"):
            check_resumable(rest, "x.pth")
    with pytest.raises(CheckpointError, match=r"no meta\.epoch, meta\.iter"):
        check_resumable(whole | {"meta": {}}, "x.pth")
