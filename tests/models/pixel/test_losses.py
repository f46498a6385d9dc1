"""Losses and scores of pixels, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from cellseg_mmdet.models import PixelBCELoss, PixelDiceLoss
from cellseg_mmdet.models.pixel.losses import pixel_scores

# Probabilities 0.8, 0.4, 0.5, 0.2 of pixels that are 1, 1, 0, 0.
P = torch.tensor([[[0.8, 0.4, 0.5, 0.2]]])
LOGITS = torch.log(P / (1 - P))
TARGET = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
ALL = torch.ones_like(P)


def test_cross_entropy():
    expected = -(math.log(0.8) + math.log(0.4) + math.log(0.5) + math.log(0.8)) / 4
    assert PixelBCELoss()(LOGITS, TARGET, ALL).item() == pytest.approx(expected)
    assert PixelBCELoss(0.5)(LOGITS, TARGET, ALL).item() == pytest.approx(expected / 2)


def test_cross_entropy_with_weights():
    weight = torch.tensor([[[3.0, 0.0, 1.0, 0.0]]])
    expected = -(3 * math.log(0.8) + math.log(0.5)) / 2
    assert PixelBCELoss()(LOGITS, TARGET, weight).item() == pytest.approx(expected)


def test_dice():
    assert PixelDiceLoss()(LOGITS, TARGET, ALL).item() == pytest.approx(1 - 3.4 / 4.9)
    assert PixelDiceLoss(loss_weight=2)(LOGITS, TARGET, ALL).item() == pytest.approx(3 / 4.9)


def test_dice_with_squares():
    squares = 0.64 + 0.16 + 0.25 + 0.04
    loss = PixelDiceLoss(squared=True)(LOGITS, TARGET, ALL)
    assert loss.item() == pytest.approx(1 - 3.4 / (squares + 2 + 1))


def test_dice_leaves_out_pixels_of_weight_0_and_knows_no_other_weight():
    weight = torch.tensor([[[7.0, 0.0, 1.0, 0.0]]])
    loss = PixelDiceLoss()(LOGITS, TARGET, weight)
    assert loss.item() == pytest.approx(1 - (2 * 0.8 + 1) / (1.3 + 1 + 1))


@pytest.mark.parametrize("loss", [PixelBCELoss(), PixelDiceLoss(), PixelDiceLoss(squared=True)])
class TestEveryLoss:
    def test_is_nothing_for_the_truth(self, loss):
        assert loss(100 * (TARGET - 0.5), TARGET, ALL).item() == pytest.approx(0, abs=1e-6)

    def test_falls_along_its_gradient(self, loss):
        logits = LOGITS.clone().requires_grad_()
        before = loss(logits, TARGET, ALL)
        before.backward()
        assert loss(logits - 0.1 * logits.grad, TARGET, ALL) < before

    def test_no_pixel_that_counts(self, loss):
        logits = LOGITS.clone().requires_grad_()
        value = loss(logits, TARGET, torch.zeros_like(ALL))
        value.backward()
        assert value.item() == 0
        assert not logits.grad.any()


def test_scores():
    # Found are the pixels 0, 2 and 3, of which 0 is true; so is 1.
    logits = torch.tensor([[[2.0, -1.0, 1.0, 1.0]]])
    scores = {name: value.item() for name, value in pixel_scores(logits, TARGET, ALL).items()}
    assert scores == pytest.approx(dict(dice=2 / 5, iou=1 / 4, precision=1 / 3, recall=1 / 2))
    weight = torch.tensor([[[5.0, 1.0, 0.0, 0.0]]])
    scores = {name: value.item() for name, value in pixel_scores(logits, TARGET, weight).items()}
    assert scores == pytest.approx(dict(dice=2 / 3, iou=1 / 2, precision=1, recall=1 / 2))


def test_scores_of_nothing():
    nothing = pixel_scores(-ALL, 0 * TARGET, ALL)
    assert [value.item() for value in nothing.values()] == [1, 1, 1, 1]
