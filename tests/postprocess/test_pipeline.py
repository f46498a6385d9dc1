from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.postprocess import STEPS, build_pipeline
from cellseg_mmdet.structures import ImagePrediction

CLASSES = ("astro", "cort")


def prediction(scores: list[float], labels: list[int] | None = None) -> ImagePrediction:
    """Disjoint cells of 1, 2, 3, ... pixels, each in a row of its own."""
    count = len(scores)
    label_map = np.tril(np.arange(1, count + 1)[:, None] * np.ones((count, max(count, 1)), int))
    masks = Runs.from_label_map(label_map) if count else Runs.empty(1, 1)
    return ImagePrediction(
        image_id="a",
        img_id=1,
        height=masks.height,
        width=masks.width,
        boxes=masks.boxes.astype(np.float32),
        scores=np.array(scores, dtype=np.float32),
        labels=np.array(labels if labels is not None else [0] * count, dtype=np.int64),
        masks=masks,
    )


def areas_after(steps: list[dict[str, Any]], given: ImagePrediction) -> list[int]:
    return build_pipeline(steps, CLASSES)(given).masks.areas.tolist()


def test_score_threshold_keeps_what_reaches_it() -> None:
    steps = [dict(type="ScoreThreshold", score_thr=0.7)]
    assert areas_after(steps, prediction([0.7, 0.69, 0.9])) == [1, 3]


@pytest.mark.parametrize("cort", [0.2, 0.7], ids=["low", "high"])
def test_score_threshold_per_class(cort: float) -> None:
    steps = [dict(type="ScoreThreshold", score_thr=dict(cort=cort, astro=0.7))]
    kept = [1, 2, 4] if cort == 0.2 else [1, 4]
    assert areas_after(steps, prediction([0.7, 0.5, 0.5, 0.7], [0, 1, 0, 1])) == kept


def test_min_area() -> None:
    given = prediction([0.5] * 4, [0, 1, 0, 1])
    assert areas_after([dict(type="MinArea", min_area_px=3)], given) == [3, 4]
    per_class = dict(type="MinArea", min_area_px=dict(astro=1, cort=3))
    assert areas_after([per_class], given) == [1, 3, 4]


def test_max_area() -> None:
    given = prediction([0.5] * 4, [0, 1, 0, 1])
    assert areas_after([dict(type="MaxArea", max_area_px=2)], given) == [1, 2]
    per_class = dict(type="MaxArea", max_area_px=dict(astro=1, default=9))
    assert areas_after([per_class], given) == [1, 2, 4]


def test_max_per_image_keeps_the_best_in_their_order() -> None:
    given = prediction([0.3, 0.8, 0.1, 0.9])
    assert areas_after([dict(type="MaxPerImage", max_per_image=2)], given) == [2, 4]
    assert areas_after([dict(type="MaxPerImage", max_per_image=9)], given) == [1, 2, 3, 4]


def test_nothing_stays_nothing() -> None:
    steps = [
        dict(type="VoteCellType"),
        dict(type="ScoreThreshold", score_thr=dict(astro=0.5, cort=0.1)),
        dict(type="BoxNMS", overlap_thr=0.5),
        dict(type="MaskNMS", overlap_thr=0.5),
        dict(type="FillHoles"),
        dict(type="Smooth", radius_px=1),
        dict(type="RemoveOverlaps", min_kept_fraction=0.5),
        dict(type="RemoveOverlaps", give_to="nearest"),
        dict(type="LargestComponent"),
        dict(type="MinArea", min_area_px=2),
        dict(type="MaxArea", max_area_px=9),
        dict(type="MaxPerImage", max_per_image=1),
    ]
    assert len(build_pipeline(steps, CLASSES)(prediction([]))) == 0
    # Nor does it matter whether there is no instance at all, or one without a pixel.
    empty = replace(prediction([0.9]), masks=Runs.from_strings([""], 1, 1, order="row"))
    assert len(build_pipeline(steps, CLASSES)(empty)) == 0


def test_everything_of_an_instance_is_kept_together() -> None:
    given = prediction([0.1, 0.8, 0.9], [0, 1, 0])
    kept = build_pipeline([dict(type="ScoreThreshold", score_thr=0.5)], CLASSES)(given)
    assert kept.scores == pytest.approx([0.8, 0.9])
    assert kept.labels.tolist() == [1, 0]
    assert kept.boxes.tolist() == given.boxes[1:].tolist()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (dict(type="Nonsense"), "MaxPerImage, MinArea, RemoveOverlaps, Rescore, ScoreThreshold"),
        (dict(score_thr=1), r"postprocess\[1\]: expected dict\(type=..., ...\)"),
        (dict(type="MinArea", area=3), "no parameter 'area'; allowed are min_area_px"),
        (dict(type="MinArea", classes=3, min_area_px=3), "no parameter 'classes'"),
        (dict(type="MinArea"), "needs the parameter 'min_area_px'"),
        (dict(type="MinArea", min_area_px=1.5), "min_area_px=1.5: must be an integer"),
        (dict(type="ScoreThreshold", score_thr=True), "score_thr=True: must be a number from 0 to"),
        (dict(type="ScoreThreshold", score_thr="0.5"), "score_thr='0.5'"),
        (dict(type="ScoreThreshold", score_thr=1.5), "score_thr=1.5"),
        (dict(type="ScoreThreshold", score_thr=dict(astro=0.5)), r"found \['astro'\]"),
        (
            dict(type="ScoreThreshold", score_thr=dict(astro=0.5, cort=-1)),
            r"score_thr\['cort'\]=-1",
        ),
        (dict(type="MaxPerImage", max_per_image=0), "of at least 1"),
        (dict(type="RemoveOverlaps", min_kept_fraction=2), "from 0 to 1"),
        (dict(type="RemoveOverlaps", give_to="all"), "give_to='all': must be one of 'score', 'sm"),
        (dict(type="MaskNMS", overlap_thr=0.5, measure="giou"), "one of 'iou', 'ios'"),
        (dict(type="MaxArea", max_area_px=0), "of at least 1"),
        (dict(type="Smooth", radius_px=0.5), "must be an integer from 0 to 50"),
        (dict(type="Smooth", radius_px=1, method="blur"), "'median', 'opening', 'closing'"),
    ],
)
def test_a_wrong_step_is_an_error(step: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_pipeline([dict(type="MinArea", min_area_px=1), step], CLASSES)
    assert str(caught.value).startswith("postprocess[1]")


def test_values_per_class_need_the_classes() -> None:
    with pytest.raises(ConfigError, match="class names are not known"):
        build_pipeline([dict(type="MinArea", min_area_px=dict(astro=1))])


def test_predictions_of_other_classes_are_an_error() -> None:
    with pytest.raises(
        ConfigError, match=r"a: labels from 0 to 2 .* 2 classes \('astro', 'cort'\)"
    ):
        build_pipeline([], CLASSES)(prediction([0.5, 0.5], [0, 2]))


def test_a_list_without_overlap_removal_gets_one() -> None:
    assert build_pipeline([]).adds_overlap_removal
    with_removal = build_pipeline(
        [dict(type="RemoveOverlaps"), dict(type="MinArea", min_area_px=1)]
    )
    assert not with_removal.adds_overlap_removal
    assert len(with_removal.steps) == 2


@pytest.mark.parametrize(
    ("last", "is_added"),
    [
        (dict(type="LargestComponent"), False),
        (dict(type="Smooth", radius_px=1, method="opening"), False),
        (dict(type="Smooth", radius_px=1, method="closing"), True),
        (dict(type="FillHoles"), True),
    ],
    ids=lambda value: value.get("method", value["type"]) if isinstance(value, dict) else "",
)
def test_overlaps_are_removed_after_what_makes_masks_grow(
    last: dict[str, Any], is_added: bool
) -> None:
    pipeline = build_pipeline([dict(type="RemoveOverlaps"), last])
    assert pipeline.adds_overlap_removal == is_added
    assert len(pipeline.steps) == 2 + is_added


def test_a_cell_in_the_hole_of_another_keeps_its_pixels_or_goes() -> None:
    ring = np.ones((5, 5), dtype=int)
    ring[2, 2] = 2
    masks = Runs.from_label_map(ring)
    given = replace(prediction([0.9, 0.8]), height=5, width=5, masks=masks)
    result = build_pipeline([dict(type="RemoveOverlaps"), dict(type="FillHoles")])(given)
    assert result.masks.areas.tolist() == [25]


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="there is a post-processing step 'MinArea' already"):
        STEPS.register("MinArea")
