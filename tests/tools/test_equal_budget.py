"""Rows of the equal-budget table: variants of configs, what bounds a score, and rows that add up."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellseg_mmdet.errors import DataError, UsageError
from cellseg_mmdet.evaluation.overlaps import Overlaps
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageRecord

# The benchmarks are scripts beside each other.
sys.path.insert(0, str(Path(__file__).parents[2] / "tools/benchmark"))

import equal_analysis
import equal_budget
import equal_rows
import variants

FLOW = "pixel_lite0_flow_cpu_"


def cfg_of(model: str) -> Any:
    from cellseg_mmdet.engine import load_config

    options = variants.parsed_options(variants.options_of(model))
    return load_config(variants.split_model(model)[0], options)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["sartorius", "dsb2018"])
@pytest.mark.parametrize("name", variants.VARIANTS)
def test_variants_are_options_of_the_config(name: str, data: str) -> None:
    if (name, data) == ("blur", "sartorius"):
        with pytest.raises(UsageError, match="has no RandomPhotometry; it has LoadCellImage"):
            variants.options_of(f"{FLOW}{data}+{name}")
        return
    from mmdet.registry import MODELS, TRANSFORMS

    cfg = cfg_of(f"{FLOW}{data}+{name}")
    steps = {step["type"]: step for step in cfg.train_dataloader.dataset.pipeline}
    for step in steps.values():
        TRANSFORMS.build(dict(step))
    expected = {
        "stride1": lambda: cfg.model.decoder.out_stride == 1,
        "stride4": lambda: cfg.model.decoder.out_stride == 4,
        "diameter": lambda: steps["RandomScaleCrop"]["diameter_px"] == 25.0,
        "balanced": lambda: (
            cfg.train_dataloader.sampler == {"type": "BalancedInfiniteSampler", "power": 0.0}
        ),
        "sqrt-balanced": lambda: cfg.train_dataloader.sampler.power == 0.5,
        "ema": lambda: cfg.default_hooks.ema.type == "EMAHook",
        "crops384": lambda: tuple(steps["RandomScaleCrop"]["crop_size_hw"]) == (384, 384),
        "constant": lambda: cfg.param_scheduler[1].eta_min_ratio == 1.0,
        "blur": lambda: tuple(steps["RandomPhotometry"]["blur_px"]) == (0.0, 1.5),
        "frozen2": lambda: cfg.model.backbone.frozen_stages == 2,
        "phase": lambda: cfg.load_from == "shipped://phase",
        "rims": lambda: steps["PackPixelTargets"]["border"] == {"w0": 5.0, "sigma_px": 3.0},
    }
    assert expected[name]()
    if name.startswith("stride"):
        decoder = MODELS.build(dict(cfg.model.decoder, out_channels=3))
        assert decoder.out_stride == cfg.model.decoder.out_stride


def test_a_variant_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match="no variant 'emma'; there are stride1"):
        variants.split_model("a.py+emma")
    assert variants.options_of("cellpose") == [] and variants.diameter_of("a+diameter") == "auto"


def cells(*columns: tuple[int, int]) -> Runs:
    labels = np.zeros((10, 100), np.int32)
    for number, (begin, end) in enumerate(columns, start=1):
        labels[:, begin:end] = number
    return Runs.from_label_map(labels)


def test_what_one_kind_of_error_costs() -> None:
    # A hit of IoU 0.7: 5 of 10 thresholds from 0.5 to 0.65 and, as it must be above, not 0.7. One missed, one extra.
    true, found = cells((0, 10), (20, 30)), cells((0, 7), (50, 60))
    bounds = equal_analysis.bounds(Overlaps(found, true))
    assert bounds["as it is"] == pytest.approx(4 / 10 / 3)
    assert bounds["exact outlines"] == pytest.approx(1 / 3)
    assert bounds["none missed"] == bounds["none extra"]
    assert bounds["as it is"] < bounds["none missed"] < 4 / 10
    assert bounds["none merged or split"] == bounds["as it is"]
    merged = equal_analysis.bounds(Overlaps(cells((0, 20)), cells((0, 9), (9, 20))))
    assert merged["none missed"] == merged["as it is"]
    none = equal_analysis.bounds(Overlaps(cells(), cells()))
    assert len(set(none.values())) == 1


def row(model: str = "configs/a.py", seed: int = 0, score: float = 0.2, **more: Any) -> Any:
    key = {"model": model, "seed": seed, "budget_s": 60.0, "threads": 1, "images": [2, 1, 1]}
    return {
        "key": key, "machine": "m", "cpu_s": 55.0, "stopped": False, "thresholds": {"t": 0.5},
        "score": score, "by_type": {"astro": score}, **more,
    }  # fmt: skip


def record(name: str, group: str | None) -> ImageRecord:
    return ImageRecord(name, 4, 4, Runs.from_label_map(np.zeros((4, 4), np.int32)), (), group=group)


def test_one_field_is_not_learned_from_and_scored() -> None:
    learned, scored = [record("a", "field 1")], [record("b", "field 2")]
    equal_budget.check_sources("dsb2018", learned, scored)
    with pytest.raises(UsageError, match="group 'field 1' are learned from, and others of it"):
        equal_budget.check_sources("dsb2018", learned, [*scored, record("c", "field 1")])
    with pytest.raises(UsageError, match=r"1 images, such as c, have no group.*--group-by source"):
        equal_budget.check_sources("dsb2018", learned, [*scored, record("c", None)])
    equal_budget.check_sources("sartorius", [record("a", None)], [record("b", None)])


def test_thresholds_are_those_of_the_kind_of_model() -> None:
    from own_models import thresholds_of

    assert {one["flow_thr"] for one in thresholds_of(f"{FLOW}dsb2018")} == {0.4, 0.8}
    rcnn = thresholds_of("mask-rcnn_r18_fpn_cpu_dsb2018")
    assert rcnn == [{"mask_thr": 0.5, "score_thr": 0.5}, {"mask_thr": 0.5, "score_thr": 0.3}]
    assert len(thresholds_of("pixel_lite0_star_cpu_dsb2018")) == 6


def test_a_training_that_was_stopped_has_its_last_weights(tmp_path: Path) -> None:
    from equal_training import Checkpoints, RowError

    models = tmp_path / "training/models"
    models.mkdir(parents=True)
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(RowError, match=r"stopped before it wrote weights: .*cellpose"):
        checkpoints.latest(default=models / "cellpose")
    for number, cpu_s in ((2, 10.0), (10, 20.0)):
        (models / f"cellpose_epoch_{number:04d}").touch()
        checkpoints(cpu_s)
    assert checkpoints.latest(default=models / "cellpose").name == "cellpose_epoch_0010"
    (models / "cellpose").touch()
    assert checkpoints.latest(default=models / "cellpose").name == "cellpose"


def test_a_network_runs_once_for_an_input_of_a_picture() -> None:
    from network_memory import NetworkMemory

    runs: list[float] = []

    def seen(memory: NetworkMemory, picture: np.ndarray, *values: float) -> list[float]:
        memory.look_at(picture)
        return [
            memory.maps_of(np.full(2, value), lambda value=value: runs.append(value) or value)
            for value in values
        ]

    first, second = np.zeros(1), np.zeros(1)
    memory = NetworkMemory(is_on=True)
    assert seen(memory, first, 1.0, 2.0, 1.0) == [1.0, 2.0, 1.0] and runs == [1.0, 2.0]
    assert seen(memory, first, 2.0) == [2.0] and len(runs) == 2
    assert seen(memory, second, 2.0) == [2.0] and len(runs) == 3
    assert seen(NetworkMemory(is_on=False), second, 2.0, 2.0) == [2.0, 2.0] and len(runs) == 5


def test_rows_of_several_days_add_up(tmp_path: Path) -> None:
    path = tmp_path / "rows/sartorius.json"
    equal_rows.merge(path, [row(), row(seed=1, score=0.4)])
    merged = equal_rows.merge(path, [row("a", score=0.3), row("b+ema", score=0.5)])
    assert [one["score"] for one in merged] == [0.3, 0.4, 0.5]  # a again, and b
    page = tmp_path / "page.md"
    page.write_text(f"before\n{equal_rows.BEGIN}\nstale\n{equal_rows.END}\nafter\n")
    equal_rows.write_page(page, path.parent)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "stale" not in text
    lines = [line for line in text.splitlines() if line.startswith("| ") and "mAP" not in line]
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| b+ema", "1", "0.500 (0.500 - 0.500)"],
        ["| a", "2", "0.350 (0.300 - 0.400)"],
    ]
    equal_rows.write_page(page, path.parent)
    assert page.read_text() == text
    path.write_text(json.dumps({"rows": [{"key": {}}]}))
    with pytest.raises(DataError, match="a row lacks 'model'"):
        equal_rows.merge(path, [])


def test_curves_and_cells_are_told_where_they_are_known() -> None:
    counts = {"astro": {"up to 12 px": {"hit": 3, "missed": 1, "extra": 2}}}
    bounds = {"": dict.fromkeys(equal_rows.BOUNDS, 0.25)}
    known = row(curve=[[6.5, 0.1], [60.0, 0.2]], cells=counts, bounds=bounds)
    text = equal_rows.chapter("sartorius", [known, row("b", score=0.1)])
    assert "| a | 0.100 | - | - | - | - | - | - | - | - | 0.200 |" in text
    assert "| a | astro up to 12 px | 4 | 75% | 25% | 0% | 0% | 50% |" in text
    assert "| a | all | 0.250 |" in text
    assert "Checkpoints on the way" not in equal_rows.chapter("sartorius", [row("b")])
