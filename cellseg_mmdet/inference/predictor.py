"""`Predictor`: a trained model, ready for pictures that belong to no data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.runner import CheckpointLoader

from cellseg_mmdet.config_content import class_names, dataset_of
from cellseg_mmdet.config_errors import naming_parts
from cellseg_mmdet.engine import load_config, prepare_model_cfg, register_checkpoint_loaders
from cellseg_mmdet.engine.config import enable_tta
from cellseg_mmdet.engine.folding import fold_batch_norms
from cellseg_mmdet.engine.weights import load_weights
from cellseg_mmdet.errors import CheckpointError, UsageError, shown
from cellseg_mmdet.fields import FieldError, names
from cellseg_mmdet.images import Image, read_image
from cellseg_mmdet.images.tile_choice import TileChoice
from cellseg_mmdet.inference.tiled import TiledPredictor
from cellseg_mmdet.postprocess import build_pipeline
from cellseg_mmdet.structures import ImagePrediction, from_dump_entry


class Predictor:
    """The model of a config with the weights of a checkpoint.

    Images go through the config's test pipeline, without what loads annotations, and its ``postprocess`` list.

    Args:
        config: config file.
        checkpoint: checkpoint file or URL; it must have every weight of the model and no other.
        device: such as ``cpu`` or ``cuda:1``; by default the first accelerator there is.
        cfg_options: settings that override those of the config.
        trust_checkpoint: allow the checkpoint to run code while it is loaded.
        tta: predict the views of the config's ``tta_pipeline`` and merge what is found in them.
        folds_norms: fold batch norms into the convolutions before them (`fold_batch_norms`): faster, the same up to
            rounding. Who looks at single layers wants them as they were trained.

    Attributes:
        cfg: the config, options merged in.
        model: mmdet's detector, in eval mode.
        device: where the model is.
        classes: class names in the order of the labels.
        postprocess: takes an `ImagePrediction` and returns the one that is scored and submitted.
        cell_scale: of the config, the size of the cells that it was trained on; None if it does not say.
        cap: setting of the config that bounds the number of raw instances of an image, and that number; None if
            nothing does.

    Raises:
        UsageError: the config is missing, has no test pipeline, no class names or, with ``tta``, no views, or the
            device is not there.
        CheckpointError: the checkpoint is missing, refused, damaged, or of another model.
    """

    def __init__(
        self,
        config: str | Path,
        checkpoint: str,
        *,
        device: str | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        trust_checkpoint: bool = False,
        tta: bool = False,
        folds_norms: bool = True,
    ) -> None:
        self.cfg = load_config(config, cfg_options)
        if tta:
            enable_tta(self.cfg)
        prepare_model_cfg(self.cfg)
        self.device = _usable_device(get_device() if device is None else device)
        register_checkpoint_loaders(trust=trust_checkpoint)
        with naming_parts(config):
            self._pipeline = Compose(array_pipeline(self.cfg))
            self.model = MODELS.build(self.cfg.model)
        meta = _load_weights(self.model, str(checkpoint))
        self.classes = _class_names(self.cfg, meta, str(checkpoint))
        self.postprocess = build_pipeline(self.cfg.get("postprocess") or [], self.classes)
        self.cell_scale = self.cfg.get("cell_scale")
        self.cap = _cap_of(self.cfg)
        self.model.to(self.device).eval()
        if folds_norms:
            fold_batch_norms(self.model)

    @torch.inference_mode()
    def predict(self, images: Mapping[str, Image | np.ndarray]) -> list[ImagePrediction]:
        """Predict one batch and return the raw predictions, in the order of the images.

        Args:
            images: file name -> what `read_image` gives, or an array that it takes. A prediction is named by the stem.

        Raises:
            ImageError: an image has other channels than the network.
        """
        packed = [
            self._pipeline(
                {"image": image if isinstance(image, Image) else read_image(image, name=name)}
            )
            for name, image in images.items()
        ]
        found = self.model.test_step(pseudo_collate(packed))
        for sample, name in zip(found, images, strict=True):
            sample.set_metainfo({"img_path": name})
        return [from_dump_entry(sample.to_dict()) for sample in found]

    def tiled(
        self,
        choice: TileChoice,
        folder: str | None = None,
        sharing: int = 1,
        *,
        cut_open: bool = True,
        overlap: int | None = None,
    ) -> TiledPredictor:
        """Return what predicts pictures of any size, tile by tile where the choice says so.

        Args:
            choice: of the user.
            folder: for large temporary files; the system's by default.
            sharing: processes that share the memory of the device.
            cut_open: see `TiledPredictor`.
            overlap: see there.
        """
        return TiledPredictor(
            self.model,
            self._pipeline,
            self.device,
            choice,
            folder,
            sharing,
            cut_open=cut_open,
            overlap=overlap,
        )


def array_pipeline(cfg: Config) -> list[dict[str, Any]]:
    """Return the test pipeline of a config for images that are read already, without annotations.

    What mmdet's ``LoadImageFromFile`` loads, `LoadCellImage` loads in its place: 8 bits as they are.

    Raises:
        UsageError: there is no test pipeline, or it does not begin with loading an image from a file.
    """
    steps = [dict(step) for step in dataset_of(cfg, "test_dataloader").get("pipeline") or []]
    first = _type_name(steps[0]) if steps else "nothing"
    if first == "LoadImageFromFile":
        steps[0] = {"type": "LoadCellImage"}
    elif first != "LoadCellImage":
        raise UsageError(
            f"{cfg.filename}: the pipeline of test_dataloader must begin with LoadCellImage; it begins with {first}"
        )
    return [step for step in steps if "LoadAnnotations" not in _type_name(step)]


def _class_names(
    cfg: Config, checkpoint_meta: Mapping[str, Any], checkpoint: str
) -> tuple[str, ...]:
    """Return the class names of the data that the model was trained on, else those of the config."""
    found = checkpoint_meta.get("dataset_meta") or {}
    if not isinstance(found, Mapping):
        raise CheckpointError(f"checkpoint {checkpoint}: dataset_meta is {shown(found)}, no dict")
    trained_on = {str(key).lower(): value for key, value in found.items()}
    classes = trained_on.get("classes")
    if classes:
        try:
            return _as_many(names(classes, "classes"), cfg, checkpoint)
        except FieldError as error:
            raise CheckpointError(
                f"checkpoint {checkpoint}: in its dataset_meta, {error}"
            ) from error
    classes = class_names(cfg)
    if not classes:
        raise UsageError(
            f"neither the checkpoint nor {cfg.filename} names the classes: "
            "give --cfg-options metainfo.classes=\"('cell',)\""
        )
    return classes


def _as_many(classes: tuple[str, ...], cfg: Config, checkpoint: str) -> tuple[str, ...]:
    """Return classes, as many as the model of the config tells apart, where it says how many."""
    head = cfg.model.get("roi_head", cfg.model).get("bbox_head") or {}
    is_pixel = _type_name(cfg.model) == "PixelDetector"
    found = cfg.model.get("num_classes", 1) if is_pixel else None
    if found is None and isinstance(head, Mapping):
        found = head.get("num_classes")
    if found is not None and found != len(classes):
        raise CheckpointError(
            f"checkpoint {checkpoint} is of the {len(classes)} classes {shown(list(classes))}, and the model of "
            f"{cfg.filename} tells {found} apart: give the config that it was trained with"
        )
    return classes


def _cap_of(cfg: Config) -> tuple[str, int] | None:
    test_cfg = cfg.model.get("test_cfg") or {}
    stage, place = (test_cfg["rcnn"], "rcnn.") if test_cfg.get("rcnn") else (test_cfg, "")
    cap = stage.get("max_per_img")
    return (f"model.test_cfg.{place}max_per_img", int(cap)) if cap and cap > 0 else None


def _load_weights(model: torch.nn.Module, checkpoint: str) -> Mapping[str, Any]:
    """Load all weights, no less and no more, and return the ``meta`` of the checkpoint."""
    content = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu", logger="silent")
    load_weights(model, content, checkpoint)
    meta = content.get("meta") or {}
    if not isinstance(meta, Mapping):
        raise CheckpointError(f"checkpoint {checkpoint}: meta is {shown(meta)}, no dict")
    return meta


def _usable_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {name!r} cannot be used: {reason}") from None
    return device


def _type_name(step: Mapping[str, Any]) -> str:
    kind = step["type"]
    return kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
