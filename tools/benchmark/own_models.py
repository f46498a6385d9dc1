"""Our models as the benchmarks use them, beside `peer_models`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from clock import Clock
from network_memory import NetworkMemory
from variants import parsed_options

from cellseg_mmdet.engine import load_config, prepare_model_cfg


class Ours:
    """A model of a config, through `load_model`.

    With ``is_stand_in`` its weights are random, and the maps of the true cells take the place of the network's, which
    runs all the same; a detector gives its most certain boxes, ``most`` of them. ``options`` are those of
    ``--cfg-options``, ``diameter_px`` is 'auto' where the size of cells is estimated. With ``keeps_maps`` the network
    does not run again for what it has just seen: another threshold changes no map.
    """

    def __init__(
        self,
        config: str,
        checkpoint: str,
        threads: int,
        *,
        is_stand_in: bool,
        most: int,
        options: Sequence[str] = (),
        diameter_px: str | None = None,
        keeps_maps: bool = False,
    ) -> None:
        import torch

        from cellseg_mmdet.inference import load_model

        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        self.clock = Clock()
        self.truth = np.zeros((0, 0), np.int32)
        settings = parsed_options(options) | (any_score(config, most) if is_stand_in else {})
        self.model = load_model(config, checkpoint, device="cpu", cfg_options=settings)
        self.diameter_px: Any = diameter_px
        self.detector = self.model.predictor.model
        self.is_stand_in = is_stand_in
        self.memory = NetworkMemory(is_on=keeps_maps)
        name = "predict_maps" if hasattr(self.detector, "predict_maps") else "extract_feat"
        self._run = getattr(self.detector, name)
        setattr(self.detector, name, self._timed_network)

    def _timed_network(self, batch_inputs: Any, *args: Any) -> Any:
        with self.clock.counts("network"):
            maps = self.memory.maps_of(batch_inputs, lambda: self._run(batch_inputs, *args))
        if self.is_stand_in and hasattr(self.detector, "predict_maps"):
            with self.clock.counts("left_out"):
                maps = self._true_maps(maps)
        return maps

    def _true_maps(self, maps: Any) -> Any:
        from cellseg_mmdet.masks import Runs

        labels = cv2.resize(
            self.truth.astype(np.float32),
            tuple(maps.shape[:1:-1]),
            interpolation=cv2.INTER_NEAREST,
        )
        code = self.detector.code
        targets = code.encode(Runs.from_label_map(labels.astype(np.int32))).maps
        true = maps.clone()
        true[0, : code.channels] = maps.new_tensor(targets)
        return true

    @property
    def thresholds(self) -> dict[str, float]:
        """The probability of foreground of a pixel model, and the score of what is kept."""
        return self._thresholds

    @thresholds.setter
    def thresholds(self, values: dict[str, float]) -> None:
        from cellseg_mmdet.postprocess import build_pipeline

        self._thresholds = values
        code = getattr(self.detector, "code", None)
        for name in ("mask_thr", "flow_thr"):
            if name in values and hasattr(code, name):
                setattr(code, name, values[name])
        predictor = self.model.predictor
        steps = [dict(step) for step in predictor.cfg.get("postprocess") or []]
        for step in steps:
            if step["type"] == "ScoreThreshold":
                step["score_thr"] = values["score_thr"]
        predictor.postprocess = build_pipeline(steps, predictor.classes)

    def predict(self, picture: np.ndarray) -> np.ndarray:
        """Return the label map of the cells."""
        self.memory.look_at(picture)
        return self.model(picture, diameter_px=self.diameter_px).label_map()


def thresholds_of(config: str) -> list[dict[str, float]]:
    """Return what is chosen from, for a model, on another fold than the one that is scored.

    Flows may differ twice as much, as with Cellpose: what is let through so is told by its score. A detector's masks
    are not made of a probability.
    """
    if "_flow_" in config:
        return [
            {"mask_thr": mask_thr, "score_thr": score_thr, "flow_thr": flow_thr}
            for flow_thr in (0.4, 0.8)
            for mask_thr in (0.5, 0.4, 0.6)
            for score_thr in (0.5, 0.6)
        ]
    return [
        {"mask_thr": mask_thr, "score_thr": score_thr}
        for mask_thr in ((0.5,) if "rcnn" in config else (0.5, 0.4, 0.6))
        for score_thr in (0.5, 0.3)
    ]


def any_score(config: str, most: int) -> dict[str, Any]:
    """Return options that keep the first ``most`` boxes of a detector without weights, none of a pixel model."""
    cfg = load_config(config)
    if "rcnn" not in (cfg.model.get("test_cfg") or {}):
        return {}
    options: dict[str, Any] = {
        "model.test_cfg.rcnn.score_thr": 0.0,
        "model.test_cfg.rcnn.max_per_img": most,
    }
    for index, step in enumerate(cfg.get("postprocess") or []):
        for key in step:
            if key.endswith("score_thr"):
                options[f"postprocess.{index}.{key}"] = 0.0
    return options


def write_random(config: str, path: Path, options: Sequence[str] = ()) -> None:
    """Write a checkpoint of random weights; of pretrained ones where the config names some."""
    import torch
    from mmdet.registry import MODELS

    from cellseg_mmdet.engine import register_checkpoint_loaders

    torch.manual_seed(0)
    cfg = load_config(config)
    prepare_model_cfg(cfg)
    register_checkpoint_loaders(trust=False)
    model = MODELS.build(cfg.model)
    model.init_weights()
    meta = {"dataset_meta": {"classes": ("cell",)}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, path)
