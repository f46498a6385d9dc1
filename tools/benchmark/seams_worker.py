"""One model in a process of its own, whole and in tiles: `seams.py` starts it with a job and compares what it found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from inference_worker import NOT_INSTALLED


def build(job: dict[str, Any]) -> Any:
    """Return the model of a job.

    Raises:
        ImportError: what it needs is not installed.
    """
    kind = job["kind"]
    if kind == "stardist":
        from peer_seams import StarDistBlocks

        return StarDistBlocks(job["checkpoint"], job["threads"])
    if kind == "cellpose":
        from peer_seams import CellposeTiles

        return CellposeTiles(job["checkpoint"], job["threads"])
    from own_seams import Sahi, Tiled

    return Sahi(job) if kind == "sahi" else Tiled(job)


def main() -> int:
    job = json.loads(Path(sys.argv[1]).read_text())
    if job["kind"] == "random":
        from own_seams import write_random

        with np.load(job["pictures"][0]) as data:
            write_random(job["config"], Path(job["checkpoint"]), data["picture"])
        return 0
    try:
        model = build(job)
    except ImportError as error:
        print(error, file=sys.stderr)
        return NOT_INSTALLED
    out = Path(job["out"])
    for number, (path, sides) in enumerate(zip(job["pictures"], job["sides"], strict=True)):
        with np.load(path) as data:
            picture, truth = data["picture"], data["truth"]
        np.savez(out / f"{number}-whole.npz", **model.whole(picture, truth))
        for label, side in sides.items():
            np.savez(out / f"{number}-{label}.npz", **model.tiles(picture, truth, side))
    result: dict[str, Any] = {"images": []}  # no times are taken
    (out / "result.json").write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
