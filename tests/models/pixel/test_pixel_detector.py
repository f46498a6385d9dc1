"""`PixelDetector`: trained on maps, predicting what every detector predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from cellseg_mmdet.errors import ConfigError, DataError
from cellseg_mmdet.masks import EncodedMasks, Runs
from cellseg_mmdet.models import PixelDetector
from cellseg_mmdet.models.mask_heads import paste_masks
from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.structures import from_dump_entry
from tests.models.pixel.seeing import (
    HEIGHT,
    WIDTH,
    detector,
    logits,
    sample,
    seeing,
    two_cells,
    with_truth,
)

SIZE_HW = (HEIGHT, WIDTH)


class TestPredict:
    def predict(self, *shapes: tuple[int, int], scale: int = 1, **options: Any) -> InstanceData:
        model = seeing(soft_masks=options.pop("soft_masks", False))
        label_map = two_cells().repeat(scale, 0).repeat(scale, 1)
        [result] = model.predict(logits(model, label_map)[None], [sample(*shapes)], **options)
        return result.pred_instances

    def test_cells_and_their_scores(self):
        found = self.predict(SIZE_HW)
        assert isinstance(found.masks, EncodedMasks)
        assert found.masks.runs == Runs.from_label_map(two_cells())
        assert found.bboxes.tolist() == [[4, 3, 13, 12], [13, 3, 22, 12], [20, 16, 31, 22]]
        assert found.labels.tolist() == [0, 0, 0]
        sure = torch.tensor(8.0).sigmoid().item()
        assert found.scores.tolist() == pytest.approx([sure] * 3)
        assert found.maskness.tolist() == found.scores.tolist()
        assert "soft_masks" not in found

    def test_maps_are_kept_for_a_dump_at_the_size_of_the_masks(self):
        model = seeing(dumps_maps=True)
        label_map = two_cells().repeat(2, 0).repeat(2, 1)
        size_hw = (2 * HEIGHT, 2 * WIDTH)
        [result] = model.predict(logits(model, label_map)[None], [sample(size_hw, SIZE_HW)])
        assert result.pred_maps.dtype == torch.float16
        assert result.pred_maps.shape == (3, *SIZE_HW)
        again = model.decoded(result.pred_maps.float().numpy())
        assert again.masks == result.pred_instances.masks.runs
        assert from_dump_entry(
            result.to_dict() | {"img_path": "a.png", "ori_shape": SIZE_HW}
        ).maps.shape == (3, *SIZE_HW)

    def test_masks_and_boxes_are_of_the_original_image(self):
        found = self.predict((2 * HEIGHT, 2 * WIDTH), SIZE_HW, scale=2)
        assert found.masks.runs == Runs.from_label_map(two_cells())
        assert found.bboxes[0].tolist() == [4, 3, 13, 12]
        not_rescaled = self.predict((2 * HEIGHT, 2 * WIDTH), SIZE_HW, scale=2, rescale=False)
        assert not_rescaled.masks.shape == (3, 2 * HEIGHT, 2 * WIDTH)
        assert not_rescaled.bboxes[0].tolist() == [8, 6, 26, 24]

    def test_padding_is_no_cell(self):
        model = seeing()
        image = F.pad(logits(model, two_cells()), (0, 8, 0, 8), value=8.0)
        [result] = model.predict(image[None], [sample(SIZE_HW)])
        assert result.pred_instances.masks.runs == Runs.from_label_map(two_cells())

    def test_an_image_without_cells(self):
        model = seeing(soft_masks=True)
        nothing = logits(model, np.zeros(SIZE_HW, np.int32))
        [result] = model.predict(nothing[None], [sample(SIZE_HW)])
        found = result.pred_instances
        assert len(found) == 0
        assert found.bboxes.shape == (0, 4)
        assert found.masks.shape == (0, HEIGHT, WIDTH)
        assert found.soft_masks.shape == (0, 28, 28)

    def test_soft_masks_are_of_the_original_image(self):
        found = self.predict((2 * HEIGHT, 2 * WIDTH), SIZE_HW, scale=2, soft_masks=True)
        assert found.soft_masks.dtype == torch.uint8
        assert found.soft_masks.shape == (3, 28, 28)
        pasted = paste_masks(found.soft_masks / 255, found.bboxes, HEIGHT, WIDTH, threshold=0.5)
        assert pasted == Runs.from_label_map(two_cells())

    def test_goes_through_what_comes_behind_every_detector(self):
        model = seeing()
        [result] = model.predict(logits(model, two_cells())[None], [sample(SIZE_HW)])
        prediction = from_dump_entry(result.to_dict())
        assert prediction.image_id == "image"
        steps = [dict(type="Rescore"), dict(type="ScoreThreshold", score_thr=0.5)]
        final = build_pipeline(steps, ("nucleus",))(prediction)
        assert final.masks == Runs.from_label_map(two_cells())

    def test_thresholds_of_the_code(self):
        code = dict(type="RimCode", rim_px=0, min_px=70)
        model = seeing(code=code)
        image = (2 * torch.from_numpy(two_cells() > 0) - 1).float()[None, None]
        [result] = model.predict(image, [sample(SIZE_HW)])
        areas = result.pred_instances.masks.runs.areas
        assert areas.tolist() == [162]  # without rims the first two are one, the third has 66

    def test_maps_for_who_merges_views(self):
        model = seeing()
        model.keeps_maps = True
        image = logits(model, two_cells())[None]
        [result] = model.predict(image, [sample((HEIGHT - 2, WIDTH - 1))])
        assert result.pred_maps.shape == (3, HEIGHT - 2, WIDTH - 1)
        assert "pred_instances" not in result

    def test_maps_are_what_the_code_encodes(self):
        model = seeing()
        [maps] = model.predict_maps(logits(model, two_cells(), sure=40)[None])
        expected = model.code.encode(Runs.from_label_map(two_cells())).maps
        np.testing.assert_allclose(maps.numpy(), expected, atol=1e-6)


class TestClasses:
    def test_a_cell_has_the_class_that_most_of_it_looks_like(self):
        model = seeing(num_classes=3)
        label_map = two_cells()
        classes = torch.zeros(3, *SIZE_HW)
        for cell, label in ((1, 2), (2, 0), (3, 1)):
            classes[label, label_map == cell] = 4
        classes[:, 3:6, 4:13] = torch.tensor([9.0, 0, 0])[:, None, None]  # a third of the first
        image = torch.cat([logits(model, label_map), classes])
        [result] = model.predict(image[None], [sample(SIZE_HW)])
        assert result.pred_instances.labels.tolist() == [2, 0, 1]

    def test_classes_are_learned_in_cells_alone(self):
        model = seeing(num_classes=2)
        label_map = two_cells()
        truth = with_truth(model, label_map, classes=(1, 2, 1))
        classes = torch.zeros(2, *SIZE_HW)
        is_first = torch.from_numpy(np.isin(label_map, (1, 3)))
        is_second = torch.from_numpy(label_map == 2)
        classes[0, is_first] = classes[1, is_second] = 20
        image = torch.cat([logits(model, label_map), classes])
        assert model.loss(image[None], [truth])["loss_class"].item() == pytest.approx(0, abs=1e-6)
        image[4, is_second] = 0  # now both classes are equally likely there
        share = (label_map == 2).sum() / (label_map > 0).sum()
        found = model.loss(image[None], [truth])["loss_class"].item()
        assert found == pytest.approx(share * np.log(2), rel=1e-4)

    def test_one_class_has_no_maps(self):
        assert detector().decoder.head.out_channels == 3
        assert detector(num_classes=3).decoder.head.out_channels == 6


class TestLoss:
    def test_of_a_network_that_knows(self):
        model = seeing()
        losses = model.loss(logits(model, two_cells())[None], [with_truth(model, two_cells())])
        expected = {"loss_foreground", "loss_flow", "dice", "iou", "precision", "recall"}
        assert set(losses) == expected
        # Cross-entropy at a logit of 8, and no error of the vectors.
        assert losses["loss_foreground"].item() == pytest.approx(np.log1p(np.exp(-8)), rel=1e-3)
        assert losses["loss_flow"].item() == pytest.approx(0, abs=1e-10)
        assert losses["dice"].item() == losses["recall"].item() == 1
        assert not losses["dice"].requires_grad

    def test_flows_count_five_times_their_length(self):
        model = seeing()
        image = logits(model, two_cells())
        image[1:] = 0
        losses = model.loss(image[None], [with_truth(model, two_cells())])
        squares = np.square(model.code.encode(Runs.from_label_map(two_cells())).maps[1:])
        assert losses["loss_flow"].item() == pytest.approx(25 * squares.mean(), rel=1e-5)

    def test_what_an_image_lacks_to_the_size_of_its_batch_does_not_count(self):
        model = seeing()
        label_map = two_cells()
        image = logits(model, label_map, sure=1.0)
        alone = model.loss(image[None], [with_truth(model, label_map)])
        wrong = F.pad(image, (0, 5, 0, 9), value=7.0)
        padded = model.loss(wrong[None], [with_truth(model, label_map)])
        assert {name: value.item() for name, value in padded.items()} == pytest.approx(
            {name: value.item() for name, value in alone.items()}, abs=1e-6
        )

    def test_other_losses_where_the_config_says_so(self):
        both = dict(bce=dict(type="PixelBCELoss"), dice=dict(type="PixelDiceLoss"))
        model = seeing(losses=dict(foreground=both))
        losses = model.loss(logits(model, two_cells())[None], [with_truth(model, two_cells())])
        assert {name for name in losses if "loss" in name} == {
            "loss_foreground_bce",
            "loss_foreground_dice",
            "loss_flow",
        }

    def test_losses_of_a_group_that_is_not_there(self):
        with pytest.raises(ConfigError, match="of groups of the code, foreground, flow; got"):
            detector(losses=dict(rim=dict(bce=dict(type="PixelBCELoss"))))

    def test_targets_of_another_code(self):
        model = seeing()
        truth = with_truth(model, two_cells())
        truth.gt_pixels.set_metainfo(dict(code="StarCode"))
        with pytest.raises(DataError, match="are of StarCode, the model's code is FlowCode"):
            model.loss(logits(model, two_cells())[None], [truth])


class TestAnySize:
    @torch.no_grad()
    @pytest.mark.parametrize("size_hw", [(1, 1), (7, 30), (33, 16), (40, 41)])
    @pytest.mark.parametrize("channels_last", [False, True])
    def test_maps_have_the_size_of_the_image(self, size_hw: tuple[int, int], channels_last: bool):
        model = detector(channels_last=channels_last)
        assert model(torch.randn(2, 3, *size_hw), mode="tensor").shape == (2, 3, *size_hw)

    @torch.no_grad()
    def test_beyond_the_right_and_the_lower_border_is_the_mirror_image(self):
        model = detector()
        image = torch.randn(1, 3, 30, 37)
        mirrored = F.pad(image, (0, 3, 0, 2), mode="reflect")
        whole = model(mirrored, mode="tensor")
        assert torch.equal(model(image, mode="tensor"), whole[:, :, :30, :37])

    @torch.no_grad()
    def test_memory_format_changes_nothing(self):
        plain = detector()
        model = detector(channels_last=True)
        model.load_state_dict(plain.state_dict())
        image = torch.randn(1, 3, 32, 64)
        expected = plain(image, mode="tensor")
        torch.testing.assert_close(model(image, mode="tensor"), expected, rtol=1e-4, atol=1e-5)
        weight = model.backbone.stem[0].weight
        assert weight.is_contiguous(memory_format=torch.channels_last)


class TestMirroredContext:
    """Of a U-Net without padding, which looks far beyond what it predicts."""

    def model(self) -> PixelDetector:
        unet = dict(type="UNet", filters=(2, 3, 4), padding="valid")
        head = dict(type="PixelHead", in_channels=2)
        return detector(dict(type="RimCode", rim_px=0), backbone=unet, decoder=head)

    def own(self, model: PixelDetector, image: Tensor) -> Tensor:
        return model.decoder(model.backbone(image))

    @torch.no_grad()
    @pytest.mark.parametrize("size_hw", [(1, 1), (7, 30), (33, 16), (40, 41)])
    def test_result_has_the_size_of_the_image(self, size_hw: tuple[int, int]):
        maps = self.model()(torch.randn(1, 3, *size_hw), mode="tensor")
        assert maps.shape == (1, 1, *size_hw)

    @torch.no_grad()
    def test_with_enough_context_it_is_the_network_itself(self):
        model = self.model()
        image = torch.randn(1, 3, 60, 60)
        own = self.own(model, image)
        before, _ = model.backbone.context(20)
        side = own.shape[-1]
        assert side == 60 - 2 * before
        inside = slice(before, before + side)
        everywhere = model(image, mode="tensor")
        torch.testing.assert_close(everywhere[:, :, inside, inside], own, rtol=1e-4, atol=1e-5)

    @torch.no_grad()
    def test_beyond_the_border_is_the_mirror_image(self):
        model = self.model()
        image = torch.randn(1, 3, 30, 30)
        before, _ = model.backbone.context(30)
        # 152 = 30 + 60 + 62 can be halved after every two convolutions.
        mirrored = torch.from_numpy(
            np.pad(image.numpy(), [(0, 0), (0, 0), (60, 62), (60, 62)], mode="reflect")
        )
        inside = slice(60 - before, 90 - before)
        expected = self.own(model, mirrored)[:, :, inside, inside]
        torch.testing.assert_close(model(image, mode="tensor"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_steps_lower_the_loss():
    torch.manual_seed(0)
    model = detector(num_classes=2).train()
    model.init_weights()
    label_map = np.kron(two_cells(), np.ones((2, 2), np.int32))
    image = torch.from_numpy(np.stack([label_map > 0] * 3)).float()[None].repeat(2, 1, 1, 1)
    truths = [with_truth(model, label_map, classes=(1, 2, 1))] * 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    totals = []
    for _ in range(20):
        losses = model.loss(image, truths)
        total = sum(value for name, value in losses.items() if "loss" in name)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert all(weight.grad is not None for weight in model.parameters())
    assert totals[-1] < 0.8 * totals[0]
