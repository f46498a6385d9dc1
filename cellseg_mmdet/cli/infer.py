"""Find cells in images: a submission, COCO results and overlays from a trained model.

Images are of any format that docs/images.md lists; their values become what the model was trained on as its config
says. Of a stack the planes have to be selected. What is found goes through the config's `postprocess` list.
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
from cellseg_mmdet.images import add_plane_arguments, selection_from
from cellseg_mmdet.images.scale import add_scale_arguments, scale_from

EXAMPLES = """\
  cellseg infer my_config.py runs/first/epoch_20.pth image.tif --out-dir found
  cellseg infer my_config.py epoch_20.pth images/ --recursive --on-error skip --out-dir found
  cellseg infer my_config.py epoch_20.pth stack.tif --channel 0 --z max --out-dir found
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
    add_plane_arguments(parser)
    add_scale_arguments(parser)
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Predict the images and write what was found."""
    from cellseg_mmdet.images import find_images
    from cellseg_mmdet.inference import Predictor, infer_images

    selection = selection_from(args)
    images = find_images(args.paths, recursive=args.recursive, selection=selection)
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
        selection=selection,
        scale=scale_from(args),
        cell_scale=predictor.cfg.get("cell_scale"),
    )
    print(summary)
