"""Find cells in images: a submission, COCO results and overlays from a trained model.

Images are of any format that docs/images.md lists; their values become what the model was trained on as its config
says. Of a stack the planes have to be selected. What is found goes through the config's `postprocess` list. After an
interruption the same command goes on where it was.
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
from cellseg_mmdet.export import FORMATS, WRITERS
from cellseg_mmdet.images import add_plane_arguments, selection_from
from cellseg_mmdet.images.scale import add_scale_arguments, scale_from
from cellseg_mmdet.images.tile_choice import add_tile_arguments, tile_choice_from

EXAMPLES = """\
  cellseg infer my_config.py runs/first/epoch_20.pth image.tif --out-dir found
  cellseg infer my_config.py epoch_20.pth images/ --recursive --on-error skip --out-dir found
  cellseg infer my_config.py epoch_20.pth images/ --write coco dump --executor processes --out-dir found
  cellseg infer my_config.py epoch_20.pth stack.tif --channel 0 --z max --out-dir found
  cellseg infer my_config.py epoch_20.pth slide.ome.tif --memory 3 --write coco --out-dir found
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_model_arguments(parser)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="image, or folder of images")
    parser.add_argument(
        "--out-dir", required=True, metavar="DIR", help="folder for what is written"
    )
    parser.add_argument(
        "--write",
        nargs="+",
        choices=WRITERS.names(),
        default=["submission", "coco", "overlay"],
        help="submission: submission.csv; coco: predictions.json (COCO results) and images.json (the data set they "
        "refer to); overlay: overlays/, pictures; dump: predictions.pkl, what evaluate, ensemble and tune read "
        "(default: submission coco overlay)",
    )
    parser.add_argument("--recursive", action="store_true", help="search sub-folders as well")
    add_device_argument(parser)
    parser.add_argument(
        "--batch-size", type=positive, default=1, help="images at once (default: 1)"
    )
    parser.add_argument(
        "--executor",
        default="local",
        help="who predicts: local, this process; processes, several with a copy of the model each (default: local)",
    )
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="processes of the executor (default: one a GPU, or one a core)",
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
        help="what to do about an image that cannot be predicted; failed.csv lists it (default: stop)",
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="go on with the run that DIR holds, if it is of the same model and options (default); "
        "--no-resume removes what it wrote and starts anew",
    )
    add_plane_arguments(parser)
    add_scale_arguments(parser)
    add_tile_arguments(parser)
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Predict the images and write what was found."""
    from cellseg_mmdet.inference import ModelSpec, infer_images, plan

    selection = selection_from(args)
    tasks = plan(args.paths, recursive=args.recursive, selection=selection, out_dir=args.out_dir)
    model = ModelSpec(
        args.config,
        args.checkpoint,
        device=args.device,
        cfg_options=args.cfg_options or {},
        trust_checkpoint=args.trust_checkpoint,
        tta=args.tta,
    )
    summary = infer_images(
        model,
        tasks,
        args.out_dir,
        write=[name for name in args.write if name != "overlay" or not args.no_overlays],
        writer_options={"submission": {"format": args.format}},
        executor=args.executor,
        workers=args.workers,
        batch_size=args.batch_size,
        on_error=args.on_error,
        resume=args.resume,
        selection=selection,
        scale=scale_from(args),
        tile=tile_choice_from(args),
    )
    print(summary)
