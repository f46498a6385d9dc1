"""One model in a process of its own: `inference.py` starts it with a job, and reads what it found and what it took."""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from clock import Clock, now

NOT_INSTALLED = 3  # the exit status


def build(job: dict[str, Any]) -> Any:
    """Return the model of a job.

    Raises:
        ImportError: a peer is not installed.
    """
    kind, checkpoint, threads = job["kind"], job["checkpoint"], job["threads"]
    keeps_maps = job.get("task") == "predict"  # with several thresholds
    if kind == "ours":
        from own_models import Ours

        return Ours(
            job["config"],
            checkpoint,
            threads,
            is_stand_in=job["is_stand_in"],
            most=job["most"],
            options=job.get("options", ()),
            diameter_px=job.get("diameter_px"),
            keeps_maps=keeps_maps,
        )
    from peer_models import PEERS

    return PEERS[kind](checkpoint, threads, keeps_maps=keeps_maps)


def main() -> int:
    job = json.loads(Path(sys.argv[1]).read_text())
    if job["kind"] == "random":
        from own_models import write_random

        write_random(job["config"], Path(job["checkpoint"]))
        return 0
    try:
        model = build(job)
    except ImportError as error:
        print(error, file=sys.stderr)
        return NOT_INSTALLED
    out = Path(job["out"])
    loading_cpu_s = now().cpu
    images = []
    for number, path in enumerate(job["pictures"]):
        with np.load(path) as data:
            picture, model.truth = data["picture"], data["truth"]
        model.clock = Clock()
        with model.clock.counts("total"):
            labels = model.predict(picture)
        np.save(out / f"{number}.npy", labels)
        images.append(asdict(model.clock))
    result = {
        "loading_cpu_s": loading_cpu_s,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "images": images,
    }
    (out / "result.json").write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
