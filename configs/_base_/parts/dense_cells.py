# Parts for a leaf on crowded images: a leaf names this file as a second base and writes
# `model = _base_.dense_cells`.
#
# Measured on 120 images of the competition (15,862 cells), in pixels of the 520 x 704 image:
#   square root of the box area    5%   25%   50%   75%   95%   99%    cells an image, median and most
#     shsy5y                       10    14    17    22    33    44    290, 790
#     cort                         12    15    17    20    28    37     30, 94
#     astro                        18    33    47    64    98   136     66, 141
# The network sees them 1024 / 704 = 1.45 to 1333 / 704 = 1.89 times as large, so from 15 (5% of
# shsy5y, 1.45 times) to 257 (99% of astro, 1.89 times). mmdet's anchors begin at 8 * 4 = 32; these
# have sides 16, 23, 32, ... 256, 362. Cells with an anchor of IoU >= 0.7 at test size
# (1.82 times): shsy5y 45% -> 75%, cort 56% -> 78%, astro 42% -> 68%.
dense_cells = dict(
    rpn_head=dict(anchor_generator=dict(scales=[4, 4 * 2**0.5])),
    train_cfg=dict(
        # Half of the samples may be positive: 790 cells need more than mmdet's 128.
        rpn=dict(sampler=dict(num=1024)),
        # For each level: 5 a cell of the densest image, nearly all of whose cells lie on one level.
        rpn_proposal=dict(nms_pre=4000, max_per_img=2000),
        # A quarter of the samples are cells, each of which costs a mask: 256 instead of 128.
        rcnn=dict(sampler=dict(num=1024)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=4000, max_per_img=3000),
        rcnn=dict(max_per_img=1000),  # the densest image has 790 cells
    ),
)
