"""Changes of a config that are trained as rows of their own beside it: `equal_budget.py MODEL+NAME`, or `MODEL+A+B`.

All are options that `cellseg train --cfg-options` takes as well: ``python tools/benchmark/variants.py MODEL`` prints
them for a config. What inserts a transform is a leaf in ``variants/``, which is named in place of MODEL.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cellseg_mmdet.cli.arguments import add_option_arguments
from cellseg_mmdet.engine import load_config
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.terminal import run_tool

PIPELINE = "train_dataloader.dataset.pipeline"
# A cell is seen so large in training, whatever it is in its picture.
COMMON_PX = 25.0


@dataclass(frozen=True)
class Variant:
    """A change of a config.

    Attributes:
        what: it changes, for the table.
        options: ``key=value``; ``{RandomScaleCrop}`` is the place of the transform in the training's pipeline,
            ``{trained_px}`` the diameter in a picture of cells that a test sees as large as the training (`COMMON_PX`).
        diameter_px: 'auto' where pictures are predicted at the size that is estimated.
    """

    what: str
    options: tuple[str, ...]
    diameter_px: str | None = None


VARIANTS = {
    "stride1": Variant(
        "maps at stride 1 in place of 2",
        ("model.decoder.out_stride=1", "model.decoder.width=[16,32,32,48,64,96]"),
    ),
    "stride4": Variant(
        "maps at stride 4 in place of 2",
        ("model.decoder.out_stride=4", "model.decoder.width=[32,48,64,96]"),
    ),
    "diameter": Variant(
        "each picture resized to a common diameter of its cells, 0.8 to 1.25 times; estimated in the test",
        (
            PIPELINE + ".{RandomScaleCrop}.diameter_px=" + f"{COMMON_PX}",
            PIPELINE + ".{RandomScaleCrop}.scale_range=(0.8,1.25)",
            "cell_scale.diameter_px={trained_px}",
        ),
        diameter_px="auto",
    ),
    "balanced": Variant(
        "images drawn so that all cell types are seen alike often",
        (
            "train_dataloader.sampler._delete_=True",
            "train_dataloader.sampler.type=BalancedInfiniteSampler",
            "train_dataloader.sampler.power=0.0",
        ),
    ),
    "sqrt-balanced": Variant(
        "images drawn by the square root of the number of their cell type",
        (
            "train_dataloader.sampler._delete_=True",
            "train_dataloader.sampler.type=BalancedInfiniteSampler",
            "train_dataloader.sampler.power=0.5",
        ),
    ),
    "ema": Variant(
        "moving average of the weights over the last 200 iterations or so",
        ("default_hooks.ema.type=EMAHook", "default_hooks.ema.momentum=0.005"),
    ),
    "crops384": Variant(
        "crops of 384 in place of 256 pixels, four a batch",
        (
            PIPELINE + ".{RandomScaleCrop}.crop_size_hw=(384,384)",
            "train_dataloader.batch_size=4",
        ),
    ),
    "constant": Variant(
        "a constant learning rate in place of the cosine", ("param_scheduler.1.eta_min_ratio=1.0",)
    ),
    "blur": Variant(
        "blur and noise in the photometric augmentation",
        (
            PIPELINE + ".{RandomPhotometry}.blur_px=(0.0,1.5)",
            PIPELINE + ".{RandomPhotometry}.noise=(0.0,12.0)",
        ),
    ),
    "frozen2": Variant(
        "the stem and strides 2 and 4 of the backbone stay as ImageNet left them",
        ("model.backbone.frozen_stages=2",),
    ),
    "phase": Variant(
        "begun from the weights of the model `phase` in place of ImageNet's",
        ("load_from=shipped://phase",),
    ),
    "rims": Variant(
        "the U-Net paper's weights between close cells",
        (
            PIPELINE + ".{PackPixelTargets}.border.w0=5.0",
            PIPELINE + ".{PackPixelTargets}.border.sigma_px=3.0",
        ),
    ),
}


def split_model(model: str) -> tuple[str, tuple[str, ...]]:
    """Return the config of a model, and the names of its variants.

    Raises:
        UsageError: there is no such variant.

    Example:
        >>> split_model("my.py+ema+stride1")
        ('my.py', ('ema', 'stride1'))
    """
    config, *names = model.split("+")
    for name in names:
        if name not in VARIANTS:
            raise UsageError(
                f"{model}: there is no variant {name!r}; there are {', '.join(VARIANTS)}"
            )
    return config, tuple(names)


def options_of(model: str) -> list[str]:
    """Return the options ``key=value`` that make a model of its config.

    Raises:
        UsageError: a variant is none, or changes a transform that the config has not.
    """
    config, names = split_model(model)
    if not names:
        return []
    cfg = load_config(config)
    places: dict[str, Any] = {
        step["type"]: index for index, step in enumerate(cfg.train_dataloader.dataset.pipeline)
    }
    places["trained_px"] = COMMON_PX / test_factor(cfg.test_dataloader.dataset.pipeline)
    try:
        return [one.format(**places) for name in names for one in VARIANTS[name].options]
    except KeyError as error:
        raise UsageError(
            f"{model}: the train_pipeline of {config} has no {error.args[0]}; it has "
            f"{', '.join(name for name in places if name != 'trained_px')};"
            " a leaf in tools/benchmark/variants may insert it"
        ) from error


def test_factor(pipeline: Sequence[dict[str, Any]]) -> float:
    """Return the factor by which a test's pipeline resizes pictures."""
    factors = (step.get("scale_factor") for step in pipeline if step["type"] == "Resize")
    return math.prod(factor for factor in factors if factor)


test_factor.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


def parsed_options(options: Sequence[str]) -> dict[str, Any]:
    """Return options as ``--cfg-options`` reads them.

    Example:
        >>> parsed_options(["a.b=(1,2)", "c=True"])
        {'a.b': (1, 2), 'c': True}
    """
    parser = argparse.ArgumentParser()
    add_option_arguments(parser)
    words = ["--cfg-options", *options] if options else []
    return dict(parser.parse_args(words).cfg_options or {})


def diameter_of(model: str) -> str | None:
    """Return 'auto' if a model's pictures are predicted at the size that is estimated."""
    sizes = [VARIANTS[name].diameter_px for name in split_model(model)[1]]
    return next((size for size in sizes if size), None)


def row_name(model: str) -> str:
    """Return a model's name without folder and suffix.

    Example:
        >>> row_name("configs/pixel/a.py+ema"), row_name("cellpose")
        ('a+ema', 'cellpose')
    """
    config, *names = model.split("+")
    stem = config.rpartition("/")[2].removesuffix(".py")
    return "+".join([stem, *names])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="config, or name of a shipped one")
    args = parser.parse_args()
    for name, variant in VARIANTS.items():
        print(f"{name}: {variant.what}")
        try:
            print(
                "    --cfg-options "
                + " ".join(f"'{one}'" for one in options_of(f"{args.model}+{name}"))
            )
        except UsageError as error:
            print(f"    {error}")


if __name__ == "__main__":
    run_tool(main)
