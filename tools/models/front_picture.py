#!/usr/bin/env python
"""Draw docs/images/models.jpg, what the models that ship find in three of docs/samples: `cellseg infer` as it stands.

tools/models/front_picture.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from cellseg_mmdet import load_model, read_image
from cellseg_mmdet.fileio import atomic_write
from cellseg_mmdet.images.intensity import to_bgr8
from cellseg_mmdet.terminal import run_tool
from cellseg_mmdet.visualization.draw.overlays import draw_instances

DOCS = Path(__file__).parents[2] / "docs"
# Model, sample, how many times it is enlarged, and the width of its panel.
PANELS = (
    ("nuclei", "nuclei/fluorescence_13px.png", 2, 470),
    ("nuclei", "nuclei/stained_15px.png", 2, 470),
    ("phase", "phase/set12_crop.tif", 1, 420),
)
_HEIGHT, _GAP, _QUALITY = 420, 6, 85


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DOCS / "images/models.jpg")
    args = parser.parse_args()
    panels = []
    for name, sample, scale, width in PANELS:
        image = read_image(DOCS / "samples" / sample)
        cells = load_model(name)(image)
        drawn = draw_instances(to_bgr8(image), cells.masks, scale=scale)
        panels += [drawn[:_HEIGHT, :width], np.full((_HEIGHT, _GAP, 3), 255, np.uint8)]
    with atomic_write(args.out) as temporary:
        _, data = cv2.imencode(".jpg", np.hstack(panels[:-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        temporary.write_bytes(data.tobytes())
    print(args.out)


if __name__ == "__main__":
    run_tool(main)
