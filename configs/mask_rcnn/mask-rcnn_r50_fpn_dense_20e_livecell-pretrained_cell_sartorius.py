# Anchors and heads are those of the LIVECell config: all of its weights fit.
_base_ = ["./mask-rcnn_r50_fpn_20e_cell_sartorius.py", "../_base_/parts/dense_cells.py"]

model = _base_.dense_cells
load_from = "work_dirs/mask-rcnn_r50_fpn_dense_20e_livecell/epoch_20.pth"
