# Test-time augmentation, for `--tta` of tools/test.py and tools/infer.py. A leaf writes
# `tta_pipeline = [*test_pipeline[:-1], _base_.views]`.
tta_model = dict(type="CellTTAModel", iou_thr=0.55)

# An image from all eight sides: what is up means nothing under a microscope.
# A further list of `Resize` gives several scales, and costs as many times as much.
views = dict(
    type="TestTimeAug",
    transforms=[
        [dict(type="RandomFlip", prob=prob) for prob in (0.0, 1.0)],
        [dict(type="RandomRotate90", turns=[num_turns]) for num_turns in range(4)],
        [
            dict(
                type="PackDetInputs",
                # Without flip and flip_direction: mmdet's cascades fail on them, and homography_matrix says it all.
                meta_keys=(
                    "img_id",
                    "img_path",
                    "ori_shape",
                    "img_shape",
                    "scale_factor",
                    "homography_matrix",
                    "cell_type",
                ),
            )
        ],
    ],
)
