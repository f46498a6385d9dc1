"""A case for every transform that mmdet and mmcv register, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mmdet.structures.bbox import HorizontalBoxes

Config = dict[str, Any]
Results = dict[str, Any]

FLIPS = ["horizontal", "vertical", "diagonal"]
_RESIZE = dict(type="Resize", scale=(200, 90))
_FLIP = dict(type="RandomFlip", prob=0.5, direction=FLIPS)

# Arguments by name, several times where they lead different ways. What they give has to be the same, masks included.
CASES: dict[str, list[Config]] = {
    "AutoAugment": [{}, dict(policies=[[dict(type="Rotate", prob=1.0), _FLIP]])],
    "AutoContrast": [dict(prob=1.0)],
    "Brightness": [dict(prob=1.0)],
    "CachedMixUp": [dict(img_scale=(90, 100), max_cached_images=4, prob=1.0)],
    "CachedMosaic": [dict(img_scale=(90, 100), max_cached_images=6, prob=1.0)],
    "Color": [dict(prob=1.0)],
    "ColorTransform": [dict(prob=1.0, level=1)],
    "Compose": [dict(transforms=[_RESIZE, _FLIP])],
    "Contrast": [dict(prob=1.0)],
    "CopyPaste": [{}, dict(mask_occluded_thr=20, max_num_pasted=9), dict(selected=False)],
    "CutOut": [dict(n_holes=3, cutout_shape=(8, 9))],
    "Equalize": [dict(prob=1.0)],
    "Expand": [dict(mean=(7, 8, 9), prob=1.0)],
    "FilterAnnotations": [
        dict(min_gt_bbox_wh=(12, 12)),
        dict(by_mask=True, min_gt_mask_area=150, keep_empty=False),
    ],
    "FixScaleResize": [dict(scale=(200, 90), keep_ratio=True)],
    "FixShapeResize": [dict(width=90, height=140), dict(width=90, height=140, keep_ratio=False)],
    "GTBoxSubOne_GLIP": [{}],
    "GeomTransform": [dict(level=3)],
    "ImageToTensor": [dict(keys=["img"])],
    "InferencerLoader": [{}],
    "Invert": [dict(prob=1.0)],
    "KeyMapper": [dict(transforms=[_RESIZE], mapping=dict(img="img"), auto_remap=True)],
    "LoadAnnotations": [dict(with_mask=True)],
    "LoadEmptyAnnotations": [dict(with_mask=True, with_seg=True)],
    "LoadImageFromFile": [{}],
    "LoadImageFromNDArray": [{}],
    "LoadMultiChannelImageFromFiles": [{}],
    "LoadProposals": [dict(num_max_proposals=5)],
    "LoadTextAnnotations": [{}],
    "MinIoURandomCrop": [dict(min_crop_size=0.3)],
    "MultiBranch": [dict(branch_field=["one"], one=[_RESIZE, dict(type="PackDetInputs")])],
    "Normalize": [dict(mean=(1, 2, 3), std=(4, 5, 6))],
    "PackDetInputs": [{}],
    "Pad": [dict(size=(160, 170)), dict(size_divisor=32)],
    "PhotoMetricDistortion": [{}],
    "Posterize": [dict(prob=1.0)],
    "ProposalBroadcaster": [dict(transforms=[_RESIZE, _FLIP])],
    "RandAugment": [dict(aug_num=2)],
    "RandomApply": [dict(transforms=[_RESIZE], prob=0.5)],
    "RandomChoice": [dict(transforms=[[_RESIZE], [_FLIP]])],
    "RandomChoiceResize": [dict(scales=[(333, 333), (90, 60)], keep_ratio=True)],
    "RandomCrop": [
        dict(crop_size=(60, 40)),
        dict(crop_size=(60, 40), recompute_bbox=True),
        dict(crop_size=(500, 40), recompute_bbox=True, allow_negative_crop=True),
        dict(crop_size=(0.3, 0.5), crop_type="relative_range"),
    ],
    "RandomErasing": [
        dict(n_patches=(1, 5), ratio=(0, 0.4)),
        dict(n_patches=3, ratio=0.3, mask_border_value=1),
    ],
    "RandomFlip": [dict(prob=1.0, direction=FLIPS), dict(prob=0.5)],
    "RandomFlip_GLIP": [dict(prob=1.0)],
    "RandomGrayscale": [dict(prob=0.5)],
    "RandomOrder": [dict(transforms=[_RESIZE, _FLIP])],
    "RandomResize": [dict(scale=(150, 120), ratio_range=(0.3, 2.0), keep_ratio=True)],
    "Resize": [
        dict(scale=(200, 90)),
        dict(scale=(200, 90), keep_ratio=True),
        dict(scale_factor=(0.7, 1.9)),
    ],
    "ResizeShortestEdge": [dict(scale=70, max_size=160)],
    "Rotate": [dict(max_mag=30.0, prob=1.0)],
    "SegRescale": [dict(scale_factor=0.5)],
    "Sharpness": [dict(prob=1.0)],
    "ShearX": [dict(max_mag=30.0, prob=1.0)],
    "ShearY": [dict(max_mag=30.0, prob=1.0)],
    "Solarize": [dict(prob=1.0)],
    "SolarizeAdd": [dict(prob=1.0)],
    "TestTimeAug": [dict(transforms=[[_RESIZE, _FLIP], [dict(type="PackDetInputs")]])],
    "ToTensor": [dict(keys=["gt_bboxes_labels"])],
    "TransformBroadcaster": [
        dict(transforms=[_RESIZE], mapping=dict(img=["img", "other"]), auto_remap=True)
    ],
    "TranslateX": [dict(max_mag=0.4, prob=1.0)],
    "TranslateY": [dict(max_mag=0.4, prob=1.0)],
    "Transpose": [dict(keys=["img"], order=(2, 0, 1))],
    "WrapFieldsToLists": [{}],
    "YOLOXHSVRandomAug": [{}],
}

# They need a package that is not everywhere.
WITH_PACKAGE: dict[str, tuple[str, list[Config]]] = {
    "Albu": (
        "albumentations",
        [
            dict(
                transforms=[
                    dict(type="HorizontalFlip", p=0.5),
                    dict(type="Affine", rotate=(-40, 40), p=1.0),
                ],
                bbox_params=dict(
                    type="BboxParams",
                    format="pascal_voc",
                    label_fields=["gt_bboxes_labels", "gt_ignore_flags"],
                    filter_lost_elements=filtered,
                ),
                keymap=dict(img="image", gt_masks="masks", gt_bboxes="bboxes"),
                skip_img_without_anno=True,
            )
            for filtered in (True, False)
        ],
    )
}

# They move the picture and its boxes, and not the masks, whichever kind these are.
LEAVE_MASKS: dict[str, Config] = {
    "MixUp": dict(img_scale=(90, 100)),
    "Mosaic": dict(img_scale=(90, 100)),
    "RandomShift": dict(prob=1.0, max_shift_px=30),
}

# The same of mmcv's, where mmdet has one of the name that moves masks; they take boxes as arrays (box_type=None).
LEAVE_IN_MMCV: dict[str, Config] = {
    "mmcv.RandomFlip": dict(prob=1.0, direction="horizontal"),
    "mmcv.Resize": dict(scale=(200, 90)),
}

# They stop, with either kind; and what they say.
REFUSE_MASKS: dict[str, tuple[Config, str]] = {
    "CenterCrop": (dict(crop_size=60), "setting an array element"),  # boxes must be arrays
    "RandomAffine": ({}, "RandomAffine only supports bbox"),
    "RandomCenterCropPad": (
        dict(
            crop_size=(90, 90),
            ratios=(1.0,),
            mean=[0, 0, 0],
            std=[1, 1, 1],
            to_rgb=False,
            test_pad_mode=None,
        ),
        "RandomCenterCropPad only supports bbox",
    ),
}

WITHOUT_A_CASE: dict[str, str] = {
    "BaseFrameSample": "chooses frames of a video",
    "ImageAug": "lines of lanes",
    "InstaBoost": "needs the package instaboostfast; changes annotations before they are loaded",
    "LinesToArray": "lines of lanes",
    "LoadPanopticAnnotations": "reads a panoptic picture, not masks of instances",
    "LoadTrackAnnotations": "instances of a video",
    "MultiScaleFlipAug": "wants the key data_sample, which mmdet's PackDetInputs does not give",
    "PackLineDetectionInputs": "lines of lanes",
    "PackReIDInputs": "one label a picture, no instances",
    "PackTrackInputs": "frames of a video",
    "RandomSamplingNegPos": "needs the package transformers; words for prompts, and boxes only",
    "UniformRefFrameSample": "chooses frames of a video",
}


def _proposals(results: Results) -> Results:
    boxes = np.asarray(results["gt_bboxes"].tensor) + 1
    return {"proposals": dict(bboxes=boxes, scores=np.ones(len(boxes)))}


# What some need besides: more keys of the results.
ALSO: Mapping[str, Callable[[Results], Results]] = {
    "LoadMultiChannelImageFromFiles": lambda results: {"img_path": [results["img_path"]] * 3},
    "LoadProposals": _proposals,
    "LoadTextAnnotations": lambda results: {"text": {"0": "cell"}},
    "MultiBranch": lambda results: {"branch": "one"},
    "RandomCenterCropPad": lambda results: {"img": results["img"].astype(np.float32)},
    "ProposalBroadcaster": lambda results: {
        "proposals": HorizontalBoxes(results["gt_bboxes"].tensor + 1)
    },
    "SegRescale": lambda results: {"gt_seg_map": results["img"][..., 0].copy()},
    "TransformBroadcaster": lambda results: {"other": results["img"].copy()},
}
# How many other images are mixed in.
NUM_MIXED = {"CopyPaste": 1, "MixUp": 1, "Mosaic": 3}
