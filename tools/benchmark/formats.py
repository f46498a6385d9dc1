#!/usr/bin/env python
"""One table: every format and type x (training, test, inference, size check) gives the same pixels or the same error.

Files come from tests/images/written.py. `same` means that all ways gave the same pixels, and the size that they have;
`error` that all of them refused the file, naming it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the files are those of the tests

import numpy as np
from mmdet.registry import TRANSFORMS

from cellseg_mmdet.engine import load_config
from cellseg_mmdet.images import ImageError, image_size_hw, read_image
from cellseg_mmdet.inference.predictor import array_pipeline
from tests.images.written import Written, plain_files, tiff_files

CONFIG = Path(__file__).parents[2] / "configs/mask_rcnn/mask-rcnn_r18_fpn_cpu_sartorius.py"
Ways = dict[str, Callable[[Path], np.ndarray | tuple[int, int]]]


def ways(config: str | Path) -> Ways:
    """Return what each part of the project does with an image file, as a config says."""
    cfg = load_config(config)
    train = TRANSFORMS.build(cfg.train_dataloader.dataset.pipeline[0])
    test = TRANSFORMS.build(cfg.test_dataloader.dataset.pipeline[0])
    infer = TRANSFORMS.build(array_pipeline(cfg)[0])
    return {
        "train": lambda path: train({"img_path": str(path)})["img"],
        "test": lambda path: test({"img_path": str(path), "img_id": 1})["img"],
        "infer": lambda path: infer({"image": read_image(path)})["img"],
        "size": image_size_hw,
    }


def row(path: Path, readers: Ways) -> tuple[dict[str, str], bool]:
    """Return what each way gave for a file, in words, and whether all agree."""
    cells: dict[str, str] = {}
    pixels: list[np.ndarray] = []
    for name, read in readers.items():
        try:
            found = read(path)
        except ImageError as error:
            cells[name] = "error" if path.name in str(error) else f"error without a name: {error}"
            continue
        if isinstance(found, np.ndarray):
            pixels.append(found)
            alike = np.array_equal(found, pixels[0])
            cells[name] = "same" if alike else "OTHER PIXELS"
        else:
            cells[name] = "same" if pixels and pixels[0].shape[:2] == found else "header only"
    good = set(cells.values()) == {"same"} or (
        {cells[name] for name in ("train", "test", "infer")} == {"error"}
        and cells["size"] in ("error", "header only")
    )
    return cells, good


def damaged(file: Written, path: Path) -> None:
    """Write a file and cut its second half off."""
    file.write(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", default=CONFIG, help="whose pipelines read (default: %(default)s)"
    )
    parser.add_argument("--only", default="", help="files whose names hold this text")
    args = parser.parse_args(argv)
    files = [file for file in [*plain_files(), *tiff_files()] if args.only in file.name]
    readers = ways(args.config)
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'file':<44} {'train':<8} {'test':<8} {'infer':<8} size")
        for cut in (False, True):
            for file in files:
                path = Path(folder) / (f"cut_{file.name}" if cut else file.name)
                if cut:
                    damaged(file, path)
                else:
                    file.write(path)
                cells, good = row(path, readers)
                faults += not good
                values = " ".join(f"{cells[name]:<8}" for name in ("train", "test", "infer"))
                print(f"{path.name:<44} {values} {cells['size']}{'' if good else '   <- differs'}")
    print(f"{2 * len(files)} files, {faults} differ")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
