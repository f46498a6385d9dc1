_base_ = ["./mask-rcnn_r50_fpn_20e_sartorius.py", "../_base_/parts/dense_cells.py"]

model = _base_.dense_cells
