"""Cellpose and StarDist as the benchmarks use them. Nothing of cellseg_mmdet is needed: its environment may be another.

Pictures are (H, W) or (H, W, 3) RGB uint8, true and found cells label maps (H, W) int32.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from clock import Clock
from network_memory import NetworkMemory

# Of the budget that a schedule is planned for, as in ours: few steps are timed before.
PLANNED = 0.9
# Of StarDist's own example on images of DSB2018.
STARDIST_GRID = (2, 2)


class Cellpose:
    """Cellpose 3 (``cellpose<4``): a `CellposeModel`, with its size model in front if ``sizes``.

    Random weights stand in for none: the true cells' flows take the place of the network's, which runs all the same,
    and a size model without weights knows the true median diameter. So what comes after the network has as many cells
    to find as there are. ``keeps_maps`` is that of ours.
    """

    def __init__(
        self,
        checkpoint: str | None,
        threads: int,
        *,
        sizes: bool = False,
        keeps_maps: bool = False,
    ) -> None:
        import torch
        from cellpose import models

        torch.set_num_threads(threads)
        self.clock = Clock()
        self.memory = NetworkMemory(is_on=keeps_maps)
        self.thresholds: dict[str, float] = {}
        self.is_stand_in = checkpoint is None
        self.truth = np.zeros((0, 0), np.int32)
        self.model = models.CellposeModel(gpu=False, pretrained_model=checkpoint or False)
        self.sizes: Any = None
        if sizes:
            size_file = f"{checkpoint}_size.npy"
            known = size_file if checkpoint and Path(size_file).exists() else None
            self.sizes = models.SizeModel(self.model, pretrained_size=known)
            if known is None:
                self.sizes.params = {"A": np.zeros(256), "smean": np.zeros(256), "ymean": 0.0}
        self._run = self.model._run_net
        self.model._run_net = self._timed_network

    def _timed_network(self, *args: Any, **options: Any) -> Any:
        with self.clock.counts("network"):
            flows, probability, styles = self.memory.maps_of(
                args[0], lambda: self._run(*args, **options)
            )
        if self.is_stand_in:
            with self.clock.counts("left_out"):
                flows, probability = self._true_maps(probability.shape)
        return flows, probability, styles

    def _true_maps(self, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        import cv2
        from cellpose import dynamics

        labels = cv2.resize(
            self.truth.astype(np.float32), shape[:0:-1], interpolation=cv2.INTER_NEAREST
        )
        maps = dynamics.labels_to_flows([labels.astype(np.int32)], device=self.model.device)[
            0
        ]  # ids, mask, y, x
        return 5.0 * maps[2:][:, None], np.where(maps[1] > 0, 6.0, -6.0)[None]

    def predict(self, picture: np.ndarray) -> np.ndarray:
        """Return the label map of the cells."""
        self.memory.look_at(picture)
        channels = [0, 0]
        diameter = None
        if self.sizes is not None:
            if self.is_stand_in:
                with self.clock.counts("left_out"):
                    median = median_diameter_px([self.truth])
                    self.sizes.params["ymean"] = np.log(median / self.sizes.diam_mean)
            diameter = self.sizes.eval(picture, channels=channels)[0]
        masks = self.model.eval(picture, channels=channels, diameter=diameter, **self.thresholds)[0]
        return masks.astype(np.int32)


class StarDist:
    """StarDist 2D: the distances and probabilities of the true cells stand in for those of random weights."""

    def __init__(self, checkpoint: str | None, threads: int, *, keeps_maps: bool = False) -> None:
        tf = _tensorflow(threads)
        from stardist.models import Config2D, StarDist2D

        self.clock = Clock()
        self.memory = NetworkMemory(is_on=keeps_maps)
        self.thresholds: dict[str, float] = {}
        self.is_stand_in = checkpoint is None
        self.truth = np.zeros((0, 0), np.int32)
        if checkpoint is None:
            tf.random.set_seed(0)
            self.model = StarDist2D(Config2D(n_rays=32, grid=STARDIST_GRID), basedir=None)
        else:
            # A model's folder, whose best weights are taken, or a file of weights in it.
            path = Path(checkpoint)
            folder = path if path.is_dir() else path.parent
            self.model = StarDist2D(None, name=folder.name, basedir=str(folder.parent))
            if not path.is_dir():
                self.model.keras_model.load_weights(str(path))
        self._predict = self.model.keras_model.predict
        self.model.keras_model.predict = self._timed_network

    def _timed_network(self, *args: Any, **options: Any) -> Any:
        with self.clock.counts("network"):
            maps = self.memory.maps_of(args[0], lambda: self._predict(*args, **options))
        if self.is_stand_in:
            with self.clock.counts("left_out"):
                maps = self._true_maps([part.shape for part in maps])
        return maps

    def _true_maps(self, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
        from stardist.geometry import star_dist
        from stardist.utils import edt_prob

        step_y, step_x = STARDIST_GRID
        rays = shapes[1][-1]
        full = edt_prob(self.truth), star_dist(self.truth, rays)
        maps = [np.zeros(shape, np.float32) for shape in shapes]
        for target, source in zip(maps, full, strict=True):
            small = source.reshape(*self.truth.shape, -1)[::step_y, ::step_x]
            target[0, : small.shape[0], : small.shape[1]] = small
        return maps

    def predict(self, picture: np.ndarray) -> np.ndarray:
        """Return the label map of the cells."""
        from csbdeep.utils import normalize

        self.memory.look_at(picture)
        # Their advice: percentiles 1 and 99.8 to 0 and 1.
        labels, _ = self.model.predict_instances(
            normalize(gray(picture), 1, 99.8), **self.thresholds
        )
        return labels.astype(np.int32)


# What is chosen from on another fold than the one that is scored; the first is the package's own.
THRESHOLDS: dict[str, list[dict[str, float]]] = {
    "cellpose": [
        {"cellprob_threshold": probability, "flow_threshold": flow}
        for flow in (0.4, 0.8)
        for probability in (0.0, -1.0, 1.0)
    ],
    "stardist": [
        {"prob_thresh": probability, "nms_thresh": overlap}
        for overlap in (0.4, 0.3)
        # After an hour of training hardly a probability on Sartorius is above 0.3; its own optimize_thresholds would
        # go down to it as well.
        for probability in (0.5, 0.4, 0.6, 0.3, 0.25, 0.2, 0.15)
    ],
}
THRESHOLDS["cellpose-sizes"] = THRESHOLDS["cellpose"]

PEERS: dict[str, Callable[..., Any]] = {
    "cellpose": Cellpose,
    "cellpose-sizes": partial(Cellpose, sizes=True),
    "stardist": StarDist,
}


def train_cellpose(
    pictures: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    out: Path,
    *,
    budget_s: float,
    seed: int,
    threads: int,
    begins: Callable[[str], None],
) -> str:
    """Train from random weights with Cellpose's own defaults, as many epochs as the CPU seconds give; return the file.

    An epoch is timed first, so that its schedule of learning rates ends with the budget; weights are kept ten times on
    the way. ``begins`` is told when the timing is over, and where the weights will be. The size model is fitted on the
    same images behind it, in one pass and not in ten.
    """
    import torch
    from cellpose import io, models, train

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - it draws from NumPy's global generator
    io.logger_setup()
    kept = [index for index, cells in enumerate(labels) if len(np.unique(cells)) > 1]
    data: dict[str, Any] = dict(
        train_data=[pictures[index] for index in kept],
        train_labels=[labels[index].astype(np.int32) for index in kept],
        channels=[0, 0],
        min_train_masks=1,
        save_path=str(out),
    )

    def run(epochs: int, name: str) -> str:
        torch.manual_seed(seed)
        model = models.CellposeModel(gpu=False, pretrained_model=False)
        return str(
            train.train_seg(
                model.net,
                **data,
                n_epochs=epochs,
                save_every=max(1, epochs // 10),
                save_each=True,
                model_name=name,
            )[0]
        )

    begin = time.process_time()
    # Flows of the true cells are made once, whatever the number of epochs.
    run(1, "one")
    first = time.process_time() - begin
    begin = time.process_time()
    run(2, "two")
    epoch_s = max(time.process_time() - begin - first, 1e-3)
    epochs = max(1, int((PLANNED * budget_s - (first - epoch_s)) / epoch_s))
    print(f"cellpose: {epochs} epochs of {epoch_s:.1f} CPU s", flush=True)
    begins(str(out / "models/cellpose"))
    path = run(epochs, "cellpose")
    model = models.CellposeModel(gpu=False, pretrained_model=path)
    sizes = {key: data[key] for key in ("train_data", "train_labels", "channels")}
    params = train.train_size(model.net, path, **sizes, min_train_masks=1, n_epochs=1, batch_size=8)
    np.save(f"{path}_size.npy", params)  # type: ignore[arg-type]
    return path


def train_stardist(
    pictures: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    out: Path,
    *,
    budget_s: float,
    seed: int,
    threads: int,
    begins: Callable[[str], None],
) -> str:
    """Train from random weights for as many steps as the CPU seconds give; return the model's folder.

    Its own defaults, with what its documentation advises: pictures normalized by percentiles, the grid of its example,
    flips, turns and changes of intensity. A tenth of the images tells its schedule when to halve the rate.
    """
    tf = _tensorflow(threads)
    from csbdeep.utils import normalize
    from stardist.models import Config2D, StarDist2D

    os.environ["PYTHONHASHSEED"] = str(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - it draws from NumPy's global generator
    tf.random.set_seed(seed)
    order = np.random.default_rng(seed).permutation(len(pictures))
    inputs = [normalize(gray(pictures[index]), 1, 99.8).astype(np.float32) for index in order]
    targets = [labels[index].astype(np.int32) for index in order]
    held = max(1, len(order) // 10)
    side = min(256, *(min(cells.shape) for cells in targets)) // 16 * 16

    def run(name: str, epochs: int, steps: int) -> StarDist2D:
        config = Config2D(
            n_rays=32, grid=STARDIST_GRID, train_patch_size=(side, side), train_tensorboard=False
        )
        tf.random.set_seed(seed)
        model = StarDist2D(config, name=name, basedir=str(out))
        model.prepare_for_training()
        every = max(1, epochs // 10)

        def keep(epoch: int, _: Any) -> None:
            if (epoch + 1) % every == 0:
                # A name of its own until it is whole.
                path = out / name / f"writing_{epoch + 1:04d}.weights.h5"
                model.keras_model.save_weights(str(path))
                path.rename(out / name / f"tenth_{epoch + 1:04d}.weights.h5")

        model.callbacks.append(tf.keras.callbacks.LambdaCallback(on_epoch_end=keep))
        model.train(
            inputs[held:],
            targets[held:],
            validation_data=(inputs[:held], targets[:held]),
            augmenter=_augmented,
            seed=seed,
            epochs=epochs,
            steps_per_epoch=steps,
        )
        return model

    begin = time.process_time()
    run("few", 1, 2)
    few = time.process_time() - begin
    begin = time.process_time()
    run("more", 1, 6)
    step_s = max((time.process_time() - begin - few) / 4, 1e-3)
    # What an epoch costs besides its steps, and what comes before the first, is in `few`.
    steps = max(1, int((PLANNED * budget_s - few) / step_s))
    epochs = max(1, min(20, steps // 10))
    steps_each = max(1, steps // epochs)
    print(f"stardist: {epochs} epochs of {steps_each} steps of {step_s:.2f} CPU s", flush=True)
    begins(str(out / "stardist"))
    run("stardist", epochs, steps_each)
    return str(out / "stardist")


TRAININGS = {
    "cellpose": train_cellpose,
    "cellpose-sizes": train_cellpose,
    "stardist": train_stardist,
}


def gray(picture: np.ndarray) -> np.ndarray:
    """Return (H, W) of a picture, the mean of its colours."""
    return picture if picture.ndim == 2 else picture.mean(axis=2)


def median_diameter_px(labels: Sequence[np.ndarray]) -> float:
    """Return the median diameter of cells as disks of their area."""
    areas = np.concatenate([np.bincount(cells.ravel())[1:] for cells in labels])
    areas = areas[areas > 0]
    return float(np.median(np.sqrt(areas * 4 / np.pi))) if len(areas) else 30.0


def _augmented(picture: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    turns, flips = random.randrange(4), random.random() < 0.5
    picture, cells = (np.rot90(array, turns) for array in (picture, cells))
    if flips:
        picture, cells = picture[:, ::-1], cells[:, ::-1]
    return picture * random.uniform(0.6, 2) + random.uniform(-0.2, 0.2), cells


def _tensorflow(threads: int) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf
