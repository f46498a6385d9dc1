"""Raw predictions on disk, in the layout of mmdet's ``DumpDetResults``."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.registry import METRICS
from mmengine.evaluator import DumpResults
from mmengine.logging import print_log

from cellseg_mmdet.errors import ConfigError, UsageError
from cellseg_mmdet.structures import to_dump_entry, write_predictions

SUFFIXES = (".pkl", ".pickle")


@METRICS.register_module()
class DumpPredictions(DumpResults):
    """Write the predictions of a whole data set: each image once, and the file whole or not at all.

    The file is a pickled list with one dict an image: ``img_id``, ``img_path``, ``ori_shape``, ...
    and ``pred_instances`` with ``bboxes`` (N, 4) xyxy, ``scores`` (N,), ``labels`` (N,) and
    ``masks``, N COCO RLEs; from our mask heads and U-Nets also ``maskness`` (N,) and, where they are kept,
    ``soft_masks`` (N, rows, columns) uint8.
    """

    default_prefix = "dump"  # it has no scores to name, but mmengine warns where there is none

    def __init__(
        self, out_file_path: str, collect_device: str = "cpu", collect_dir: str | None = None
    ) -> None:
        check_output(out_file_path)
        super().__init__(out_file_path, collect_device, collect_dir)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep what was predicted for the images of a batch.

        Raises:
            DataError: masks are not of the size of their image.
        """
        super().process(data_batch, [to_dump_entry(sample) for sample in data_samples])

    def evaluate(self, size: int) -> dict[str, Any]:
        self._size = size
        return super().evaluate(size)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        """Write the file; mmengine calls this in the first process only.

        Raises:
            ConfigError: an image is missing or was predicted twice.
        """
        self._check_complete(results)
        write_predictions(self.out_file_path, results)
        print_log(
            f"Predictions of {len(results)} images are in {self.out_file_path}"
            + _size_of_soft_masks(results),
            logger="current",
        )
        return {}

    def _check_complete(self, results: list[dict[str, Any]]) -> None:
        counts = Counter((result.get("img_id"), result.get("img_path")) for result in results)
        twice = [f"{path} (id {id_})" for (id_, path), count in counts.items() if count > 1]
        if len(results) == self._size and not twice:
            return
        raise ConfigError(
            f"{self.out_file_path} was not written: {len(results)} predictions for {self._size} "
            f"images, more than one for {twice[:5] or 'none'}. "
            "Use test_dataloader.sampler = dict(type='DefaultSampler', shuffle=False)."
        )


def _size_of_soft_masks(results: Sequence[dict[str, Any]]) -> str:
    """Return what the log says of the size of all soft masks; nothing where there are none."""
    soft_masks = [
        result["pred_instances"]["soft_masks"]
        for result in results
        if "soft_masks" in result["pred_instances"]
    ]
    if not soft_masks:
        return ""
    size, count = sum(masks.nbytes for masks in soft_masks), sum(map(len, soft_masks))
    return f"; {size:,} bytes of it are the soft masks of {count:,} instances"


def check_output(path: str) -> None:
    """Make sure that a prediction file can be written, before the hours that its content takes.

    Raises:
        UsageError: the suffix is not that of a pickle, the path is a folder, or its folder
            cannot be written to.
    """
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise UsageError(
            f"--out {path}: predictions are a pickle, the name must end with "
            f"{' or '.join(SUFFIXES)}"
        )
    if target.is_dir():
        raise UsageError(f"--out {path}: this is a folder, give the name of a file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise UsageError(f"--out {path}: cannot write there, {error}") from error
