"""Find cells in images: a submission, COCO results and overlays from a trained model.

The model is one that ships, by its name, or a config and a checkpoint.
Images are of any format that docs/images.md lists; their values become what the model was trained on as its config
says. Of a stack the planes have to be selected. What is found goes through the config's `postprocess` list. After an
interruption the same command goes on where it was.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cellseg_mmdet.cli.arguments import (
    WRITERS_HELP,
    add_config_arguments,
    add_device_argument,
    add_model_and_images,
    add_tta_argument,
    add_writer_arguments,
    positive,
    telling_of_compilation,
    writer_options,
)
from cellseg_mmdet.export import WRITERS
from cellseg_mmdet.images import add_plane_arguments, selection_from
from cellseg_mmdet.images.scale import ScaleChoice, add_scale_arguments, scale_from
from cellseg_mmdet.images.tile_choice import add_tile_arguments, tile_choice_from

if TYPE_CHECKING:
    from cellseg_mmdet.cli import CommandParser

EXAMPLES = """\
  cellseg infer nuclei images/ --out-dir found
  cellseg infer my_config.py runs/first/epoch_20.pth image.tif --out-dir found
  cellseg infer my_config.py epoch_20.pth images/ --recursive --on-error skip --out-dir found
  cellseg infer my_config.py epoch_20.pth images/ --write coco dump --executor processes --out-dir found
  cellseg infer my_config.py epoch_20.pth slide.ome.tif --write geojson label-tiff --simplify 1 --out-dir found
  cellseg infer nuclei images/ --write overlay geojson csv --pixel-size 0.325 --out-dir found
  cellseg infer my_config.py epoch_20.pth stack.tif --channel 0 --z max --out-dir found
  cellseg infer my_config.py epoch_20.pth slide.ome.tif --memory 3 --write coco --out-dir found
"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of the command."""
    add_model_and_images(parser, "paths", "PATH", "image, or folder of images")
    parser.add_argument(
        "--out-dir", required=True, metavar="DIR", help="folder for what is written"
    )
    parser.add_argument(
        "--write",
        nargs="+",
        choices=WRITERS.names(),
        default=["submission", "coco", "overlay"],
        help=f"{WRITERS_HELP} (default: submission coco overlay)",
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
    add_writer_arguments(parser)
    add_plane_arguments(parser)
    add_scale_arguments(parser)
    add_tile_arguments(parser)
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Predict the images and write what was found."""
    from cellseg_mmdet.compile_ahead import compiled_ahead
    from cellseg_mmdet.shipped import list_models

    write = [name for name in args.write if name != "overlay" or not args.no_overlays]
    is_needed = {
        "decode": args.config in [model.name for model in list_models()],  # their code is FlowCode
        "measure": bool({"csv", "parquet"} & set(write)),
    }
    with compiled_ahead([part for part, needed in is_needed.items() if needed]):
        _infer(args, write)


def _infer(args: argparse.Namespace, write: list[str]) -> None:
    from cellseg_mmdet.inference import ModelSpec, infer_images, plan
    from cellseg_mmdet.shipped import model_files

    is_number = args.pixel_size and args.pixel_size != "file"
    options = writer_options(args, write, (args.pixel_size,) * 2 if is_number else None)
    config, _ = model_files(args.config, args.checkpoint)  # is there such a model?
    scale = scale_from(args)
    is_said = scale.scale or scale.diameter_px
    if args.checkpoint is None and not is_said:
        # Models that ship estimate the size of the cells, unless that of a pixel tells them.
        is_told = scale.pixel_size_um is not None and _knows_pixel_size(config)
        scale = scale if is_told else ScaleChoice(diameter_px="auto")
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
    with telling_of_compilation():
        summary = infer_images(
            model,
            tasks,
            args.out_dir,
            write=write,
            writer_options=options,
            executor=args.executor,
            workers=args.workers,
            batch_size=args.batch_size,
            on_error=args.on_error,
            resume=args.resume,
            selection=selection,
            scale=scale,
            tile=tile_choice_from(args),
        )
    print(summary)


def _knows_pixel_size(config: str) -> bool:
    """Return whether a model says how large the pixels were that it was trained on."""
    from cellseg_mmdet.config_content import read_config

    return "pixel_size_um" in (read_config(config).get("cell_scale") or {})
