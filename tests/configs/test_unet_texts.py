"""The configs that follow a text, each against the text: layers, sizes and numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from tests.configs.leaves import CONFIGS
from tests.configs.leaves import load as load_leaf

FLIPS = dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"])


class Text(NamedTuple):
    """What a text says.

    ``losses`` are (type, weight, whether the denominator is squared); ``length`` is in epochs, or in iterations.
    """

    filters: tuple[int, ...]
    losses: list[tuple[str, float, bool]]
    optimizer: dict[str, Any]
    batch_size: int
    length: int
    side: int
    result_side: int
    augmentation: list[dict[str, Any]]
    activation: str = "relu"
    batch_norm: bool = False
    dropout: float | tuple[float, ...] = 0.0


REPORT, KERNEL, BLOG, NOTEBOOK = (
    "unet_f16_bce_30e_dsb2018",
    "unet_f16_tanh-valid_bce-dice_375i_dsb2018",
    "unet_f64-bn_bce_10e_dsb2018",
    "unet_f32-resatt_dice_100e_sartorius",
)
TEXTS = {
    REPORT: Text(
        filters=(16, 32, 64, 128, 256),
        losses=[("PixelBCELoss", 1.0, False)],
        optimizer=dict(type="Adam", lr=0.001),
        batch_size=16,
        length=30,
        side=256,
        result_side=256,
        augmentation=[],
    ),
    KERNEL: Text(
        filters=(16, 32, 64, 128, 256),
        losses=[("PixelBCELoss", 0.5, False), ("PixelDiceLoss", 1.0, False)],
        optimizer=dict(type="SGD", lr=0.01),
        batch_size=32,
        length=15 * 25,
        side=256,
        result_side=68,
        augmentation=[
            dict(
                type="RandomReflectedAffine",
                angle_range_deg=(-90, 90),
                scale_range=(0.9, 1.1),
                shift_range=(-0.1, 0.1),
            ),
            FLIPS,
        ],
        activation="tanh",
        dropout=(0.1, 0.1, 0.2, 0.2, 0.3),
    ),
    BLOG: Text(
        filters=(64, 128, 256, 512, 1024),
        losses=[("PixelBCELoss", 1.0, False)],
        optimizer=dict(type="Adam", lr=0.0001),
        batch_size=4,
        length=10,
        side=512,
        result_side=512,
        augmentation=[
            dict(
                type="RandomReflectedAffine",
                angle_range_deg=(-50, 50),
                shear_range_deg=(-0.5, 0.5),
                scale_range=(0.8, 1.2),
                shift_range=(-0.2, 0.2),
            )
        ],
        batch_norm=True,
    ),
    NOTEBOOK: Text(
        filters=(32, 64, 128, 256, 512),
        losses=[("PixelDiceLoss", 1.0, True)],
        optimizer=dict(type="Adam", lr=0.001),
        batch_size=4,
        length=100,
        side=512,
        result_side=512,
        augmentation=[FLIPS],
        batch_norm=True,
        dropout=0.5,
    ),
}
every_text = pytest.mark.parametrize("name", TEXTS)


@pytest.fixture(autouse=True, scope="module")
def mmdet_scope() -> None:
    init_default_scope("mmdet")


def load(name: str) -> Config:
    return load_leaf(CONFIGS / "unet" / f"{name}.py")


def network_of(name: str) -> nn.Sequential:
    """Build a config's network without memory for its weights: shapes are all that is asked for."""
    model = load(name).model
    with torch.device("meta"):
        backbone, head = (
            MODELS.build(model.backbone),
            MODELS.build(dict(model.decoder, out_channels=1)),
        )
    return nn.Sequential(backbone, head).eval()


def conv(channels: tuple[int, int], kernel: int) -> int:
    """Return the weights of a convolution, transposed or not, with its bias."""
    return kernel**2 * channels[0] * channels[1] + channels[1]


def layers(filters: tuple[int, ...], *, batch_norm: bool, last_kernel: int = 1) -> int:
    """Return the weights of the layers that all texts list for a U-Net."""
    norm = 2 * int(batch_norm)  # scale and shift
    total = conv((filters[0], 1), last_kernel)
    for before, after in zip((3, *filters[:-1]), filters, strict=True):
        total += conv((before, after), 3) + conv((after, after), 3) + 2 * norm * after
    for coarse, fine in zip(filters[:0:-1], filters[-2::-1], strict=True):
        total += conv((coarse, fine), 2)
        total += conv((2 * fine, fine), 3) + conv((fine, fine), 3) + 2 * norm * fine
    return total


def notebook_layers() -> int:
    """Return the weights of all layers that the Sartorius notebook's output depends on."""
    filters = TEXTS[NOTEBOOK].filters
    total = layers(filters, batch_norm=True, last_kernel=3)
    for fine in filters[:-1]:
        # A gate, without the convolution of the gating signal, which it does not use; and a batch norm behind.
        total += conv((fine, fine), 1) + conv((fine, 1), 1) + conv((fine, fine), 1) + 2 * fine
        total += 2 * fine
    return total


class TestNumberOfWeights:
    def number_of(self, name: str) -> int:
        return sum(weights.numel() for weights in network_of(name).parameters())

    @pytest.mark.parametrize(
        ("name", "expected"), [(REPORT, 1_941_105), (KERNEL, 1_941_105), (BLOG, 31_043_521)]
    )
    def test_plain(self, name: str, expected: int) -> None:
        text = TEXTS[name]
        assert layers(text.filters, batch_norm=text.batch_norm) == expected
        assert self.number_of(name) == expected

    def test_notebook_and_what_its_gates_leave_out(self) -> None:
        filters = TEXTS[NOTEBOOK].filters
        gating = sum(coarse * fine for coarse, fine in zip(filters[1:], filters[:-1], strict=True))
        assert (notebook_layers(), gating) == (7_943_685, 174_080)
        assert self.number_of(NOTEBOOK) == notebook_layers() + gating


@every_text
def test_size_of_the_result(name: str) -> None:
    side = TEXTS[name].side
    maps = network_of(name)(torch.zeros(1, 3, side, side, device="meta"))
    assert maps.shape == (1, 1, *[TEXTS[name].result_side] * 2)


@every_text
class TestNumbersOfTheText:
    def test_network(self, name: str) -> None:
        text, network = TEXTS[name], load(name).model.backbone
        assert network.filters == text.filters
        assert network.get("dropout", 0.0) == text.dropout
        assert network.get("activation", "relu") == text.activation
        assert network.get("batch_norm", network.type == "ResidualAttentionUNet") == text.batch_norm

    def test_losses(self, name: str) -> None:
        losses = load(name).model.losses
        assert list(losses) == ["foreground"]
        found = [
            (loss.type, loss.get("loss_weight", 1.0), loss.get("squared", False))
            for loss in losses.foreground.values()
        ]
        assert found == TEXTS[name].losses

    def test_schedule(self, name: str) -> None:
        cfg, text = load(name), TEXTS[name]
        assert cfg.optim_wrapper.optimizer == text.optimizer
        assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size
        assert cfg.train_dataloader.batch_size == text.batch_size
        assert cfg.train_cfg.get("max_epochs", cfg.train_cfg.get("max_iters")) == text.length

    def test_images(self, name: str) -> None:
        cfg, text = load(name), TEXTS[name]
        _, _, resize, *augmentation, _ = cfg.train_pipeline
        assert (resize.scale, resize.keep_ratio) == ((text.side, text.side), False)
        assert cfg.test_pipeline[1] == resize
        assert augmentation == text.augmentation


@pytest.mark.parametrize(
    ("name", "stops"),
    [
        (REPORT, (5, 0.0, "cell/kaggle_map")),
        (KERNEL, None),
        (BLOG, None),
        (NOTEBOOK, (15, 0.01, "cell/dice")),
    ],
)
def test_early_stopping(name: str, stops: tuple[int, float, str] | None) -> None:
    hooks = [hook for hook in load(name).custom_hooks if hook.type == "EarlyStoppingHook"]
    found = [(hook.patience, hook.min_delta, hook.monitor) for hook in hooks]
    assert found == ([] if stops is None else [stops])


def test_rate_of_the_notebook_falls_on_a_plateau() -> None:
    [plateau] = load(NOTEBOOK).param_scheduler
    assert plateau.type == "ReduceOnPlateauLR"
    assert (plateau.factor, plateau.patience, plateau.threshold) == (0.01, 5, 0.01)
    assert (plateau.monitor, plateau.rule, plateau.threshold_rule) == (
        "cell/dice",
        "greater",
        "abs",
    )
