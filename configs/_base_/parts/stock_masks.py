# Parts for a leaf that puts mmdet's own N x height x width masks back, to compare: a leaf names this file as a second
# base and puts each part in its place. Same boxes, masks, losses and scores; only time and memory differ.
stock_load_annotations = dict(
    type="LoadAnnotations",
    with_bbox=True,
    with_mask=True,
    poly2mask=True,  # the masks are RLE: with False mmdet would ignore every cell and say nothing
)
stock_roi_head = dict(mask_head=dict(type="FCNMaskHead"))
