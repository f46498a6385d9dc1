#!/usr/bin/env python
"""Find cells in images: a submission, COCO results and overlays from a trained model.

Images are of any format that docs/images.md lists; their values become what the model was trained on as its config
says. Of a stack the planes have to be selected. What is found goes through the config's `postprocess` list.
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.engine.arguments import add_config_arguments
from cellseg_mmdet.export import FORMATS
from cellseg_mmdet.images import add_plane_arguments, find_images, selection_from
from cellseg_mmdet.images.scale import add_scale_arguments, scale_from
from cellseg_mmdet.inference import Predictor, infer_images
from cellseg_mmdet.terminal import run_tool


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file the model was trained with")
    parser.add_argument("checkpoint", help="checkpoint file or URL")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="image, or folder of images")
    parser.add_argument(
        "--out-dir",
        required=True,
        help="folder for submission.csv, predictions.json (COCO results), images.json (the data set they refer to) "
        "and overlays/",
    )
    parser.add_argument("--recursive", action="store_true", help="search sub-folders as well")
    parser.add_argument(
        "--device", help="such as cpu or cuda:0 (default: the first accelerator there is)"
    )
    parser.add_argument(
        "--batch-size", type=_positive, default=1, help="images at once (default: 1)"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS.names(),
        default="sartorius",
        help="of the submission (default: sartorius)",
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="test-time augmentation: predict several views of each image and merge what is found",
    )
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
    return parser


def main(argv: list[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
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


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return value


if __name__ == "__main__":
    run_tool(main)
