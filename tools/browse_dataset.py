#!/usr/bin/env python
"""Look at a data set before training on it: a page on its images and annotations, and what training sees of them.

The page shows cell types, examples, distributions and the annotations that are broken or overlap others; a csv file
lists all of those. Sheets of augmented images, with contours and boxes in the colours of their classes, are in the
page and beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import DictAction

from cellseg_mmdet.engine import load_config
from cellseg_mmdet.inference.training_samples import (
    annotated_images,
    build_training_set,
    draw_samples,
)
from cellseg_mmdet.terminal import run_tool
from cellseg_mmdet.visualization import write_picture
from cellseg_mmdet.visualization.data_set_page import write_data_set_page
from cellseg_mmdet.visualization.samples import sample_sheets


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file; its train_dataloader is looked at")
    parser.add_argument(
        "--out-dir", required=True, metavar="DIR", help="folder for index.html and the sheets"
    )
    parser.add_argument(
        "--num-images",
        type=int,
        default=6,
        help="images whose augmentation is shown (default: %(default)s)",
    )
    parser.add_argument(
        "--num-draws",
        type=int,
        default=4,
        help="how often each of them is augmented (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the augmentation")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="override settings of the config",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    out_dir = Path(args.out_dir)
    dataset = build_training_set(load_config(args.config, args.cfg_options))
    draws = draw_samples(
        dataset, num_images=args.num_images, num_draws=args.num_draws, seed=args.seed
    )
    sheets = sample_sheets(draws, dataset.metainfo["classes"], dataset.metainfo.get("palette"))
    for number, sheet in enumerate(sheets, start=1):
        write_picture(out_dir / f"augmented_{number:02d}.jpg", sheet)
    records = annotated_images(dataset)
    page = write_data_set_page(out_dir, records, Path(), source=args.config, sheets=sheets)
    print(f"{page}: page on {len(records)} images, {page.stat().st_size / 1e6:.1f} MB")
    print(f"{out_dir}: {len(sheets)} sheets of augmented images, and oddities.csv")


if __name__ == "__main__":
    run_tool(main, ImportError)
