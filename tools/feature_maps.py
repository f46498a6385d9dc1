#!/usr/bin/env python
"""Draw what a network sees: the filters of its first convolution, and what layers make of an image.

Works with any model of a config. Each layer becomes a sheet with a tile for each channel.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg_mmdet.engine.arguments import add_config_arguments
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.images import add_plane_arguments, read_image, selection_from
from cellseg_mmdet.inference import Predictor
from cellseg_mmdet.inference.feature_maps import (
    draw_feature_map,
    draw_filters,
    feature_maps,
    first_filters,
    list_layers,
)
from cellseg_mmdet.terminal import run_tool
from cellseg_mmdet.visualization.draw import write_picture


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file the model was trained with")
    parser.add_argument("checkpoint", help="checkpoint file or URL")
    parser.add_argument("image", help="image file")
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
    parser.add_argument("--device", help="such as cpu or cuda:0")
    add_plane_arguments(parser)
    add_config_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    if not (args.list_layers or args.out_dir):
        raise UsageError("give --out-dir, or --list-layers")
    image = read_image(args.image, selection_from(args))
    predictor = Predictor(
        args.config,
        args.checkpoint,
        device=args.device,
        cfg_options=args.cfg_options,
        trust_checkpoint=args.trust_checkpoint,
    )
    if args.list_layers:
        for name, kind, shapes in list_layers(predictor, image):
            print(f"{name:<48} {kind:<24} {shapes}")
        return
    out_dir = Path(args.out_dir)
    name, weights = first_filters(predictor)
    write_picture(out_dir / "filters.png", draw_filters(name, weights))
    maps = feature_maps(predictor, image, args.layers)
    for number, one in enumerate(maps, start=1):
        drawn = draw_feature_map(one, max_channels=args.max_channels)
        write_picture(out_dir / f"{number:02d}_{one.name}.png", drawn)
    print(f"{out_dir}: the filters of {name}, and the feature maps of {len(maps)} layers")


if __name__ == "__main__":
    run_tool(main)
