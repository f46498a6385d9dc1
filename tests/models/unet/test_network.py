"""The networks against the layers of the texts that they follow, and against the papers' equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cellseg_mmdet.models import ResidualAttentionUNet, UNet
from cellseg_mmdet.models.unet.blocks import AttentionGate, ResidualBlock, centre_crop

F16 = (16, 32, 64, 128, 256)
F64 = (64, 128, 256, 512, 1024)
F32 = (32, 64, 128, 256, 512)


def conv(channels: tuple[int, int], kernel: int) -> int:
    """Return the weights of a convolution, transposed or not, with its bias."""
    return kernel**2 * channels[0] * channels[1] + channels[1]


def plain_layers(filters: tuple[int, ...], batch_norm: bool = False) -> int:
    """Return the weights of all layers that the texts on nuclei list for a U-Net."""
    norm = 2 * int(batch_norm)  # scale and shift
    total = 0
    for before, after in zip((3, *filters[:-1]), filters, strict=True):
        total += conv((before, after), 3) + conv((after, after), 3) + 2 * norm * after
    for coarse, fine in zip(filters[:0:-1], filters[-2::-1], strict=True):
        total += conv((coarse, fine), 2)
        total += conv((2 * fine, fine), 3) + conv((fine, fine), 3) + 2 * norm * fine
    return total + conv((filters[0], 1), 1)


def notebook_layers() -> int:
    """Return the weights of all layers that the Sartorius notebook's output depends on."""
    total = 0
    for before, after in zip((3, *F32[:-1]), F32, strict=True):
        total += conv((before, after), 3) + conv((after, after), 3) + 2 * 2 * after
    for coarse, fine in zip(F32[:0:-1], F32[-2::-1], strict=True):
        # Of the gate all but the convolution of the gating signal, which it does not use.
        total += conv((fine, fine), 1) + conv((fine, 1), 1) + conv((fine, fine), 1) + 2 * fine
        total += conv((coarse, fine), 2)
        total += conv((2 * fine, fine), 3) + conv((fine, fine), 3) + 2 * 2 * fine
        total += 2 * fine
    return total + conv((F32[0], 1), 3)


def num_weights(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


class TestNumberOfWeights:
    def test_report_and_kernel(self):
        valid = UNet(filters=F16, activation="tanh", dropout=0.1, padding="valid")
        assert num_weights(UNet(filters=F16)) == num_weights(valid) == plain_layers(F16)
        assert plain_layers(F16) == 1_941_105  # what Keras prints for these layers

    def test_blog(self):
        assert num_weights(UNet(filters=F64, batch_norm=True)) == plain_layers(F64, batch_norm=True)
        assert plain_layers(F64, batch_norm=True) == 31_043_521

    def test_notebook_and_what_its_gates_leave_out(self):
        gating = sum(coarse * fine for coarse, fine in zip(F32[:0:-1], F32[-2::-1], strict=True))
        assert gating == 174_080
        assert num_weights(ResidualAttentionUNet(filters=F32)) == notebook_layers() + gating


class TestSizeOfResult:
    @pytest.mark.parametrize(
        ("network", "side", "expected"),
        [
            (UNet(filters=F16), 256, 256),
            (UNet(filters=F16, padding="valid"), 256, 68),
            (UNet(filters=F16, padding="valid"), 572, 388),  # figure 1 of the U-Net paper
            (ResidualAttentionUNet(filters=(4, 8, 16, 32, 64)), 64, 64),
            (UNet(filters=(4, 8, 16), batch_norm=True, out_channels=2), 32, 32),
        ],
        ids=["report", "kernel", "paper", "notebook", "blog, narrower"],
    )
    def test_of_a_square(self, network, side, expected):
        with torch.no_grad():
            maps = network.eval()(torch.zeros(1, 3, side, side))
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
    expected = np.zeros((6, 8))
    for y in range(6):
        for x in range(8):
            # Equations 1 and 2 for one pixel; x is looked at where it is sampled to the size of g.
            at_x = skip[0, :, y // 2 * 2, x // 2 * 2].numpy()
            at_g = gating[0, :, y // 2, x // 2].numpy()
            q = psi @ np.maximum(w_x @ at_x + w_g @ at_g + b_g, 0) + b_psi
            expected[y, x] = 1 / (1 + np.exp(-q[0]))
    attention = gate.attention(skip, gating)
    np.testing.assert_allclose(attention[0, 0].detach().numpy(), expected, rtol=1e-5)
    torch.testing.assert_close(gate(skip, gating), gate.out(skip * attention))


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
    network = UNet(filters=F16, init_cfg=he)
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
    with pytest.raises(ValueError, match=message):
        UNet(**arguments)
