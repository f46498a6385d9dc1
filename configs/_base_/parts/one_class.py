# Parts for a leaf that makes all cell types one class, from the same annotation files:
# a leaf names this file as a second base and puts each part in its place.
one_class_data = dict(
    single_class="cell",
    metainfo=dict(classes=("cell",), palette=[(86, 180, 233)]),
)
one_class_evaluator = dict(single_class="cell")
one_class_roi_head = dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1))
