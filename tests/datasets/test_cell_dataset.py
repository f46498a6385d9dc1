from __future__ import annotations

import json
import pickle

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope
from pycocotools import mask as coco_mask

import cellseg_mmdet.datasets  # noqa: F401  registers CellDataset
from cellseg_mmdet.errors import CellsegError, DataError, UsageError

HEIGHT, WIDTH = 20, 30
CLASSES = ("astro", "cort", "shsy5y")
LOAD_MASKS = [
    {"type": "LoadCellImage"},
    {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True, "poly2mask": True},
    {"type": "PackDetInputs", "meta_keys": ("img_id", "cell_type")},
]


def rectangle(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[y1:y2, x1:x2] = 1
    return mask


# Two images with cells of two types; the third class of the competition is in the file but not on the images.
CELLS = {
    "a.png": ("cort", [(2, 3, 7, 9), (10, 0, 30, 5)]),
    "b.png": ("shsy5y", [(0, 0, 1, 1)]),
}


def coco_file(cells=CELLS) -> dict:
    images, annotations = [], []
    for number, (name, (cell_type, boxes)) in enumerate(cells.items(), start=1):
        images.append(
            {
                "id": number,
                "file_name": name,
                "height": HEIGHT,
                "width": WIDTH,
                "cell_type": cell_type,
            }
        )
        for x1, y1, x2, y2 in boxes:
            rle = coco_mask.encode(rectangle(x1, y1, x2, y2))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": CLASSES.index(cell_type) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    "iscrowd": 0,
                }
            )
    categories = [{"id": label, "name": name} for label, name in enumerate(CLASSES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def mmdet_file() -> dict:
    data_list = []
    for number, (name, (cell_type, boxes)) in enumerate(CELLS.items(), start=1):
        instances = [
            {
                "bbox": list(box),
                "bbox_label": CLASSES.index(cell_type),
                "mask": coco_mask.encode(rectangle(*box)),  # counts are bytes
                "ignore_flag": 0,
            }
            for box in boxes
        ]
        data_list.append(
            {
                "img_path": name,
                "img_id": number,
                "height": HEIGHT,
                "width": WIDTH,
                "cell_type": cell_type,
                "group": None,
                "instances": instances,
            }
        )
    return {"metainfo": {"classes": CLASSES}, "data_list": data_list}


@pytest.fixture(scope="module", autouse=True)
def mmdet_scope():
    init_default_scope("mmdet")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "train").mkdir()
    for name in CELLS:
        cv2.imwrite(str(tmp_path / "train" / name), np.full((HEIGHT, WIDTH), 128, np.uint8))
    (tmp_path / "coco.json").write_text(json.dumps(coco_file()))
    (tmp_path / "mmdet.pkl").write_bytes(pickle.dumps(mmdet_file()))
    return tmp_path


def build(root, **options):
    settings = {
        "type": "CellDataset",
        "data_root": str(root),
        "ann_file": "coco.json",
        "data_prefix": {"img": "train/"},
        "metainfo": {"classes": CLASSES},
        "pipeline": LOAD_MASKS,
    }
    return DATASETS.build({**settings, **options})


def edit_coco(root, change):
    content = coco_file()
    change(content)
    (root / "coco.json").write_text(json.dumps(content))


@pytest.mark.parametrize("ann_file", ["coco.json", "mmdet.pkl"])
def test_both_formats_give_the_drawn_cells(root, ann_file):
    dataset = build(root, ann_file=ann_file)
    assert len(dataset) == 2
    for item, (cell_type, boxes) in zip(dataset, CELLS.values(), strict=True):
        sample = item["data_samples"]
        cells = sample.gt_instances
        assert sample.cell_type == cell_type
        assert item["inputs"].shape == (3, HEIGHT, WIDTH)
        assert cells.bboxes.tensor.tolist() == [list(map(float, box)) for box in boxes]
        assert cells.labels.tolist() == [CLASSES.index(cell_type)] * len(boxes)
        np.testing.assert_array_equal(cells.masks.masks, [rectangle(*box) for box in boxes])
        assert len(sample.ignored_instances) == 0


def test_both_formats_give_the_same_data_info(root):
    coco, mmdet = build(root), build(root, ann_file="mmdet.pkl")
    for number in range(2):
        first, second = coco.get_data_info(number), mmdet.get_data_info(number)
        assert first == second


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param(lambda mask: coco_mask.encode(mask)["counts"].decode(), id="compressed"),
        pytest.param(lambda mask: [0, 1, HEIGHT * WIDTH - 1], id="uncompressed"),
    ],
)
def test_reads_rle_of_either_kind(root, counts):
    mask = rectangle(0, 0, 1, 1)

    def change(content):
        content["annotations"][2]["segmentation"] = {
            "size": [HEIGHT, WIDTH],
            "counts": counts(mask),
        }

    edit_coco(root, change)
    np.testing.assert_array_equal(build(root)[1]["data_samples"].gt_instances.masks.masks, [mask])


@pytest.mark.parametrize("poly2mask", [True, False])
def test_reads_polygons(root, poly2mask):
    def change(content):
        for annotation, polygon in zip(
            content["annotations"],
            [[2, 3, 7, 3, 7, 9, 2, 9], [10, 0, 30, 0, 30, 5, 10, 5], [0, 0, 1, 0, 1, 1, 0, 1]],
            strict=True,
        ):
            annotation["segmentation"] = [polygon]

    edit_coco(root, change)
    load = {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True, "poly2mask": poly2mask}
    masks = build(root, pipeline=[LOAD_MASKS[0], load, LOAD_MASKS[2]])[0][
        "data_samples"
    ].gt_instances.masks
    assert masks.areas.tolist() == [30, 100]


@pytest.mark.parametrize("ann_file", ["coco.json", "mmdet.pkl"])
@pytest.mark.parametrize("poly2mask", [True, False])
def test_our_loader_reads_both_formats_whatever_poly2mask(root, ann_file, poly2mask):
    load = {"type": "LoadRoIAnnotations", "with_mask": True, "poly2mask": poly2mask}
    dataset = build(root, ann_file=ann_file, pipeline=[LOAD_MASKS[0], load, LOAD_MASKS[2]])
    for item, (_, boxes) in zip(dataset, CELLS.values(), strict=True):
        cells = item["data_samples"].gt_instances
        np.testing.assert_array_equal(cells.masks.to_ndarray(), [rectangle(*box) for box in boxes])


def test_our_loader_needs_masks_too(root):
    edit_coco(root, lambda content: content["annotations"][2].pop("segmentation"))
    with pytest.raises(DataError, match=r"annotation 3 of b\.png: has no mask"):
        build(root, pipeline=[LOAD_MASKS[0], {"type": "LoadRoIAnnotations", "with_mask": True}])


def test_the_configs_class_order_decides_the_labels(root):
    dataset = build(root, metainfo={"classes": ("shsy5y", "astro", "cort")})
    assert [dataset.get_cat_ids(number) for number in range(2)] == [[2, 2], [0]]


def test_takes_the_classes_of_the_file_where_the_config_names_none(root):
    assert build(root, metainfo=None).metainfo["classes"] == CLASSES


@pytest.mark.parametrize("metainfo", [None, {"classes": ("cell",)}])
def test_single_class_makes_all_cells_one_class(root, metainfo):
    dataset = build(root, metainfo=metainfo, single_class="cell")
    assert dataset.metainfo["classes"] == ("cell",)
    assert [dataset.get_cat_ids(number) for number in range(2)] == [[0, 0], [0]]


def test_lazy_init_reads_nothing_until_asked(root):
    dataset = build(root, ann_file="missing.json", lazy_init=True)
    with pytest.raises(FileNotFoundError, match=r"missing\.json.*cellseg convert"):
        dataset.full_init()


def test_crowds_are_ignored_and_empty_boxes_left_out(root):
    def change(content):
        content["annotations"][0]["iscrowd"] = 1
        content["annotations"][1]["bbox"] = [10, 0, 0, 5]

    edit_coco(root, change)
    sample = build(root)[0]["data_samples"]
    assert len(sample.gt_instances) == 0
    assert sample.ignored_instances.bboxes.tensor.tolist() == [[2, 3, 7, 9]]


def test_training_filters_and_testing_does_not(root):
    def change(content):
        content["annotations"] = content["annotations"][:2]

    edit_coco(root, change)
    rules = {"filter_empty_gt": True, "min_size": HEIGHT}
    assert [len(build(root, filter_cfg=rules, test_mode=test)) for test in (False, True)] == [1, 2]


class TestRefusesAtStart:
    @pytest.mark.parametrize("classes", [("cell",), ("astro", "cort"), (*CLASSES, "neuron")])
    @pytest.mark.parametrize("ann_file", ["coco.json", "mmdet.pkl"])
    def test_other_classes(self, root, classes, ann_file):
        with pytest.raises(
            UsageError, match=r"'astro', 'cort', 'shsy5y'.*num_classes=3.*single_class='cell'"
        ):
            build(root, metainfo={"classes": classes}, ann_file=ann_file)

    def test_classes_beside_a_single_class(self, root):
        with pytest.raises(UsageError, match=r"classes=\('cell',\)"):
            build(root, single_class="cell")

    def test_missing_images(self, root):
        (root / "train" / "b.png").unlink()
        with pytest.raises(FileNotFoundError, match=r"^1 of 2 images.*train/b\.png.*data_prefix"):
            build(root)

    def test_many_missing_images_naming_the_first_three(self, root):
        (root / "coco.json").write_text(
            json.dumps(coco_file({f"{n}.png": ("cort", []) for n in range(9)}))
        )
        with pytest.raises(FileNotFoundError, match=r"^9 of 9 images.*2\.png, \.\.\.") as error:
            build(root)
        assert "3.png" not in str(error.value)

    def test_a_missing_image_folder(self, root):
        with pytest.raises(FileNotFoundError, match=r"^2 of 2 images"):
            build(root, data_prefix={"img": "nowhere/"})

    def test_no_instances_left(self, root):
        with pytest.raises(
            UsageError, match=r"no instance is left.*2 images 0 passed.*'min_size': 21"
        ):
            build(root, filter_cfg={"min_size": HEIGHT + 1})

    def test_nothing_but_ignored_instances(self, root):
        edit_coco(root, lambda content: [a.update(iscrowd=1) for a in content["annotations"]])
        with pytest.raises(UsageError, match="no instance is left"):
            build(root)

    def test_rle_where_the_pipeline_takes_polygons_only(self, root):
        polygons = [LOAD_MASKS[0], {**LOAD_MASKS[1], "poly2mask": False}, LOAD_MASKS[2]]
        with pytest.raises(UsageError, match=r"a\.png.*LoadRoIAnnotations, or set poly2mask=True"):
            build(root, pipeline=polygons)

    def test_instances_without_masks(self, root):
        edit_coco(root, lambda content: content["annotations"][2].pop("segmentation"))
        with pytest.raises(DataError, match=r"annotation 3 of b\.png: has no mask"):
            build(root)
        assert len(build(root, pipeline=[])) == 2

    def test_masks_of_another_size(self, root):
        edit_coco(root, lambda content: content["images"][0].update(height=WIDTH, width=HEIGHT))
        with pytest.raises(
            DataError, match=r"a\.png: its mask: RLE size \[20, 30\] differs from \[30, 20\]"
        ):
            build(root)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            pytest.param(
                "x.csv", b"", r"x\.csv: annotation files end with \.json", id="another suffix"
            ),
            pytest.param("x.json", b"{", r"x\.json is not valid JSON", id="damaged json"),
            pytest.param("x.json", b"[]", "no 'images'", id="json that is not COCO"),
            pytest.param(
                "x.json", json.dumps(coco_file({})).encode(), "holds no image", id="no images"
            ),
            pytest.param("x.pkl", pickle.dumps([]), "mmdet 2.x.*--from-v2", id="mmdet 2.x"),
            pytest.param(
                "x.pkl",
                pickle.dumps({"data_list": []}),
                "not mmdet 3.x",
                id="pickle without metainfo",
            ),
            pytest.param(
                "x.pkl",
                pickle.dumps(print),
                "holds a builtins.print",
                id="pickle that would run code",
            ),
        ],
    )
    def test_files_it_cannot_read(self, root, name, content, message):
        (root / name).write_bytes(content)
        with pytest.raises(CellsegError, match=message):
            build(root, ann_file=name)

    @pytest.mark.parametrize(
        ("key", "message"), [("image_id", "image_id is 7"), ("category_id", "category_id is 7")]
    )
    def test_annotations_of_nothing(self, root, key, message):
        edit_coco(root, lambda content: content["annotations"][1].update({key: 7}))
        with pytest.raises(DataError, match=rf"annotation 2: {message}"):
            build(root)

    def test_labels_without_a_class(self, root):
        content = mmdet_file()
        content["data_list"][1]["instances"][0]["bbox_label"] = 3
        (root / "mmdet.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match=r"b\.png.*bbox_label 3, allowed are 0 to 2"):
            build(root, ann_file="mmdet.pkl")

    def test_training_without_annotations(self, root):
        with pytest.raises(UsageError, match="ann_file to train"):
            build(root, ann_file="")


def test_mmdets_coco_metric_scores_its_own_cells_perfectly(root):
    import torch
    from mmdet.registry import METRICS

    dataset = build(root, test_mode=True)
    metric = METRICS.build(
        {"type": "CocoMetric", "ann_file": str(root / "coco.json"), "metric": "segm"}
    )
    metric.dataset_meta = dataset.metainfo
    for number in range(len(dataset)):
        cells = dataset[number]["data_samples"].gt_instances
        prediction = {
            "bboxes": cells.bboxes.tensor,
            "labels": cells.labels,
            "scores": torch.ones(len(cells)),
            "masks": [coco_mask.encode(np.asfortranarray(mask)) for mask in cells.masks.masks],
        }
        metric.process(
            {},
            [
                {
                    "img_id": number + 1,
                    "ori_shape": (HEIGHT, WIDTH),
                    "pred_instances": prediction,
                    "gt_instances": {},
                }
            ],
        )
    assert metric.evaluate(size=len(dataset))["coco/segm_mAP"] == 1.0
