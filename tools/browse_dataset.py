#!/usr/bin/env python
"""Look at a data set before training on it: a page on its images and annotations, and what training sees of them.

The page shows cell types, examples, augmented images with their boxes and masks, distributions, and the annotations
that are broken or overlap others; a csv file lists all of those.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg_mmdet.terminal import run_tool


def build_parser() -> argparse.ArgumentParser:
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file; its train_dataloader is looked at")
    parser.add_argument(
        "--out-dir", required=True, metavar="DIR", help="folder for index.html and oddities.csv"
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
        default=3,
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
    # The processes that check the annotations import this file: without mmdet they start in a tenth of the time.
    from cellseg_mmdet.engine import load_config
    from cellseg_mmdet.inference.training_samples import (
        annotated_images,
        build_training_set,
        draw_samples,
    )
    from cellseg_mmdet.visualization.pages.data_set import ODDITIES_NAME, write_data_set_page
    from cellseg_mmdet.visualization.pages.samples import sample_gallery

    dataset = build_training_set(load_config(args.config, args.cfg_options))
    draws = draw_samples(
        dataset, num_images=args.num_images, num_draws=args.num_draws, seed=args.seed
    )
    training = sample_gallery(draws, dataset.metainfo["classes"], dataset.metainfo.get("palette"))
    records = annotated_images(dataset)
    page = write_data_set_page(args.out_dir, records, Path(), source=args.config, training=training)
    print(f"{page}: page on {len(records)} images, {page.stat().st_size / 1e6:.1f} MB")
    print(f"{page.with_name(ODDITIES_NAME)}: every broken or overlapping annotation")


if __name__ == "__main__":
    run_tool(main)
