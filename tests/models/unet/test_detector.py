"""`UNetInstance`: trained on maps, predicting what every detector predicts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from cellseg_mmdet.engine import load_config
from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.masks import EncodedMasks, Runs
from cellseg_mmdet.models import UNetInstance
from cellseg_mmdet.models.mask_heads import paste_masks
from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.structures import from_dump_entry

CONFIGS = Path(__file__).parents[3] / "configs/unet"
BCE = dict(bce=dict(type="PixelBCELoss"))
BOTH = dict(foreground=BCE, boundary=dict(dice=dict(type="PixelDiceLoss")))
HEIGHT, WIDTH = 24, 32


@pytest.fixture(autouse=True, scope="module")
def mmdet_scope() -> None:
    init_default_scope("mmdet")


class Seeing(nn.Module):
    """A network that knows: red is foreground, green is the rim of cells."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.scale = nn.Parameter(torch.tensor(20.0))

    def context(self, length: int) -> tuple[int, int]:
        return 0, 0

    def forward(self, images: Tensor) -> Tensor:
        return (images[:, : self.out_channels] - 0.5) * self.scale


def seeing(losses: dict[str, Any] = BOTH, **options: Any) -> UNetInstance:
    model = UNetInstance(dict(type="UNet", filters=(2, 4)), losses, **options)
    model.network = Seeing(len(losses))
    return model.eval()


def two_cells() -> np.ndarray:
    label_map = np.zeros((HEIGHT, WIDTH), np.int32)
    label_map[3:12, 4:13], label_map[3:12, 13:22], label_map[16:22, 20:31] = 1, 2, 3
    return label_map


def picture(label_map: np.ndarray) -> Tensor:
    """Return (3, H, W): cells red, the two columns where the first two meet green."""
    image = np.zeros((3, *label_map.shape), np.float32)
    image[0] = label_map > 0
    image[1, 3:12, 12:14] = 1
    return torch.from_numpy(image)


def sample(img_shape: tuple[int, int], ori_shape: tuple[int, int] | None = None) -> DetDataSample:
    meta = dict(
        img_id=1,
        img_path="folder/image.png",
        img_shape=img_shape,
        ori_shape=ori_shape or img_shape,
    )
    return DetDataSample(metainfo=meta)


def with_truth(label_map: np.ndarray, image: Tensor) -> DetDataSample:
    truth = sample(label_map.shape)
    truth.gt_pixels = PixelData(
        foreground=torch.from_numpy(label_map[None] > 0).byte(),
        boundary=image[1:2].byte(),
        weight=torch.ones(1, *label_map.shape),
    )
    return truth


class TestPredict:
    def predict(self, image: Tensor, *shapes: tuple[int, int], **options: Any) -> InstanceData:
        [result] = seeing().predict(image[None], [sample(*shapes)], **options)
        return result.pred_instances

    def test_cells_and_their_scores(self):
        label_map = two_cells()
        found = self.predict(picture(label_map), (HEIGHT, WIDTH))
        assert isinstance(found.masks, EncodedMasks)
        assert found.masks.runs == Runs.from_label_map(label_map)
        assert found.bboxes.tolist() == [[4, 3, 13, 12], [13, 3, 22, 12], [20, 16, 31, 22]]
        assert found.labels.tolist() == [0, 0, 0]
        sure = torch.tensor(10.0).sigmoid().item()
        assert found.scores.tolist() == pytest.approx([sure] * 3)
        assert found.maskness.tolist() == found.scores.tolist()
        assert "soft_masks" not in found

    def test_score_is_the_mean_probability_of_the_pixels(self):
        image = torch.zeros(3, HEIGHT, WIDTH)
        image[0, 5, 5:7] = torch.tensor([0.6, 0.52])
        found = self.predict(image, (HEIGHT, WIDTH))
        expected = torch.tensor([2.0, 0.4]).sigmoid().mean().item()
        assert found.scores.tolist() == pytest.approx([expected])

    def test_masks_and_boxes_are_of_the_original_image(self):
        label_map = two_cells()
        image = picture(label_map).repeat_interleave(3, dim=1).repeat_interleave(2, dim=2)
        shapes = (3 * HEIGHT, 2 * WIDTH), (HEIGHT, WIDTH)
        found = self.predict(image, *shapes)
        assert found.masks.runs == Runs.from_label_map(label_map)
        assert found.bboxes[0].tolist() == [4, 3, 13, 12]
        not_rescaled = self.predict(image, *shapes, rescale=False)
        assert not_rescaled.masks.shape == (3, 3 * HEIGHT, 2 * WIDTH)
        assert not_rescaled.bboxes[0].tolist() == [8, 9, 26, 36]

    def test_padding_is_no_cell(self):
        image = torch.ones(3, HEIGHT + 8, WIDTH + 8)
        image[:, :HEIGHT, :WIDTH] = picture(two_cells())
        found = self.predict(image, (HEIGHT, WIDTH))
        assert found.masks.runs == Runs.from_label_map(two_cells())

    def test_an_image_without_cells(self):
        found = self.predict(torch.zeros(3, HEIGHT, WIDTH), (HEIGHT, WIDTH))
        assert len(found) == 0
        assert found.bboxes.shape == (0, 4)
        assert found.masks.shape == (0, HEIGHT, WIDTH)

    def test_soft_masks_where_the_config_says_so(self):
        image = picture(two_cells())[None]
        [result] = seeing(soft_masks=True).predict(image, [sample((HEIGHT, WIDTH))])
        soft_masks = result.pred_instances.soft_masks
        assert soft_masks.dtype == torch.uint8
        assert soft_masks.shape == (3, 28, 28)
        assert (soft_masks[:, 3:-3, 3:-3] == 255).all()
        # 9 columns in 28 bins: the centre of the first one is 9 / 56 of a pixel behind the rim, and 0.5 - 9 / 56 before
        # the centre of its pixel. To the left of the second cell are zeros in place of the first one.
        assert soft_masks[1, 14, 0] == round(255 * (0.5 + 9 / 56))

    def test_soft_masks_are_of_the_original_image(self):
        image = picture(two_cells()).repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
        shapes = (2 * HEIGHT, 2 * WIDTH), (HEIGHT, WIDTH)
        [result] = seeing(soft_masks=True).predict(image[None], [sample(*shapes)])
        found = result.pred_instances
        pasted = paste_masks(found.soft_masks / 255, found.bboxes, HEIGHT, WIDTH, threshold=0.5)
        assert pasted == Runs.from_label_map(two_cells())

    def test_soft_masks_of_an_image_without_cells(self):
        nothing = torch.zeros(1, 3, HEIGHT, WIDTH)
        [result] = seeing(soft_masks=True).predict(nothing, [sample((HEIGHT, WIDTH))])
        assert result.pred_instances.soft_masks.shape == (0, 28, 28)

    def test_goes_through_what_comes_behind_every_detector(self):
        [result] = seeing().predict(picture(two_cells())[None], [sample((HEIGHT, WIDTH))])
        prediction = from_dump_entry(result.to_dict())
        assert prediction.image_id == "image"
        steps = [dict(type="Rescore"), dict(type="ScoreThreshold", score_thr=0.5)]
        final = build_pipeline(steps, ("nucleus",))(prediction)
        assert final.masks == Runs.from_label_map(two_cells())

    def test_settings_of_the_watershed(self):
        model = seeing(dict(foreground=BCE), test_cfg=dict(min_px=70))
        [result] = model.predict(picture(two_cells())[None], [sample((HEIGHT, WIDTH))])
        areas = result.pred_instances.masks.runs.areas
        assert areas.tolist() == [162]  # without rims the first two are one, the third has 66

    def test_maps_for_who_merges_views(self):
        model = seeing()
        model.keeps_maps = True
        [result] = model.predict(picture(two_cells())[None], [sample((HEIGHT - 2, WIDTH - 1))])
        assert result.pred_maps.shape == (2, HEIGHT - 2, WIDTH - 1)
        assert "pred_instances" not in result


class TestLoss:
    def test_names_and_values(self):
        label_map = two_cells()
        image = picture(label_map)
        losses = seeing().loss(image[None], [with_truth(label_map, image)])
        assert set(losses) == {
            "loss_foreground_bce",
            "loss_boundary_dice",
            "dice",
            "iou",
            "precision",
            "recall",
        }
        assert losses["loss_foreground_bce"].item() == pytest.approx(4.54e-5, rel=0.01)
        assert losses["loss_boundary_dice"].item() == pytest.approx(0, abs=1e-2)
        assert losses["dice"].item() == losses["recall"].item() == 1
        assert not losses["dice"].requires_grad

    def test_what_an_image_lacks_to_the_size_of_its_batch_does_not_count(self):
        label_map = two_cells()
        image = picture(label_map)
        wrong = torch.ones(1, 3, HEIGHT + 9, WIDTH + 5)
        wrong[0, :, :HEIGHT, :WIDTH] = image
        alone = seeing().loss(image[None], [with_truth(label_map, image)])
        padded = seeing().loss(wrong, [with_truth(label_map, image)])
        assert {name: value.item() for name, value in padded.items()} == pytest.approx(
            {name: value.item() for name, value in alone.items()}
        )


class TestMirroredContext:
    def network(self, padding: str) -> UNetInstance:
        network = dict(type="UNet", filters=(2, 3, 4), padding=padding)
        return UNetInstance(network, dict(foreground=BCE)).eval()

    @torch.no_grad()
    @pytest.mark.parametrize("padding", ["same", "valid"])
    @pytest.mark.parametrize("size_hw", [(1, 1), (7, 30), (33, 16), (40, 41)])
    def test_result_has_the_size_of_the_image(self, padding, size_hw):
        maps = self.network(padding)(torch.randn(1, 3, *size_hw), mode="tensor")
        assert maps.shape == (1, 1, *size_hw)

    @torch.no_grad()
    def test_with_enough_context_it_is_the_network_itself(self):
        model = self.network("valid")
        image = torch.randn(1, 3, 60, 60)
        own = model.network(image)
        before, _ = model.network.context(20)
        side = own.shape[-1]
        assert side == 60 - 2 * before
        everywhere = model.extract_feat(image)
        inside = slice(before, before + side)
        torch.testing.assert_close(everywhere[:, :, inside, inside], own, rtol=1e-4, atol=1e-5)

    @torch.no_grad()
    def test_beyond_the_border_is_the_mirror_image(self):
        model = self.network("valid")
        image = torch.randn(1, 3, 30, 30)
        before, _ = model.network.context(30)
        # 152 = 30 + 60 + 62 can be halved after every two convolutions.
        mirrored = torch.from_numpy(
            np.pad(image.numpy(), [(0, 0), (0, 0), (60, 62), (60, 62)], mode="reflect")
        )
        own = model.network(mirrored)
        begin = 60 - before
        torch.testing.assert_close(
            model.extract_feat(image),
            own[:, :, begin : begin + 30, begin : begin + 30],
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize(
    "losses", [dict(boundary=BCE), dict(foreground=BCE, distance=BCE)], ids=["none", "unknown"]
)
def test_wrong_losses(losses):
    with pytest.raises(ConfigError, match="losses are of 'foreground'"):
        UNetInstance(dict(type="UNet"), losses)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_a_step_lowers_the_loss_of_every_config(path):
    cfg = copy.deepcopy(load_config(path))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    label_map = two_cells()
    image = picture(label_map)
    images, truths = image[None].repeat(2, 1, 1, 1), [with_truth(label_map, image)] * 2

    def loss() -> Tensor:
        torch.manual_seed(1)  # the same pixels dropped
        losses = model.loss(images, truths)
        return sum(value for name, value in losses.items() if "loss" in name)

    before = loss()
    build_optim_wrapper(model, cfg.optim_wrapper).update_params(before)
    with torch.no_grad():
        assert loss() < before
