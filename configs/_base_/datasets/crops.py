# Pipelines for training on a CPU; a leaf names this file as a second base and gives them to its
# data loaders, behind its `load_image`. Small cells need pixels, so everything is seen `enlarge` times as large.
enlarge = 1.5  # 520 x 704 becomes 780 x 1056 in a test
crop_side = int(192 * enlarge)  # of 192 x 192 pixels of the image

crop_pipeline = [
    dict(type="LoadRoIAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="RandomScaleCrop", crop_size_hw=(crop_side, crop_side), scale_range=(enlarge, enlarge)
    ),
    dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
    dict(type="PackDetInputs"),
]
whole_image_pipeline = [
    dict(type="Resize", scale_factor=enlarge),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "cell_type"),
    ),
]
