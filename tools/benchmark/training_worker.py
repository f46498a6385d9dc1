"""Trains a peer in a process of its own, or predicts with all thresholds: `equal_budget.py` starts it with a job."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from inference_worker import NOT_INSTALLED, build


def main() -> int:
    job = json.loads(Path(sys.argv[1]).read_text())
    try:
        {"train": train, "predict": predict}[job["task"]](job)
    except ImportError as error:
        print(error, file=sys.stderr)
        return NOT_INSTALLED
    return 0


def train(job: dict[str, Any]) -> None:
    """Train within the job's CPU seconds; ``began.json`` says what came before, ``result.json`` the weights."""
    from peer_models import TRAININGS

    pictures, labels = [], []
    for path in job["pictures"]:
        with np.load(path) as data:
            pictures.append(data["picture"])
            labels.append(data["truth"])
    out = Path(job["out"])

    def begins(checkpoint: str) -> None:
        state = {"free_s": time.process_time(), "checkpoint": checkpoint}
        (out / "began.json").write_text(json.dumps(state))

    checkpoint = TRAININGS[job["kind"]](
        pictures,
        labels,
        out,
        budget_s=job["budget_s"],
        seed=job["seed"],
        threads=job["threads"],
        begins=begins,
    )
    (out / "result.json").write_text(json.dumps({"checkpoint": checkpoint}))


def predict(job: dict[str, Any]) -> None:
    """Write ``<settings>-<picture>.npy``, the label map of each picture with each of the job's thresholds."""
    model = build(job)
    out = Path(job["out"])
    for number, path in enumerate(job["pictures"]):
        with np.load(path) as data:
            picture = data["picture"]
        for place, thresholds in enumerate(job["thresholds"]):
            model.thresholds = thresholds
            np.save(out / f"{place}-{number}.npy", model.predict(picture))


if __name__ == "__main__":
    sys.exit(main())
