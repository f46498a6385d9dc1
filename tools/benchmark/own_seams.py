"""Our models on whole pictures and in tiles, for `seams.py`; and sahi's slices of the same models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

# What is measured and has no config of its own: a base of ours, and what differs.
VARIANTS = ("mask-rcnn_r18_bn", "rtmdet-ins_tiny")
_R18 = "mask-rcnn_r18_fpn_cpu_dsb2018"
_NAME = "seams.image"


def model_config(name: str, folder: Path) -> str:
    """Return the config of a model, which is written for one of `VARIANTS`."""
    if name not in VARIANTS:
        return name
    from mmengine.hub import get_config

    import cellseg_mmdet.models  # noqa: F401 - it names the scope of our configs
    from cellseg_mmdet.engine import load_config

    cfg = load_config(_R18)
    if name == "mask-rcnn_r18_bn":
        cfg.model.neck.norm_cfg = dict(type="BN")
        cfg.model.roi_head.mask_head.norm_cfg = dict(type="BN")
    else:
        model = get_config("mmdet::rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py").model
        model.backbone.pop("init_cfg", None)
        model.bbox_head.num_classes = 1
        model.data_preprocessor.pad_size_divisor = 32
        for part in (model.backbone, model.neck, model.bbox_head):
            part.norm_cfg = dict(type="BN")
        model.test_cfg.max_per_img = 100
        cfg.model = model
        cfg.tta_model = None
    path = folder / f"{name}.py"
    cfg.dump(path)
    return str(path)


def write_random(config: str, path: Path, picture: np.ndarray) -> None:
    """Write a checkpoint of random weights that find something in a picture (H, W) uint8.

    Batch norms have seen the picture, and what the last layers give has a spread there as of a trained model.
    """
    import torch
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample

    from cellseg_mmdet.engine import load_config, prepare_model_cfg

    torch.manual_seed(0)
    cfg = load_config(config, {"model.backbone.init_cfg": None})
    prepare_model_cfg(cfg)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    small = np.repeat(picture[None, :256, :256], 3, axis=0)
    height, width = small.shape[1:]
    meta = dict(ori_shape=(height, width), img_shape=(height, width), scale_factor=(1.0, 1.0))
    data = {
        "inputs": [torch.from_numpy(small.copy())],
        "data_samples": [DetDataSample(metainfo=meta)],
    }
    with torch.no_grad():
        seen = model.data_preprocessor(data)["inputs"]
        for _ in range(30):
            model._forward(seen, None) if not hasattr(
                model, "extract_feat"
            ) else model.extract_feat(seen)
        model.eval()
        hooks = [
            module.register_forward_hook(_spread(target))
            for name, module in model.named_modules()
            if (target := _spread_of(name)) is not None
        ]
        model.test_step(data)
    for hook in hooks:
        hook.remove()
    meta = {"dataset_meta": {"classes": ("cell",)}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, path)


def _spread_of(name: str) -> float | None:
    """Return the standard deviation that the results of a layer get, or None if they stay as they are."""
    last = name.rpartition(".")[2]
    if last in ("rpn_cls", "fc_cls", "conv_logits") or ".rtm_cls." in name:
        return 2.0
    if last in ("rpn_reg", "fc_reg"):
        return 0.3
    if ".rtm_reg." in name or ".rtm_kernel." in name:
        return 1.0
    return None


def _spread(target: float) -> Any:
    done = False

    def hook(module: Any, inputs: Any, output: Any) -> Any:
        nonlocal done
        if done or output.numel() < 2 or not hasattr(module, "weight"):
            return output
        done = True
        factor = target / float(output.std().clamp(min=1e-6))
        module.weight.data *= factor
        # What is behind it sees these results already.
        return (
            module._conv_forward(inputs[0], module.weight, module.bias)
            if hasattr(module, "_conv_forward")
            else output * factor
        )

    return hook


class Tiled:
    """One of our models, as `cellseg infer` runs it with ``--tile off`` and with a side.

    Args:
        job: ``kind`` (``exact``, or ``overlap`` for tiles that overlap whatever the model is), ``config``,
            ``checkpoint``, ``options`` of the config, ``float64``, ``threads``, ``overlap`` in pixels or None.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        import torch

        from cellseg_mmdet.inference import load_model

        torch.set_num_threads(job["threads"])
        self.model = load_model(
            job["config"], job["checkpoint"], device="cpu", cfg_options=job["options"], scale=1.0
        )
        self.predictor = self.model.predictor
        if job["float64"]:
            network = self.predictor.model.double()
            network.backbone.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
        self._kind, self._overlap = job["kind"], job["overlap"]

    def whole(self, picture: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
        """Return the cells of a picture (H, W) uint8."""
        del truth
        return _arrays(self.model(picture, tile="off"))

    def tiles(self, picture: np.ndarray, truth: np.ndarray, side: int) -> dict[str, Any]:
        """Return the cells of a picture in tiles of ``side`` of its pixels."""
        del truth
        from cellseg_mmdet.images import read_image
        from cellseg_mmdet.images.tile_choice import TileChoice

        choice = TileChoice(max(64, round(side * self._factor(picture))))
        tiled = self.predictor.tiled(choice, cut_open=self._kind == "exact", overlap=self._overlap)
        raw = tiled.predict(read_image(picture, name=_NAME), _NAME)
        found = _arrays(self.predictor.postprocess(raw))
        overlapped = tiled.overlapped
        if overlapped is None:
            return found
        if self._kind == "exact":
            raise RuntimeError(f"not exact: {tiled.pop_notes()}")
        told = ("num_windows", "num_grown", "num_cut", "overlap")
        return found | {name: getattr(overlapped, name) for name in told}

    def _factor(self, picture: np.ndarray) -> float:
        """Return how much larger the network sees a picture than it is."""
        from cellseg_mmdet.images.tile_choice import TileChoice

        seen = self.predictor.tiled(TileChoice()).pictures.size_hw(picture.shape)
        return seen[0] / picture.shape[0]


class Sahi(Tiled):
    """sahi's slices with its defaults, of what the network sees: resized and stretched on the whole picture.

    Whole and sliced masks go the same way: through sahi's polygons, then through the model's post-processing.

    Raises:
        ImportError: sahi is not installed.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        from sahi.models.base import DetectionModel
        from sahi.prediction import ObjectPrediction
        from sahi.utils.cv import get_coco_segmentation_from_bool_mask

        super().__init__(job)
        tiled = self._tiled = self.predictor.tiled(_off())

        class Ours(DetectionModel):
            def load_model(self) -> None:
                self.category_mapping = {"0": "cell"}

            def perform_inference(self, image: np.ndarray) -> None:
                self._original_predictions = tiled.predict_seen(image, _NAME)

            def _create_object_prediction_list_from_original_predictions(
                self, shift_amount_list: Any = ((0, 0),), full_shape_list: Any = None
            ) -> None:
                if isinstance(shift_amount_list[0], int):
                    shift_amount_list, full_shape_list = [shift_amount_list], [full_shape_list]
                shape = full_shape_list[0] if full_shape_list else None
                if isinstance(shape, int):
                    shape = full_shape_list
                found = self._original_predictions
                cells = []
                for index in np.flatnonzero(found.scores > self.confidence_threshold):
                    mask = found.masks[[index]].to_label_map().astype(bool)
                    polygons = get_coco_segmentation_from_bool_mask(mask)
                    if polygons:
                        cells.append(
                            ObjectPrediction(
                                bbox=found.boxes[index].tolist(),
                                segmentation=polygons,
                                category_id=0,
                                category_name="cell",
                                score=float(found.scores[index]),
                                shift_amount=list(shift_amount_list[0]),
                                full_shape=shape or list(mask.shape),
                            )
                        )
                self._object_prediction_list_per_image = [cells]

        self._sahi = Ours(confidence_threshold=job["least_score"], device="cpu")

    def whole(self, picture: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
        """Return the cells of a picture, on the grid that the network sees."""
        del truth
        from sahi.predict import get_prediction

        seen = self._seen(picture)
        return self._found(get_prediction(seen, self._sahi), seen.shape[:2])

    def tiles(self, picture: np.ndarray, truth: np.ndarray, side: int) -> dict[str, Any]:
        """Return the cells from slices of ``side`` pixels."""
        del truth
        from sahi.predict import get_sliced_prediction

        seen = self._seen(picture)
        side = round(side * seen.shape[0] / picture.shape[0])
        sliced = get_sliced_prediction(
            seen,
            self._sahi,
            slice_height=side,
            slice_width=side,
            # The whole picture is what slices are there to avoid.
            perform_standard_pred=False,
            verbose=0,
        )
        return self._found(sliced, seen.shape[:2])

    def _seen(self, picture: np.ndarray) -> np.ndarray:
        from cellseg_mmdet.images import read_image
        from cellseg_mmdet.tiling.scratch import Scratch

        with Scratch(1e12) as scratch:
            seen, _ = self._tiled.pictures.picture(read_image(picture, name=_NAME), scratch)
            return np.ascontiguousarray(seen.read(0, 0, *seen.size_hw))

    def _found(self, result: Any, size_hw: tuple[int, int]) -> dict[str, Any]:
        from cellseg_mmdet.masks import Runs
        from cellseg_mmdet.structures import ImagePrediction

        cells = result.object_prediction_list
        parts = [Runs.from_label_map(cell.mask.bool_mask.astype(np.int32)) for cell in cells]
        masks = Runs.concatenate(parts) if parts else Runs.empty(*size_hw)
        scores = np.array([cell.score.value for cell in cells], np.float32)
        raw = ImagePrediction(
            _NAME,
            0,
            *size_hw,
            masks.boxes.astype(np.float32),
            scores,
            np.zeros(len(scores), int),
            masks,
        )
        return _arrays(self.predictor.postprocess(raw))


def _off() -> Any:
    from cellseg_mmdet.images.tile_choice import TileChoice

    return TileChoice("off")


def _arrays(found: Any) -> dict[str, Any]:
    """Return the arrays of an `ImagePrediction` or of `Cells` that are compared."""
    masks = found.masks
    return dict(
        starts=masks.starts,
        lengths=masks.lengths,
        offsets=masks.offsets,
        size_hw=np.array([masks.height, masks.width]),
        scores=found.scores,
        labels=found.labels,
    )
