# Parts for training on a CPU; a leaf names this file as a second base and puts them into its pipelines. Small cells
# need pixels, so everything is seen `enlarge` times as large.
enlarge = 1.5  # 520 x 704 becomes 780 x 1056 in a test
crop_side = int(192 * enlarge)  # of 192 x 192 pixels of the image

enlarged_crop = dict(
    type="RandomScaleCrop", crop_size_hw=(crop_side, crop_side), scale_range=(enlarge, enlarge)
)
enlarged = dict(type="Resize", scale_factor=enlarge)
