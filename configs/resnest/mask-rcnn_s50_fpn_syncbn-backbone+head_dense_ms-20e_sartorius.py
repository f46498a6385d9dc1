_base_ = [
    "./mask-rcnn_s50_fpn_syncbn-backbone+head_ms-20e_sartorius.py",
    "../_base_/parts/dense_cells.py",
]

model = _base_.dense_cells
