"""The examples in the docstrings of the package are run, those of the parts registered in mmdet as well."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

PACKAGE = Path(__file__).parents[1] / "cellseg_mmdet"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
ROOMS = (
    "masks",
    "structures",
    "images",
    "postprocess",
    "measure",
    "fusion",
    "visualization.draw",
    "synthetic",
    "evaluation",
    "export",
    "inference",
)
# What holds values, is there to be inherited from, or needs a trained model and many images.
WITHOUT = {
    "masks": {"PixelOrder"},
    "structures": {"from_dump_entry", "load_predictions"},
    "images": {"ImageError", "find_images", "selection_from"},
    "measure": {"Names"},
    "fusion": {"Matches"},
    "visualization.draw": set(),
    "synthetic": {"WrittenDataset"},
    "postprocess": {"Pipeline", "Step", "Tunable"},
    "evaluation": {"ImageMetric"},
    "export": {"ImageWriter", "SubmissionFormat", "SubmissionSummary", "Writer", "Written"},
    "inference": {
        "Cell",
        "Crop",
        "Executor",
        "Failure",
        "InferenceSummary",
        "Job",
        "Outcome",
        "Predictor",
        "Task",
        "Worker",
        "infer_images",
        "plan",
    },
}


# Examples that need a package which only an extra brings.
NEEDS = {"to_dataframe": "pandas"}


def with_examples() -> list[str]:
    """Return the modules whose text has an example; they are not imported for that."""
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


@pytest.mark.parametrize("name", with_examples())
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    found = doctest.DocTestFinder(exclude_empty=True).find(module, name)
    examples = [test for test in found if test.examples]
    assert examples, f"{name}: text that looks like an example is in no docstring"
    failures: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in examples:
        needed = NEEDS.get(test.name.rpartition(".")[2])
        if needed and importlib.util.find_spec(needed) is None:
            continue
        # What numpy needs in every example, and no docstring should have to import.
        test.globs.setdefault("np", np)
        runner.run(test, out=failures.append)
    assert not runner.failures, "".join(failures)


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_offers_has_an_example(room: str) -> None:
    module = importlib.import_module(f"cellseg_mmdet.{room}")
    offered = {name: getattr(module, name) for name in module.__all__}
    lacking = {
        name
        for name, part in offered.items()
        if callable(part) and ">>> " not in (part.__doc__ or "")
    }
    assert lacking <= WITHOUT[room]
