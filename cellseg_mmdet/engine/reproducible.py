"""A training that is resumed goes on as if it had not been interrupted, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from cellseg_mmdet.engine.loading import WatchedDataset, seed_generators, watched_loader

# The first word after the seed tells the draws of the training step from those of the samples.
_OF_STEP, _OF_SAMPLE = 1, 2
_KEY = "progress"


@HOOKS.register_module()
class ReproducibleTraining(Hook):
    """Makes all that is random a function of (seed, iteration), and goes on in the middle of an epoch.

    - Before each iteration, the generators of Python, numpy and torch are seeded from the seed of the run and the
      number of the iteration: what model and losses draw does not depend on what was drawn before.
    - Transforms draw from the seed of the run and the place of the sample in the training (process, batch, place in
      the batch): not on the worker, on how many there are, or on what it loaded before.
    - The sampler gets the seed back that it had; batches that were trained on are passed over, without loading them.
      mmengine begins an epoch again from its start, and loads what it passes over where the batches are not drawn from
      an `InfiniteSampler` alone.
    - A validation that was due after the checkpoint was written is made up for: schedules on a metric and the choice of
      the best checkpoint depend on it.

    So a checkpoint needs no state of any generator, and one that was written before is as good: the seed, the number of
    the iteration and, under ``progress``, seed and place of the sampler say it all.

    What is not restored: gradients that wait for the next iterations of ``accumulative_counts``, and what a transform
    remembers of earlier images (`CopyPasteCells(num_images=...)`, mmdet's cached ones). The batch number in the log
    of an epoch that was resumed in the middle counts from there.
    """

    priority = "LOWEST"  # after CheckpointHook, which is ready when a validation is made up for

    def __init__(self) -> None:
        self._resumed: dict[str, Any] | None = None
        self._batches: NumberedBatches | None = None
        self._epoch, self._first_iter = 0, 0
        self._validated_iter = -1

    def after_load_checkpoint(self, runner: Any, checkpoint: Any) -> None:
        """Keep what a checkpoint says of the progress."""
        found = checkpoint.get(_KEY) if isinstance(checkpoint, dict) else None
        self._resumed = found if isinstance(found, dict) else None

    def before_train(self, runner: Any) -> None:
        """Number the batches, go to where the training was, and make up for a validation."""
        progress = (self._resumed or {}) if runner.iter > 0 else {}
        loop = runner.train_loop
        inner = getattr(loop.dataloader, "batch_sampler", None)
        if inner is not None and not isinstance(inner, NumberedBatches):
            _restore_sampler(inner, progress.get("sampler_seed"))
            batches = NumberedBatches(inner, (runner.seed, _OF_SAMPLE, get_rank()))
            loader = watched_loader(loop.dataloader, batches)
            if isinstance(loader.dataset, WatchedDataset):
                self._batches, loop.dataloader = batches, loader
                if hasattr(loop, "dataloader_iterator"):
                    loop.dataloader_iterator = EndlessBatches(loader, batches)
        if self._batches is not None and not hasattr(loop, "dataloader_iterator"):
            self._batches.skip = progress.get("batches_of_epoch", 0)
        self._validated_iter = progress.get("validated_iter", -1)
        if (
            progress
            and self._validated_iter != runner.iter
            and _validation_is_due(runner, progress)
        ):
            runner.logger.info("The validation after the last checkpoint is made up for.")
            runner.val_loop.run()

    def before_train_epoch(self, runner: Any) -> None:
        """Note where the epoch begins."""
        batches = self._batches
        if batches is None or hasattr(runner.train_loop, "dataloader_iterator"):
            return
        self._epoch, self._first_iter = runner.epoch, runner.iter - batches.skip
        batches.number = self._first_iter

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the generators of this process."""
        seed_generators((runner.seed, _OF_STEP, runner.iter + 1), devices=True)

    def before_val(self, runner: Any) -> None:
        """Note that this iteration is validated: what is saved from now on has seen the scores."""
        self._validated_iter = runner.iter

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Write down what `before_train` needs."""
        meta = checkpoint["meta"]
        in_epoch = meta["epoch"] == self._epoch and self._batches is not None
        sampler = None if self._batches is None else self._batches.sampler
        checkpoint[_KEY] = {
            "sampler_seed": getattr(sampler, "seed", None),
            "batches_of_epoch": meta["iter"] - self._first_iter if in_epoch else 0,
            "validated_iter": self._validated_iter,
        }


class NumberedBatches:
    """A batch sampler whose batches are numbered through the training, and whose samples bring their random seed.

    Args:
        batches: batch sampler; it yields lists of indices.
        words: the first ones of each seed.

    Attributes:
        number: of the next batch, from the begin of the training.
        skip: how many batches are passed over first.
    """

    def __init__(self, batches: Any, words: tuple[int, ...]) -> None:
        self.batches, self.words = batches, words
        self.number = self.skip = 0

    def __iter__(self) -> Iterator[list[tuple[int, tuple[int, ...]]]]:
        for indices in self.batches:
            number, self.number = self.number, self.number + 1
            if self.skip > 0:
                self.skip -= 1
                continue
            yield [(index, (*self.words, number, place)) for place, index in enumerate(indices, 1)]

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def sampler(self) -> Any:
        """What the batches are made of; mmengine tells it the epoch."""
        return getattr(self.batches, "sampler", None)

    @property
    def batch_size(self) -> int | None:
        return getattr(self.batches, "batch_size", None)


class EndlessBatches:
    """What mmengine's `IterBasedTrainLoop` takes its batches from: one epoch after the other.

    Args:
        loader: of the batches, and
        batches: its batch sampler.
    """

    def __init__(self, loader: Any, batches: NumberedBatches) -> None:
        self._loader, self._batches = loader, batches
        self._iterator: Iterator[Any] | None = None
        self._epoch = 0

    def skip_iter(self, num_iters: int) -> None:
        """Pass over the first batches; mmengine calls it before the first one is asked for."""
        self._batches.skip = num_iters

    def __iter__(self) -> EndlessBatches:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self._loader)
        while True:
            try:
                return next(self._iterator)
            except StopIteration:
                if not len(self._batches):
                    raise
                self._epoch += 1
                if hasattr(self._batches.sampler, "set_epoch"):
                    self._batches.sampler.set_epoch(self._epoch)
                self._iterator = iter(self._loader)


def _restore_sampler(batches: Any, seed: int | None) -> None:
    """Give the sampler below a batch sampler its seed back, and let an endless one begin anew."""
    sampler: Any = getattr(batches, "sampler", None)
    if seed is not None and hasattr(sampler, "seed"):
        sampler.seed = seed
    if hasattr(sampler, "skip"):
        sampler.skip(0)


def _validation_is_due(runner: Any, progress: dict[str, Any]) -> bool:
    """Return whether mmengine's loops validate at the iteration that was reached."""
    loop = runner.train_loop
    by_iter = hasattr(loop, "dataloader_iterator")
    if runner.val_loop is None or (not by_iter and progress.get("batches_of_epoch")):
        return False
    reached, last = (loop.iter, loop.max_iters) if by_iter else (loop.epoch, loop.max_epochs)
    return reached >= loop.val_begin and (reached % loop.val_interval == 0 or reached == last)
