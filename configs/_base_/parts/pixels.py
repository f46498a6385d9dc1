# Parts for U-Nets; a leaf names this file as a second base and puts them into its pipelines and evaluators.
pack_targets = dict(type="PackPixelTargets")

pixel_evaluator = dict(metric=["kaggle_map", "dice", "iou"])

# No two cells of a U-Net share a pixel, so there is nothing to suppress.
pixel_postprocess = [
    dict(type="ScoreThreshold", score_thr=0.5),  # of the mean probability of foreground
    dict(type="FillHoles"),
    dict(type="RemoveOverlaps", give_to="smaller"),  # of a cell in the hole of another
    dict(type="MinArea", min_area_px=16),
]
