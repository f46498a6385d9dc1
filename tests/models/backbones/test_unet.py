"""The networks against figure and equations of the papers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.models import ResidualAttentionUNet, UNet
from cellseg_mmdet.models.backbones.unet_blocks import AttentionGate, ResidualBlock, centre_crop


class TestSizeOfResult:
    @pytest.mark.parametrize(
        ("network", "side", "expected"),
        [
            (UNet(filters=(2, 4, 8, 16, 32), padding="valid"), 572, 388),  # figure 1 of the paper
            (ResidualAttentionUNet(filters=(4, 8, 16)), 32, 32),
            (UNet(filters=(4, 8, 16), batch_norm=True), 32, 32),
        ],
        ids=["valid", "residual", "same"],
    )
    def test_of_a_square(self, network, side, expected):
        with torch.no_grad():
            [maps] = network.eval()(torch.zeros(1, 3, side, side))
        assert maps.shape[2:] == (expected, expected)

    @pytest.mark.parametrize("padding", ["same", "valid"])
    @given(length=st.integers(1, 2000), num_sizes=st.integers(2, 6))
    def test_context_lets_every_size_be_halved(self, padding, length, num_sizes):
        before, behind = UNet(filters=[1] * num_sizes, padding=padding).context(length)
        lost = 4 * (padding == "valid")
        side = before + length + behind
        for _ in range(num_sizes - 1):
            side -= lost
            assert side % 2 == 0
            side //= 2
        for _ in range(num_sizes - 1):
            side = 2 * (side - lost)
        assert length <= side - lost < length + 2 ** (num_sizes - 1)
        assert before >= 0
        assert behind >= 0


def test_gate_is_that_of_the_paper():
    gate = AttentionGate(skip_channels=3, gating_channels=5, inner_channels=4)
    skip, gating = torch.randn(1, 3, 6, 8), torch.randn(1, 5, 3, 4)
    w_x, w_g, psi = (
        layer.weight.detach().numpy()[:, :, 0, 0]
        for layer in (gate.of_skip, gate.of_gating, gate.psi)
    )
    b_g, b_psi = gate.of_gating.bias.detach().numpy(), gate.psi.bias.detach().numpy()
    alpha = np.zeros((3, 4))
    for y, x in np.ndindex(alpha.shape):
        # Equations 1 and 2 for one pixel of g, on whose grid every second pixel of x is looked at.
        at_x, at_g = skip[0, :, 2 * y, 2 * x].numpy(), gating[0, :, y, x].numpy()
        q = psi @ np.maximum(w_x @ at_x + w_g @ at_g + b_g, 0) + b_psi
        alpha[y, x] = 1 / (1 + np.exp(-q[0]))
    # Resampled linearly: of two pixels of x in one of g each is a quarter of the way to a neighbour, if there is one.
    expected = between(between(alpha).T).T
    attention = gate.attention(skip, gating)
    np.testing.assert_allclose(attention[0, 0].detach().numpy(), expected, rtol=1e-5)
    torch.testing.assert_close(gate(skip, gating), gate.out(skip * attention))


def between(rows: np.ndarray) -> np.ndarray:
    """Return twice as many rows, interpolated linearly."""
    above, below = np.vstack([rows[:1], rows[:-1]]), np.vstack([rows[1:], rows[-1:]])
    pairs = [(above + 3 * rows) / 4, (3 * rows + below) / 4]
    return np.stack(pairs, axis=1).reshape(-1, rows.shape[1])


def test_gate_looks_at_the_gating_signal():
    gate = AttentionGate(3, 5, 4)
    skip = torch.randn(1, 3, 4, 4)
    one, other = (gate.attention(skip, torch.full((1, 5, 2, 2), value)) for value in (-9.0, 9.0))
    assert not torch.allclose(one, other)


def test_residual_block_adds_its_first_convolution():
    block = ResidualBlock(3, 4, dropout=0.0).eval()
    for layer in block.rest:
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    x = torch.randn(1, 3, 5, 5)
    torch.testing.assert_close(block(x), block.first(x))


def test_layers_of_the_kernel():
    block = UNet(filters=(4, 8), activation="tanh", dropout=(0.1, 0.3), padding="valid").down[1]
    assert [type(layer) for layer in block] == [nn.Conv2d, nn.Tanh, nn.Dropout, nn.Conv2d, nn.Tanh]
    assert block[2].p == 0.3


def test_layers_of_the_blog():
    block = UNet(filters=(4, 8), batch_norm=True).down[0]
    assert [type(layer) for layer in block] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 2


def test_initialisation_of_he():
    he = dict(type="Kaiming", mode="fan_in", distribution="normal", layer="Conv2d")
    network = UNet(filters=(16, 32, 64, 128, 256), init_cfg=he)
    network.init_weights()
    layer = network.down[4][0]
    assert layer.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    assert not layer.bias.any()


def test_crop_keeps_the_middle():
    x = torch.arange(30.0).reshape(1, 1, 5, 6)
    assert centre_crop(x, (3, 2))[0, 0].tolist() == [[8, 9], [14, 15], [20, 21]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(filters=(8,)), "two sizes"),
        (dict(filters=(8, 16), dropout=(0.1,)), "one probability for each"),
        (dict(activation="sine"), "'sine', allowed are"),
        (dict(padding="full"), "'full', allowed are"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        UNet(**arguments)
