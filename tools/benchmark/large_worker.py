"""Runs a command of ``cellseg``, and writes down every few milliseconds what it does: see `large.py`."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from cellseg_mmdet.cli import main

EVERY_S = 0.02
# What is going on, by module and function of the innermost frame that is listed; '' is any function.
STAGES = {
    ("inference.seen", "picture"): "intensity",
    ("tiling.pixel_maps", "__call__"): "network",
    ("tiling.detectors", "instances"): "network",
    ("tiling.two_stage", "_proposals"): "proposals",
    ("tiling.two_stage", "_boxes"): "boxes",
    ("tiling.two_stage", "_masks"): "masks",
    ("tiling.two_stage", "predict"): "masks, joined",
    ("tiling.regions", "find_regions"): "regions",
    ("tiling.regions", "decode_by_region"): "decoding",
    ("structures.image_prediction", "from_dump_entry"): "from the model",
    ("structures.prediction_dump", "from_dump_entry"): "from the model",
    ("inference.record", "add"): "record",
    ("inference.record", "prediction"): "record",
    ("inference.size_estimate", "_look"): "size of cells",
}
_PACKAGE = "cellseg_mmdet."


def stage_of(frame: FrameType | None) -> str:
    """Return what a thread does, by its innermost frame that says it."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_PACKAGE):
            place = module.removeprefix(_PACKAGE)
            if (name := STAGES.get((place, frame.f_code.co_name))) is not None:
                return name
            room, _, rest = place.partition(".")
            function = frame.f_code.co_name
            if room == "postprocess" and function == "__call__" and rest != "pipeline":
                return f"step {rest}"
            if room == "export" and function in ("write", "add") and rest != "writer":
                return f"writer {rest}"
        frame = frame.f_back
    return "else"


def watch(path: Path, thread: int) -> None:
    """Write (time, processor seconds, stage) as lines of JSON until the process ends."""
    with path.open("w") as file:
        while True:
            stage = stage_of(sys._current_frames().get(thread))
            line = [time.monotonic(), time.process_time(), stage]
            file.write(json.dumps(line) + "\n")
            file.flush()
            time.sleep(EVERY_S)


if __name__ == "__main__":
    log, *arguments = sys.argv[1:]
    threading.Thread(target=watch, args=(Path(log), threading.get_ident()), daemon=True).start()
    sys.argv = ["cellseg", *arguments]
    main()
