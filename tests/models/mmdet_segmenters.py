"""One config for every kind of instance segmenter that mmdet ships, by its folder of configs, or why there is none."""

from __future__ import annotations

# Folder -> configs. Where several models differ in more than their backbone, several.
CONFIGS: dict[str, tuple[str, ...]] = {
    "boxinst": ("boxinst_r50_fpn_ms-90k_coco",),
    "carafe": ("mask-rcnn_r50_fpn-carafe_1x_coco",),
    "cascade_rcnn": ("cascade-mask-rcnn_r50_fpn_1x_coco",),
    "condinst": ("condinst_r50_fpn_ms-poly-90k_coco_instance",),
    "convnext": ("mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco",),
    "dcn": ("mask-rcnn_r50-dconv-c3-c5_fpn_1x_coco",),
    "dcnv2": ("mask-rcnn_r50-mdconv-c3-c5_fpn_1x_coco",),
    "detectors": ("detectors_htc-r50_1x_coco",),
    "fpg": ("mask-rcnn_r50_fpg-chn128_crop640-50e_coco",),
    "gcnet": ("mask-rcnn_r50-gcb-r4-c3-c5_fpn_1x_coco",),
    "gn": ("mask-rcnn_r50_fpn_gn-all_2x_coco",),
    "gn+ws": ("mask-rcnn_r50_fpn_gn-ws-all_2x_coco",),
    "groie": ("mask-rcnn_r50_fpn_groie_1x_coco",),
    "hrnet": ("mask-rcnn_hrnetv2p-w18-1x_coco",),
    "htc": ("htc_r50_fpn_1x_coco", "htc-without-semantic_r50_fpn_1x_coco"),
    "mask2former": ("mask2former_r50_8xb2-lsj-50e_coco",),
    "mask_rcnn": ("mask-rcnn_r50_fpn_1x_coco", "mask-rcnn_r50-caffe-c4_1x_coco"),
    "maskformer": ("maskformer_r50_ms-16xb1-75e_coco",),
    "ms_rcnn": ("ms-rcnn_r50_fpn_1x_coco",),
    "pisa": ("mask-rcnn_r50_fpn_pisa_1x_coco",),
    "point_rend": ("point-rend_r50-caffe_fpn_ms-1x_coco",),
    "queryinst": ("queryinst_r50_fpn_1x_coco",),
    "regnet": ("mask-rcnn_regnetx-400MF_fpn_ms-poly-3x_coco",),
    "res2net": ("mask-rcnn_res2net-101_fpn_2x_coco",),
    "resnest": ("mask-rcnn_s50_fpn_syncbn-backbone+head_ms-1x_coco",),
    "rtmdet": ("rtmdet-ins_tiny_8xb32-300e_coco",),
    "scnet": ("scnet_r50_fpn_1x_coco",),
    "seesaw_loss": ("mask-rcnn_r50_fpn_seesaw-loss-normed-mask_random-ms-2x_lvis-v1",),
    "solo": (
        "solo_r50_fpn_1x_coco",
        "decoupled-solo_r50_fpn_1x_coco",
        "decoupled-solo-light_r50_fpn_3x_coco",
    ),
    "solov2": ("solov2_r50_fpn_1x_coco", "solov2-light_r50-dcn_fpn_ms-3x_coco"),
    "swin": ("mask-rcnn_swin-t-p4-w7_fpn_1x_coco",),
    "yolact": ("yolact_r50_1xb8-55e_coco",),
}

# These are models from above, trained in another way.
RECIPES: dict[str, str] = {
    "albu_example": "mask_rcnn",
    "instaboost": "mask_rcnn",
    "lvis": "mask_rcnn",
    "resnet_strikes_back": "mask_rcnn",
    "scratch": "gn",
    "simple_copy_paste": "mask_rcnn",
    "strong_baselines": "mask_rcnn",
}

WITHOUT_A_CASE: dict[str, str] = {
    "mask2former_vis": "videos",
    "masktrack_rcnn": "videos",
    "panoptic_fpn": "panoptic: one map of things and stuff, no instances with scores",
}

# They need a package that is not everywhere.
PACKAGES: dict[str, str] = {"convnext": "mmpretrain"}

# Their widths are not all in the config.
WIDE = {
    "convnext",
    "hrnet",
    "mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco",
    "regnet",
    "rtmdet",
    "swin",
}

# mmcv's compiled operators leave a CPU without one that they need; `cellseg_mmdet.ops` does not.
PORTABLE_ON_CPU = {"carafe"}

# They begin with memory as it was found. The others keep torch's first values: mmdet's make all scores alike.
INITIALISED = {"detectors", "queryinst"}
