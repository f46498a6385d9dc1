"""Faults by the thousand: a target makes an input from a seed and gives it to a reader, in a process of its own.

An input ends in data (it is accepted), or in an error of ours (it is refused); anything else is a finding: another
exception, a process that dies, a minute without an end, 2 GB of memory.
`python -m tests.robustness.fuzzing NAME SEED` runs one input again.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cellseg_mmdet.errors import MAX_MESSAGE, CellsegError

ROOT = Path(__file__).parents[2]
MODULES = (
    "csv_targets",
    "file_targets",
    "header_targets",
    "image_targets",
    "pickle_targets",
    "result_targets",
    "weight_targets",
)
SECONDS_OF_INPUT = 60
MAX_MB = 2000
MAX_FINDINGS = 5

Target = Callable[[np.random.Generator, Path], None]
TARGETS: dict[str, Target] = {}


def target(function: Target) -> Target:
    """Register a target: it makes an input from the generator, in the folder, and reads it."""
    TARGETS[function.__name__] = function
    return function


def load_targets() -> dict[str, Target]:
    """Return all targets by their names."""
    for module in MODULES:
        importlib.import_module(f"tests.robustness.{module}")
    return TARGETS


def seconds() -> float:
    """Return how long each target runs: ``CELLSEG_FUZZ_SECONDS``, by default two seconds."""
    return float(os.environ.get("CELLSEG_FUZZ_SECONDS", "2"))


def run_apart(name: str) -> dict[str, object]:
    """Run a target in a process of its own; return the number of inputs, findings, and the peak of memory in MB."""
    seed = int(os.environ.get("FUZZ_SEED", "0"))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.robustness.fuzzing", name, str(seed)]
        command += ["--seconds", str(seconds()), "--folder", folder]
        with Path(folder, "stderr").open("w") as errors:
            process = subprocess.run(
                command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                timeout=seconds() + 10 * SECONDS_OF_INPUT,
            )
        said = Path(folder, "stderr").read_text(errors="replace")[-2000:]
        last = Path(folder, "seed").read_text() if Path(folder, "seed").exists() else "none"
    try:
        outcome = json.loads(process.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        outcome = {"inputs": 0, "peak_mb": 0}
        outcome["findings"] = [f"seed {last}: the process ended with {process.returncode}: {said}"]
    return outcome


def _main(name: str, first_seed: int, num_seconds: float | None, folder: Path) -> None:
    faulthandler.enable()
    warnings.simplefilter("ignore")
    run = load_targets()[name]
    findings: list[str] = []
    refused = 0
    begin, seed = time.monotonic(), first_seed
    while len(findings) < MAX_FINDINGS:
        (folder / "seed").write_text(str(seed))
        inputs = folder / "inputs"
        inputs.mkdir(exist_ok=True)
        finding = _run_one(run, seed, inputs)
        if finding is None:
            refused += 1
        elif finding:
            findings.append(f"seed {seed}: {finding}")
        seed += 1
        if num_seconds is None or time.monotonic() - begin > num_seconds:
            break
        for path in inputs.rglob("*"):
            with contextlib.suppress(OSError):
                path.unlink()
    peak_mb = _peak_mb()
    if peak_mb > MAX_MB:
        findings.append(f"{peak_mb:.0f} MB of memory")
    inputs_run = seed - first_seed
    outcome = {"inputs": inputs_run, "refused": refused, "findings": findings, "peak_mb": peak_mb}
    print(json.dumps(outcome))


def _peak_mb() -> float:
    # Not getrusage: a new process has the peak of the one that started it.
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def _run_one(run: Target, seed: int, folder: Path) -> str | None:
    """Return what is wrong with how an input ended: '' if it was accepted, None if it was refused, as it should be."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"no end after {SECONDS_OF_INPUT} seconds")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS_OF_INPUT)
    # Where Python is not asked, in the middle of a library's loop, the process ends with a traceback.
    faulthandler.dump_traceback_later(SECONDS_OF_INPUT + 10, exit=True)
    try:
        run(np.random.default_rng(seed), folder)
    except TimeoutError as error:
        return str(error)
    except CellsegError as error:
        if len(str(error)) <= MAX_MESSAGE:
            return None
        return f"a message of {len(str(error))} characters"
    except OSError as error:
        if error.filename is not None:
            return None
        return f"{type(error).__name__} without a file: {error}"
    except BaseException as error:
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f" ({place.tb_frame.f_code.co_filename}:{place.tb_lineno})" if place else ""
        return f"{type(error).__name__}: {str(error)[:500]}{where}"
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    return ""


def mutated(rng: np.random.Generator, content: bytes) -> bytes:
    """Return bytes with some of them changed, cut out, repeated or put in, or cut off."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, len(data) + 1))
        length = int(rng.integers(1, 9))
        kind = rng.integers(0, 7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1 and at < len(data):
            data[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF, 10, 34, 44]))
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length * 4]
        elif kind == 4:
            data[at:at] = rng.bytes(length)
        elif kind == 5:
            number = int(rng.choice([-1, 2**31 - 1, 2**31, 2**32 - 1, 10**9, 60_000, 0]))
            data[at : at + 4] = (number & 0xFFFFFFFF).to_bytes(
                4, str(rng.choice(["little", "big"]))
            )  # type: ignore[arg-type]
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


if __name__ == "__main__":
    import argparse

    from tests.robustness import fuzzing  # the registry of the targets, and not the one of __main__

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("seed", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        fuzzing._main(args.name, args.seed, args.seconds, args.folder or Path(temporary))
