"""Find cells in images: a submission, COCO results and overlays from a trained model.

Images are 8- or 16-bit, gray or color, PNG, TIFF, JPEG or BMP. A 16-bit image with values above 255 is stretched
to 8 bits from its 0.1 to its 99.9 percentile. What is found goes through the config's `postprocess` list.
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.cli.arguments import (
    add_config_arguments,
    add_device_argument,
    add_model_arguments,
    add_tta_argument,
    positive,
)
from cellseg_mmdet.export import FORMATS

EXAMPLES = """\
  cellseg infer my_config.py runs/first/epoch_20.pth image.tif --out-dir found
  cellseg infer my_config.py epoch_20.pth images/ --recursive --on-error skip --out-dir found
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_model_arguments(parser)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="image, or folder of images")
    parser.add_argument(
        "--out-dir",
        required=True,
        metavar="DIR",
        help="folder for submission.csv, predictions.json (COCO results), images.json (the data set they refer to) "
        "and overlays/",
    )
    parser.add_argument("--recursive", action="store_true", help="search sub-folders as well")
    add_device_argument(parser)
    parser.add_argument(
        "--batch-size", type=positive, default=1, help="images at once (default: 1)"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS.names(),
        default="sartorius",
        help="of the submission (default: sartorius)",
    )
    add_tta_argument(parser)
    parser.add_argument("--no-overlays", action="store_true", help="draw no pictures")
    parser.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="what to do about an image that cannot be read (default: stop)",
    )
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Predict the images and write what was found."""
    from cellseg_mmdet.inference import Predictor, find_images, infer_images

    images = find_images(args.paths, recursive=args.recursive)
    predictor = Predictor(
        args.config,
        args.checkpoint,
        device=args.device,
        cfg_options=args.cfg_options,
        trust_checkpoint=args.trust_checkpoint,
        tta=args.tta,
    )
    print(f"{len(images)} images, on {predictor.device}")
    summary = infer_images(
        predictor,
        images,
        args.out_dir,
        batch_size=args.batch_size,
        submission_format=args.format,
        overlays=not args.no_overlays,
        on_error=args.on_error,
    )
    print(summary)
