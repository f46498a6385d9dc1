from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.synthetic import (
    CELL_TYPES,
    MIN_AREA_PX,
    dataset,
    generate_image,
    write_dataset,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "dataset_converters" / "synthetic.py"
HEIGHT, WIDTH = 96, 128


def generate(
    cell_type: str, seed: int = 0, height: int = HEIGHT, width: int = WIDTH, cells: int = 10
):
    return generate_image(cell_type, height, width, cells, np.random.default_rng(seed))


def write(out_dir: Path, num_train: int = 6, num_test: int = 3, **options):
    options = {"height": HEIGHT, "width": WIDTH, "workers": 1, **options}
    return write_dataset(out_dir, num_train, num_test, **options)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "data"
    write(folder)
    return folder


# ---------------------------------------------------------------- one image


@pytest.mark.parametrize("cell_type", CELL_TYPES)
@pytest.mark.parametrize("seed", range(4))
def test_each_label_is_one_component_of_the_minimum_area(cell_type: str, seed: int) -> None:
    # Crowded on purpose: cells cover and cut each other.
    image, label_map = generate(cell_type, seed, cells=40)
    assert image.shape == label_map.shape == (HEIGHT, WIDTH)
    assert (image.dtype, label_map.dtype) == (np.uint8, np.uint16)
    labels, areas = np.unique(label_map[label_map > 0], return_counts=True)
    np.testing.assert_array_equal(labels, np.arange(1, len(labels) + 1))
    assert len(labels) >= 5
    assert areas.min() >= MIN_AREA_PX
    for label in labels:
        count, _ = cv2.connectedComponents((label_map == label).astype(np.uint8), connectivity=4)
        assert count == 2, f"cell {label} is in {count - 1} pieces"  # the background is one


@pytest.mark.parametrize("cell_type", CELL_TYPES)
def test_image_holds_as_many_cells_as_asked_where_there_is_room(cell_type: str) -> None:
    assert generate(cell_type, height=260, width=352, cells=8)[1].max() == 8


@pytest.mark.parametrize("cell_type", CELL_TYPES)
def test_smallest_image_holds_a_cell(cell_type: str) -> None:
    assert all(generate(cell_type, seed, 32, 32, cells=1)[1].max() == 1 for seed in range(20))


def test_image_without_cells() -> None:
    image, label_map = generate("astro", cells=0)
    assert not label_map.any()
    assert image.mean() == pytest.approx(128, abs=1)


def test_same_generator_state_same_image() -> None:
    first, again, other = (generate("shsy5y", seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()
    assert (first[1] != other[1]).any()


def moments(label_map: np.ndarray) -> np.ndarray:
    """(N, 2): area and eccentricity of the cells that do not touch the border."""
    rows = []
    for label in range(1, int(label_map.max()) + 1):
        y, x = np.nonzero(label_map == label)
        if 0 in y or 0 in x or label_map.shape[0] - 1 in y or label_map.shape[1] - 1 in x:
            continue
        minor, major = np.linalg.eigvalsh(np.cov(x, y) + np.eye(2) / 12)
        rows.append((len(y), np.sqrt(1 - minor / major)))
    return np.array(rows)


def test_cell_types_differ_in_size_and_elongation_as_the_real_ones_do() -> None:
    area, eccentricity = {}, {}
    for cell_type, cells in {"shsy5y": 60, "astro": 25, "cort": 30}.items():
        maps = (generate(cell_type, seed, 260, 352, cells)[1] for seed in range(3))
        measured = np.vstack([moments(label_map) for label_map in maps])
        area[cell_type], eccentricity[cell_type] = np.median(measured, axis=0)
    # Medians of the real images: 185, 712 and 212 pixels; 0.84, 0.95 and 0.70.
    assert 140 < area["shsy5y"] < 260
    assert 450 < area["astro"] < 1000
    assert 160 < area["cort"] < 280
    assert eccentricity["cort"] < 0.75 < eccentricity["shsy5y"]
    assert eccentricity["astro"] > 0.8


@pytest.mark.parametrize("cell_type", CELL_TYPES)
def test_cells_have_a_dark_rim_and_a_bright_halo(cell_type: str) -> None:
    image, label_map = generate(cell_type, height=260, width=352, cells=30)
    cell = (label_map > 0).astype(np.uint8)
    inside = cv2.distanceTransform(cell, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - cell, cv2.DIST_L2, 5)
    rim = image[(inside > 2.5) & (inside < 5.5)].mean()  # annotators draw on the halo
    halo = image[(outside == 1) | (inside == 1)].mean()
    far = image[outside > 12]
    assert rim < far.mean() - 3
    assert halo > far.mean() + 1
    assert far.mean() == pytest.approx(128, abs=1)
    assert image[label_map > 0].std() > 1.5 * far.std()


def test_crowded_cells_touch() -> None:
    label_map = generate("shsy5y", height=260, width=352, cells=100)[1]
    left, right = label_map[:, :-1], label_map[:, 1:]
    touching = (left != right) & (left > 0) & (right > 0)
    assert len(np.unique(left[touching])) > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hela", 96, 128, 5), "unknown cell type 'hela'.*shsy5y, astro, cort"),
        (("cort", 31, 128, 5), "31 x 128.*at least 32"),
        (("cort", 96, 0, 5), "96 x 0.*at least 32"),
        (("cort", 96, 128, -1), "num_cells is -1.*from 0 to 65535"),
        (("cort", 96, 128, 65536), "num_cells is 65536"),
    ],
)
def test_generate_image_refuses(arguments: tuple, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        generate_image(*arguments, np.random.default_rng(0))


# ---------------------------------------------------------------- a data set


def test_layout(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == {
        "train",
        "test",
        "masks_npz",
        "train.csv",
        "test.csv",
    }
    for split, count in {"train": 6, "test": 3}.items():
        rows = read_rows(written / f"{split}.csv")
        assert list(rows[0]) == [
            "id",
            "annotation",
            "width",
            "height",
            "cell_type",
            "plate_time",
            "sample_date",
            "sample_id",
            "elapsed_timedelta",
        ]
        ids = {row["id"] for row in rows}
        assert ids == {path.stem for path in (written / split).iterdir()}
        assert len(ids) == count
        assert all(re.fullmatch("[0-9a-f]{12}", image_id) for image_id in ids)
        assert {row["cell_type"] for row in rows} == set(CELL_TYPES)
        for image_id in ids:
            image = cv2.imread(str(written / split / f"{image_id}.png"), cv2.IMREAD_UNCHANGED)
            assert (image.shape, image.dtype) == ((HEIGHT, WIDTH), np.uint8)


def test_strings_are_the_label_maps(written: Path) -> None:
    rows = read_rows(written / "train.csv")
    maps = {path.stem: path for path in (written / "masks_npz").iterdir()}
    for image_id, group in groupby(rows, key=lambda row: row["id"]):
        with np.load(maps.pop(image_id)) as archive:
            label_map = archive["arr_0"]
        assert label_map.dtype == np.uint16
        texts = [row["annotation"] for row in group]
        runs = Runs.from_strings(texts, HEIGHT, WIDTH, order="row")
        np.testing.assert_array_equal(runs.to_label_map(), label_map)
    assert not maps


def test_same_seed_same_bytes_for_any_number_of_processes(written: Path, tmp_path: Path) -> None:
    write(tmp_path / "parallel", workers=2)
    assert contents(tmp_path / "parallel") == contents(written)


def test_other_seed_other_images(written: Path, tmp_path: Path) -> None:
    write(tmp_path / "other", seed=1)
    assert not set(contents(written)) & set(contents(tmp_path / "other")) - {
        "train.csv",
        "test.csv",
    }


def test_first_images_do_not_depend_on_how_many_follow(written: Path, tmp_path: Path) -> None:
    write(tmp_path / "fewer", num_train=2, num_test=1)
    whole, fewer = contents(written), contents(tmp_path / "fewer")
    for name in ("train.csv", "test.csv"):
        assert whole.pop(name).startswith(fewer.pop(name))
    assert fewer.items() <= whole.items()


def test_samples_are_shared_within_a_split_only(tmp_path: Path) -> None:
    write(tmp_path / "data", num_train=4, num_test=2, cell_types=["cort"])
    sample_of = {
        split: {
            row["id"]: row["sample_id"] for row in read_rows(tmp_path / "data" / f"{split}.csv")
        }
        for split in ("train", "test")
    }
    train, test = (sorted(samples.values()) for samples in sample_of.values())
    assert train[0] == train[1] != train[2] == train[3]
    assert test[0] == test[1] not in train
    assert re.fullmatch(r"cort\[pre-treat\]_[A-H]\d+-\d_Vessel-\d{3}_Ph_\d", test[0])


def test_metadata_may_be_blank(tmp_path: Path) -> None:
    write(tmp_path / "data", num_train=2, num_test=0, blank_metadata=True)
    for row in read_rows(tmp_path / "data" / "train.csv"):
        assert not any(
            row[name] for name in ("plate_time", "sample_date", "sample_id", "elapsed_timedelta")
        )


def test_density_scales_the_number_of_cells(tmp_path: Path) -> None:
    options = {"num_train": 3, "num_test": 0, "cell_types": ["shsy5y"], "height": 128}
    sparse = write(tmp_path / "sparse", density=0.5, **options)
    dense = write(tmp_path / "dense", density=2.0, **options)
    assert dense.num_cells > 2 * sparse.num_cells
    assert sparse.num_cells == len(read_rows(tmp_path / "sparse" / "train.csv"))


def test_overwrite_replaces_a_data_set_and_nothing_else(tmp_path: Path) -> None:
    out_dir = tmp_path / "data"
    out_dir.mkdir()
    write(out_dir, num_train=1, num_test=0)  # an empty folder is as good as none
    before = contents(out_dir)
    with pytest.raises(FileExistsError, match="not empty"):
        write(out_dir, num_train=1, num_test=0, seed=1)
    assert contents(out_dir) == before
    write(out_dir, num_train=1, num_test=0, seed=1, overwrite=True)
    assert len(contents(out_dir)) == len(before)
    assert contents(out_dir) != before

    (out_dir / "thesis.tex").write_text("all there is")
    with pytest.raises(FileExistsError, match=r"'thesis.tex'.*no part of a synthetic data set"):
        write(out_dir, num_train=1, num_test=0, overwrite=True)
    assert (out_dir / "thesis.tex").exists()
    with pytest.raises(FileExistsError, match="is a file"):
        write(out_dir / "thesis.tex", overwrite=True)


def test_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "data", num_train=1, num_test=0)
    before = contents(tmp_path)
    made = []

    def fail_on_third(*arguments: object):
        made.append(arguments)
        if len(made) == 3:
            raise MemoryError
        return generate_image(*arguments)

    monkeypatch.setattr(dataset, "generate_image", fail_on_third)
    with pytest.raises(MemoryError):
        write(tmp_path / "data", overwrite=True)
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_train": 0, "num_test": 0}, "num_train is 0 and num_test is 0"),
        ({"num_train": -1}, "num_train is -1.*negative"),
        ({"seed": -1}, "seed is -1"),
        ({"density": 0}, "density is 0"),
        ({"density": float("nan")}, "density is nan"),
        ({"height": 16}, "16 x 128"),
        ({"cell_types": []}, "name at least one"),
        ({"cell_types": ["cort", "cort"]}, "each once"),
        ({"cell_types": ["cort", "hela"]}, "unknown cell type 'hela'"),
    ],
)
def test_write_dataset_refuses(options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        write(tmp_path / "data", **options)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- the command line


def run_tool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_tool_writes_and_says_what_where(written: Path, tmp_path: Path) -> None:
    size = ("--num-train", 6, "--num-test", 3, "--height", HEIGHT, "--width", WIDTH, "--workers", 1)
    done = run_tool("--out-dir", tmp_path / "data", *size)
    assert done.returncode == 0, done.stderr
    cells = sum(len(read_rows(written / f"{split}.csv")) for split in ("train", "test"))
    assert done.stdout.splitlines()[-1] == (
        f"6 training and 3 test images with {cells} cells written to {tmp_path / 'data'}"
    )
    assert contents(tmp_path / "data") == contents(written)

    again = run_tool("--out-dir", tmp_path / "data", *size)
    assert again.returncode == 1
    assert again.stderr.startswith("error: ")
    assert "not empty" in again.stderr


def test_needs_no_deep_learning_stack() -> None:
    code = (
        "import sys; import cellseg_mmdet.synthetic;"
        "sys.exit(sorted({'torch', 'mmcv', 'mmengine', 'mmdet'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
