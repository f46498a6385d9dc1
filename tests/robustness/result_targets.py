from __future__ import annotations

import contextlib
import functools
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cellseg_mmdet.cli import run
from cellseg_mmdet.evaluation.sources import Context, read_source
from cellseg_mmdet.inference.record import RunRecord
from cellseg_mmdet.inference.tasks import Outcome, Task
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageKey, ImagePrediction, write_predictions
from tests.robustness.fuzzing import mutated, target
from tests.robustness.pickle_targets import change_field

LABELS = np.zeros((6, 8), np.uint8)
LABELS[1:4, 2:5], LABELS[3:6, 6:8] = 1, 2
WRITERS = ["coco", "dump", "submission", "geojson", "imagej", "outlines", "label-tiff", "npz"]


def prediction(name: str, img_id: int) -> ImagePrediction:
    masks = Runs.from_label_map(LABELS)
    scores, labels = np.array([0.9, 0.5]), np.array([0, 1])
    return ImagePrediction(name, img_id, *LABELS.shape, masks.boxes, scores, labels, masks)


def command(*argv: object) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run([str(word) for word in argv])


@functools.cache
def corpus() -> dict[str, bytes]:
    """Return the content of all that export writes of two images, by its place."""
    with tempfile.TemporaryDirectory() as folder:
        dump, out = Path(folder, "a.pkl"), Path(folder, "out")
        write_predictions(dump, [prediction("a", 1), prediction("b", 2)])
        command("export", dump, "--no-postprocess", "--out-dir", out, "--to", *WRITERS, "ome-zarr")
        return {
            str(path.relative_to(out)): path.read_bytes()
            for path in sorted(out.rglob("*"))
            if path.is_file()
        }


@target
def results_to_export(rng: np.random.Generator, folder: Path) -> None:
    """COCO results and the images they are of, with any value in any field; what is accepted is written anew."""
    content: list[Any] = [
        json.loads(corpus()[name]) for name in ("predictions.json", "images.json")
    ]
    for _ in range(int(rng.integers(1, 4))):
        change_field(rng, content[rng.integers(2)])
    inside = folder / "inside"
    inside.mkdir(exist_ok=True)
    for name, one in zip(("predictions.json", "images.json"), content, strict=True):
        data = json.dumps(one, default=repr).encode(errors="surrogatepass")
        (inside / name).write_bytes(mutated(rng, data) if rng.random() < 0.05 else data)
    out = inside / "out"
    policy = str(rng.choice(["stop", "skip"]))
    some = rng.choice(WRITERS, 3, replace=False)
    try:
        command(
            "export",
            inside / "predictions.json",
            "--on-error",
            policy,
            "--out-dir",
            out,
            "--to",
            *some,
        )
        if rng.random() < 0.3:
            command("measure", inside / "predictions.json", "--out", out / "c.csv")
    finally:
        allowed = {"predictions.json", "images.json", "out"}
        strays = [path for path in inside.iterdir() if path.name not in allowed]
        assert not strays and {path.name for path in folder.iterdir()} <= {"inside"}, strays
        assert not list(inside.rglob("*cellseg-tmp*"))


@target
def cells_of_any_file(rng: np.random.Generator, folder: Path) -> None:
    """Files that export wrote, GeoJSON and ROI sets too, damaged, and given as cells under any suffix."""
    names = sorted(corpus())
    name = names[rng.integers(len(names))]
    suffix = str(
        rng.choice([Path(name).suffix, Path(name).suffix, ".json", ".csv", ".pkl", ".png"])
    )
    path = folder / f"a{suffix}"
    content = corpus()[name]
    path.write_bytes(content if rng.random() < 0.3 else mutated(rng, content))
    place = folder if rng.random() < 0.3 else path
    source = read_source(place, on_error="skip", tell=lambda sentence: None)
    sizes = dict.fromkeys("ab", LABELS.shape)
    found = source.predictions(Context(sizes_hw=sizes))
    for one in found:
        one.masks.to_coco()


@functools.cache
def _record() -> tuple[bytes, bytes]:
    """Return what a run of two images keeps."""
    with tempfile.TemporaryDirectory() as folder:
        with RunRecord(folder, tasks(folder), {"model": "one"}) as record:
            for number, task in enumerate(tasks(folder), start=1):
                files = {"geojson": (f"geojson/{task.key.name}.geojson",)}
                found = prediction(task.key.name, number)
                record.add(Outcome(task, found, ("cell", "other"), files, num_raw=2))
            record.written([Path(folder, "cells.csv")])
        return tuple(
            Path(folder, ".cellseg-run", name).read_bytes() for name in ("run.json", "finished")
        )  # type: ignore[return-value]


def tasks(folder: str | Path) -> list[Task]:
    return [
        Task(number, ImageKey(f"/none/{name}.png", name=name))
        for number, name in ((1, "a"), (2, "b"))
    ]


@target
def run_records(rng: np.random.Generator, folder: Path) -> None:
    """What a run of inference keeps, damaged: the next one goes on, starts anew, or says what is wrong."""
    about, finished = _record()
    kept = folder / "out" / ".cellseg-run"
    kept.mkdir(parents=True, exist_ok=True)
    (folder / "others.txt").touch()
    if rng.random() < 0.5:
        content = json.loads(about)
        change_field(rng, content)
        if rng.random() < 0.3:
            content["written"] = ["../others.txt", str(folder / "others.txt"), "."]
        about = json.dumps(content, default=repr).encode(errors="surrogatepass")
    else:
        about = mutated(rng, about) if rng.random() < 0.5 else about
        finished = mutated(rng, finished)
    (kept / "run.json").write_bytes(about)
    (kept / "finished").write_bytes(finished)
    resume = [None, True, False][rng.integers(3)]
    try:
        with RunRecord(folder / "out", tasks(folder), {"model": "one"}, resume=resume) as record:
            for task in tasks(folder):
                if task.img_id in record.finished:
                    assert len(record.prediction(task)) == 2
            record.add(Outcome(tasks(folder)[0], prediction("a", 1), ("cell", "other")))
    finally:
        assert (folder / "others.txt").exists()
