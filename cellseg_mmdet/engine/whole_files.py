"""What a run writes, written whole or not at all: checkpoints, ``last_checkpoint`` and the config."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process, master_only
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from cellseg_mmdet.fileio import atomic_write, sweep


class WholeFiles(LocalBackend):
    """mmengine's way to local files, but that a file is written whole or not at all."""

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write bytes.

        Raises:
            OSError: they cannot be written; the file is what it was, and named.
        """
        with atomic_write(filepath) as temporary, open(temporary, "wb") as file:
            file.write(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        """Write text; see `put`."""
        with atomic_write(filepath) as temporary, open(temporary, "w", encoding=encoding) as file:
            file.write(obj)


def register_whole_files() -> None:
    """Make mmengine write every local file through `WholeFiles`, checkpoints among them."""
    register_backend("local", WholeFiles, force=True, prefixes="")


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's `CheckpointHook`, but that an older checkpoint goes after the new one is on disk, not before.

    So there is a whole one to resume from at any moment, also where only one is kept. ``last_checkpoint`` is written
    whole.
    """

    def before_train(self, runner: Any) -> None:
        """Remove what a killed training was writing when it ended."""
        super().before_train(runner)
        if is_main_process() and os.path.isdir(self.out_dir):
            sweep(Path(self.out_dir))

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict[str, Any]) -> None:
        superseded = None
        if self.max_keep_ckpts > 0 and not (self.keep_ckpt_ids and self.keep_ckpt_ids[-1] == step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                superseded = self.keep_ckpt_ids.popleft()
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if not is_main_process():
            return
        with atomic_write(Path(runner.work_dir) / "last_checkpoint") as temporary:
            temporary.write_text(self.last_ckpt)
        if superseded is not None:
            self._remove(self.filename_tmpl.format(superseded))

    def _remove(self, name: str) -> None:
        path = self.file_backend.join_path(self.out_dir, name)
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # those of deepspeed are folders
            self.file_backend.rmtree(path)


class WholeRunner(Runner):
    """mmengine's Runner, but that the config of a run is written whole or not at all."""

    @master_only
    def dump_config(self) -> None:
        """Write the config to the work dir.

        Raises:
            OSError: it cannot be written; the file is named.
        """
        name = f"{self.timestamp}.py" if self.cfg.filename is None else Path(self.cfg.filename).name
        with atomic_write(Path(self.work_dir) / name) as temporary:
            self.cfg.dump(temporary)


@contextlib.contextmanager
def naming(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Put a folder into errors of the operating system that name no file: logs and scores, on a full disk.

    The log itself loses lines there; that it would tell of each one with a traceback helps nobody.
    """
    told, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(folder)
        raise
    finally:
        logging.raiseExceptions = told
