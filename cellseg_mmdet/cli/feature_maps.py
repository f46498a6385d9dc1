"""Draw what a network sees: the filters of its first convolution, and what layers make of an image.

Works with any model of a config. Each layer becomes a sheet with a tile for each channel.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cellseg_mmdet.cli.arguments import (
    add_config_arguments,
    add_device_argument,
    add_model_and_images,
)
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.images import add_plane_arguments, selection_from

if TYPE_CHECKING:
    from cellseg_mmdet.cli import CommandParser

EXAMPLES = """\
  cellseg feature-maps nuclei image.png --out-dir maps
  cellseg feature-maps my_config.py epoch_20.pth image.png --list-layers
  cellseg feature-maps my_config.py epoch_20.pth image.png --layers backbone.layer1 neck --out-dir maps
"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of the command."""
    add_model_and_images(parser, "image", "IMAGE", "image file, one")
    parser.add_argument("--out-dir", metavar="DIR", help="folder for the sheets")
    parser.add_argument(
        "--layers",
        nargs="+",
        default=[],
        metavar="NAME",
        help="layers to draw, such as backbone.layer1 or neck (default: the parts of the backbone)",
    )
    parser.add_argument(
        "--list-layers",
        action="store_true",
        help="print name, type and output shapes of all layers with feature maps, and draw nothing",
    )
    parser.add_argument(
        "--max-channels",
        type=int,
        default=64,
        help="channels of a layer to draw, the first ones (default: %(default)s)",
    )
    add_device_argument(parser)
    add_plane_arguments(parser)
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Draw the sheets, or list the layers."""
    if not (args.list_layers or args.out_dir):
        raise UsageError("give --out-dir, or --list-layers")
    if len(args.image) > 1:
        raise UsageError(f"give one image; got {', '.join(args.image)}")
    from cellseg_mmdet.images import read_image
    from cellseg_mmdet.inference import Predictor
    from cellseg_mmdet.inference.feature_maps import list_layers, write_sheets
    from cellseg_mmdet.shipped import model_files

    image = read_image(args.image[0], selection_from(args))
    predictor = Predictor(
        *model_files(args.config, args.checkpoint),
        device=args.device,
        cfg_options=args.cfg_options,
        trust_checkpoint=args.trust_checkpoint,
        folds_norms=False,
    )
    if args.list_layers:
        for name, kind, shapes in list_layers(predictor, image):
            print(f"{name:<48} {kind:<24} {shapes}")
        return
    first, num_layers = write_sheets(
        predictor, image, args.out_dir, layers=args.layers, max_channels=args.max_channels
    )
    print(f"{args.out_dir}: the filters of {first}, and the feature maps of {num_layers} layers")
