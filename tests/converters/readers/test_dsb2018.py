"""The 2018 Data Science Bowl from folders, archives and solution files, and what happens to masks that are wrong."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from cellseg_mmdet.annotations.files import read_annotations
from cellseg_mmdet.converters.cleaning import Cleaning
from cellseg_mmdet.converters.readers.dsb2018 import read_dsb2018
from cellseg_mmdet.converters.rejects import DataSetError
from cellseg_mmdet.errors import DataError

TOOL = Path(__file__).parents[3] / "tools/dataset_converters/dsb2018.py"
HEIGHT, WIDTH = 8, 10
DARK, VIOLET = (9, 9, 9, 255), (200, 150, 170, 255)  # BGRA


def square(y1: int, x1: int, y2: int, x2: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y1:y2, x1:x2] = 255
    return mask


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def add_image(root: Path, image_id: str, *masks: np.ndarray, color: tuple[int, ...] = DARK) -> None:
    """Add an image in BGRA, and its masks 0.png, 1.png, ..."""
    image = np.full((HEIGHT, WIDTH, len(color)), color, np.uint8)
    write(root / image_id / "images" / f"{image_id}.png", image)
    for number, mask in enumerate(masks):
        write(root / image_id / "masks" / f"{number}.png", mask)


def write_solution(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["ImageId,EncodedPixels,Height,Width,Usage", *rows, ""]))
    return path


def run_tool(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images: a in fluorescence with two nuclei, b stained with one."""
    folder = tmp_path / "stage1_train"
    add_image(folder, "a", square(0, 0, 2, 3), square(4, 4, 8, 10))
    add_image(folder, "b", square(1, 1, 3, 3), color=VIOLET)
    return folder


def test_folders_are_read(root: Path) -> None:
    a, b = read_dsb2018(root).records
    assert (a.file_name, a.height, a.width) == ("a/images/a.png", HEIGHT, WIDTH)
    assert a.masks.boxes.tolist() == [[0, 0, 3, 2], [4, 4, 10, 8]]
    assert a.categories == ("nucleus", "nucleus")
    assert (a.cell_type, b.cell_type) == ("fluorescence", "stained")


@pytest.mark.parametrize(
    "image",
    [
        np.full((HEIGHT, WIDTH), 230, np.uint8),
        np.full((HEIGHT, WIDTH), 60_000, np.uint16),
        np.full((HEIGHT, WIDTH, 3), 230, np.uint8),
        np.full((HEIGHT, WIDTH, 4), 230, np.uint8),
    ],
    ids=["gray", "gray of 16 bits", "RGB", "RGBA"],
)
def test_images_of_every_kind(root: Path, image: np.ndarray) -> None:
    write(root / "b/images/b.png", image)
    _, b = read_dsb2018(root).records
    assert (b.cell_type, b.height, b.width) == ("brightfield", HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "mask",
    [
        square(1, 1, 3, 3) // 255,
        square(1, 1, 3, 3).astype(np.uint16),
        np.dstack([square(1, 1, 3, 3)] * 3 + [np.full((HEIGHT, WIDTH), 255, np.uint8)]),
    ],
    ids=["0 and 1", "16 bits", "RGBA"],
)
def test_masks_of_every_kind(root: Path, mask: np.ndarray) -> None:
    write(root / "b/masks/0.png", mask)
    assert read_dsb2018(root).records[1].masks.boxes.tolist() == [[1, 1, 3, 3]]


@pytest.mark.parametrize("prefix", ["", "stage1_train/"])
def test_an_archive_is_read_in_place_and_its_images_are_unpacked(
    root: Path, tmp_path: Path, prefix: str
) -> None:
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__MACOSX/a/images/._a.png", b"")
        for path in sorted(root.rglob("*.png")):
            file.write(path, prefix + path.relative_to(root).as_posix())
    result = run_tool("--root", archive, "--out-dir", tmp_path / "out", "--folds", 2)
    assert result.returncode == 0, result.stderr
    assert "2 images (1 fluorescence, 1 stained), 3 cells (3 nucleus)" in result.stdout
    records = read_annotations(tmp_path / "out/all.json")
    for record, expected in zip(records, read_dsb2018(root).records, strict=True):
        assert record.masks == expected.masks
        assert record.file_name == expected.file_name
        unpacked = tmp_path / "packed" / record.file_name
        assert unpacked.read_bytes() == (root / record.file_name).read_bytes()
    assert not list((tmp_path / "packed").rglob("masks"))


def test_what_macos_leaves_behind_is_not_read(root: Path) -> None:
    for name in ("._a.png", "__MACOSX/a/images/a.png", "__MACOSX/a/masks/._0.png"):
        path = root.parent / "stage1_train" / "a/images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    assert len(read_dsb2018(root.parent).records) == 2


def test_a_damaged_file_in_an_archive_is_named(root: Path, tmp_path: Path) -> None:
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(root.rglob("*.png")):
            file.write(path, path.relative_to(root).as_posix())
        begin = file.getinfo("a/masks/0.png").header_offset + 60
    content = bytearray(archive.read_bytes())
    content[begin] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DataSetError) as error:
        read_dsb2018(archive)
    [reject] = error.value.rejected
    assert reject.source == str(archive / "a/masks/0.png")
    assert "a/masks/0.png cannot be read: Bad CRC-32" in reject.cause


def test_images_of_an_archive_go_where_they_are_wanted(root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as file:
        for path in root.rglob("*.png"):
            file.write(path, path.relative_to(root).as_posix())
    arguments = ["--root", tmp_path / "packed.zip", "--images-dir", tmp_path / "images"]
    assert run_tool(*arguments, "--out-dir", tmp_path / "out", "--folds", 0).returncode == 0
    assert (tmp_path / "images/a/images/a.png").is_file()
    assert not (tmp_path / "packed").exists()


def test_overlaps_and_pieces_are_kept_and_named(root: Path, tmp_path: Path) -> None:
    two_pieces = square(0, 0, 2, 2) | square(5, 5, 6, 8)
    add_image(root, "c", two_pieces, square(1, 1, 4, 4), square(1, 1, 4, 4))
    result = run_tool("--root", root, "--out-dir", tmp_path, "--folds", 0)
    assert result.returncode == 0, result.stderr
    assert "4 findings (3 overlap, 1 several pieces)" in result.stdout
    with (tmp_path / "findings.csv").open(newline="") as file:
        findings = [tuple(row.values()) for row in csv.DictReader(file)]
    masks = [str(root / f"c/masks/{number}.png") for number in range(3)]
    assert findings == [
        (masks[1], "c", "overlap", f"shares 1 pixel with {masks[0]}"),
        (masks[2], "c", "overlap", f"shares 1 pixel with {masks[0]}"),
        (masks[2], "c", "overlap", f"shares 9 pixels with {masks[1]}"),
        (masks[0], "c", "several pieces", "2 pieces of 4, 3 pixels"),
    ]
    assert len(read_annotations(tmp_path / "all.json")[2].masks) == 3


def bad_root(root: Path) -> dict[str, str]:
    """Put every fault below the root; return the path that is named, and a part of its cause."""
    write(root / "a/masks/2.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    write(root / "a/masks/3.png", np.ones((4, 5), np.uint8))
    (root / "a/masks/4.png").write_bytes(b"no image")
    add_image(root, "bare")
    add_image(root, "renamed", square(0, 0, 1, 1))
    (root / "renamed/images/renamed.png").rename(root / "renamed/images/image.png")
    add_image(root, "fractions", square(0, 0, 1, 1))
    (root / "fractions/images/fractions.png").unlink()
    tifffile.imwrite(root / "fractions/images/fractions.tif", np.zeros((HEIGHT, WIDTH), complex))
    add_image(root, "two", square(0, 0, 1, 1))
    write(root / "two/images/other.png", square(0, 0, 1, 1))
    write(root / "lost/masks/0.png", square(0, 0, 1, 1))
    return {
        "a/masks/2.png": "no pixel",
        "a/masks/3.png": "mask of 4 x 5 pixels for an image of 8 x 10",
        "a/masks/4.png": "no format that is read",
        "bare": "no mask in its folder masks",
        "fractions": "samples of this type are no gray values",
        "lost": "found []",
        "renamed": "found ['renamed/images/image.png']",
        "two": "found ['two/images/other.png', 'two/images/two.png']",
    }


def test_every_fault_is_named(root: Path) -> None:
    faults = bad_root(root)
    with pytest.raises(DataSetError) as error:
        read_dsb2018(root)
    assert [reject.source for reject in error.value.rejected] == [str(root / p) for p in faults]
    for reject, cause in zip(error.value.rejected, faults.values(), strict=True):
        assert cause in reject.cause


def test_skipping_leaves_them_out(root: Path) -> None:
    faults = bad_root(root)
    converted = read_dsb2018(root, on_error="skip")
    assert [record.file_name for record in converted.records] == [
        "a/images/a.png",
        "b/images/b.png",
    ]
    assert [len(record.masks) for record in converted.records] == [2, 1]
    assert len(converted.rejected) == len(faults)


def test_empty_masks_can_be_dropped(root: Path) -> None:
    write(root / "a/masks/2.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    converted = read_dsb2018(root, cleaning=Cleaning(drop_empty=True))
    assert converted.cleaned == {"drop_empty": 1}
    assert len(converted.records[0].masks) == 2


def test_outcome_does_not_depend_on_workers(root: Path) -> None:
    for index in range(20):
        add_image(root, f"image{index:02d}", square(0, 0, 1 + index % 8, 3), square(0, 0, 1, 1))
    one, two = (read_dsb2018(root, workers=workers) for workers in (1, 2))
    assert all(a.masks == b.masks for a, b in zip(one.records, two.records, strict=True))
    assert one.findings == two.findings


class TestSolution:
    def test_strings_run_down_columns(self, root: Path, tmp_path: Path) -> None:
        solution = write_solution(
            tmp_path / "solution.csv",
            "a,1 2 9 2 17 2,8,10,Public",
            "b,10 2 18 2,8.0,10.0,Private",
            "a,37 4 45 4 53 4 61 4 69 4 77 4,8,10,Public",
        )
        for record, expected in zip(
            read_dsb2018(root, solution=solution).records, read_dsb2018(root).records, strict=True
        ):
            assert record.masks == expected.masks

    def test_of_train_labels_and_zipped(self, root: Path, tmp_path: Path) -> None:
        archive = tmp_path / "labels.csv.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("labels.csv", "ImageId,EncodedPixels\na,1 2\nb,1 1\n")
        records = read_dsb2018(root, solution=archive).records
        assert [record.masks.areas.tolist() for record in records] == [[2], [1]]

    def test_ignored_images_are_left_out(self, root: Path, tmp_path: Path) -> None:
        solution = write_solution(
            tmp_path / "solution.csv",
            "a,1 1,8,10,Ignored",
            "b,1 1,8,10,Private",
            "x,1 1,1,1,Ignored",
        )
        [record] = read_dsb2018(root, solution=solution).records
        assert record.file_name == "b/images/b.png"

    def test_an_image_is_ignored_as_a_whole_or_not_at_all(self, root: Path, tmp_path: Path) -> None:
        solution = write_solution(
            tmp_path / "solution.csv", "a,1 1,8,10,Public", "a,2 1,8,10,Ignored", "b,,8,10,Public"
        )
        with pytest.raises(DataSetError) as error:
            read_dsb2018(root, solution=solution)
        [reject] = error.value.rejected
        assert (reject.row, reject.image_id) == (3, "a")
        assert reject.cause == "Usage is 'Ignored' here, and not in row 2"
        [a, _] = read_dsb2018(root, solution=solution, on_error="skip").records
        assert a.masks.areas.tolist() == [1]

    def test_nothing_but_ignored_images(self, root: Path, tmp_path: Path) -> None:
        rows = [f"{name},1 1,8,10,Ignored" for name in "ab"]
        solution = write_solution(tmp_path / "solution.csv", *rows)
        with pytest.raises(DataError, match=r"solution.csv: the Usage of all images .* 'Ignored'"):
            read_dsb2018(root, solution=solution)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("s.csv", "ImageId,EncodedPixels\na,1 1\n".encode("utf-16"), "not UTF-8"),
            ("s.zip", b"no archive", "nor a zip archive"),
        ],
        ids=["UTF-16", "no archive"],
    )
    def test_files_that_cannot_be_read_are_named(
        self, root: Path, tmp_path: Path, name: str, content: bytes, message: str
    ) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}.*{message}"):
            read_dsb2018(root, solution=tmp_path / name)

    def test_an_image_whose_only_string_is_empty_has_no_nuclei(
        self, root: Path, tmp_path: Path
    ) -> None:
        solution = write_solution(tmp_path / "solution.csv", "a,,8,10,Public", "b,1 1,8,10,Public")
        a, _ = read_dsb2018(root, solution=solution).records
        assert len(a.masks) == 0

    def test_every_fault_is_named(self, root: Path, tmp_path: Path) -> None:
        add_image(root, "c")
        solution = write_solution(
            tmp_path / "solution.csv",
            "a,1 1,8,10,Public",
            "a,80 2,8,10,Public",
            "a,,8,10,Public",
            "b,1 1,10,8,Public",
            "x,1 1,8,10,Public",
            "a,1 1",
        )
        with pytest.raises(DataSetError) as error:
            read_dsb2018(root, solution=solution)
        causes = {reject.row: reject.cause for reject in error.value.rejected}
        assert len(causes) == len(error.value.rejected) == 6
        for row, cause in {
            None: "has no row for this image",  # c
            3: "ends at pixel 81",
            4: "no pixel",
            5: "height 10 and width 8 differ",
            6: "no folder x",
            7: "2 columns; the header has 5",
        }.items():
            assert cause in causes[row]

    def test_clipping_is_counted(self, root: Path, tmp_path: Path) -> None:
        solution = write_solution(
            tmp_path / "solution.csv", "a,80 2,8,10,Public", "b,1 1,8,10,Public"
        )
        converted = read_dsb2018(root, solution=solution, cleaning=Cleaning(clip=True))
        assert converted.cleaned == {"clip": 1}
        assert converted.records[0].masks.areas.tolist() == [1]

    def test_findings_name_the_rows(self, root: Path, tmp_path: Path) -> None:
        solution = write_solution(
            tmp_path / "solution.csv", "a,1 2,8,10,Public", "b,1 1,8,10,Public", "a,2 1,8,10,Public"
        )
        [finding] = read_dsb2018(root, solution=solution).findings or []
        assert finding.source == f"{solution}, row 4"
        assert finding.detail == f"shares 1 pixel with {solution}, row 2"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no folder or zip archive"),
        ("empty", "no image in it"),
        ("text.zip", "neither a folder nor a zip archive"),
        ("unlabelled", "name a solution csv"),
    ],
)
def test_roots_that_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("text")
    add_image(tmp_path / "unlabelled", "a")
    result = run_tool("--root", tmp_path / name, "--out-dir", tmp_path / "out")
    assert result.returncode == 1
    assert result.stderr.startswith("error:")
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("archived", [False, True])
def test_folds_by_source_cut_no_field(tmp_path: Path, archived: bool) -> None:
    """Four fields, each cut in two pieces of 40 x 80: a and b, c and d, ..."""
    root = tmp_path / "stage1_train"
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 80), np.uint8)
    mask[5:9, 5:9] = 255
    for pair in ("ab", "cd", "ef", "gh"):
        field = cv2.GaussianBlur(rng.uniform(0, 255, (80, 80)), (0, 0), 6)
        field = np.clip((field - 127) * 16 + 60, 0, 255).astype(np.uint8)
        for name, piece in zip(pair, (field[:40], field[40:]), strict=True):
            write(root / name / "images" / f"{name}.png", piece)
            write(root / name / "masks" / "0.png", mask)
    if archived:
        with zipfile.ZipFile(tmp_path / "packed.zip", "w") as file:
            for path in sorted(root.rglob("*.png")):
                file.write(path, path.relative_to(tmp_path).as_posix())
        root = tmp_path / "packed.zip"
    records = read_dsb2018(root, group_by="source").records
    groups = [record.group for record in records]
    assert groups[::2] == groups[1::2]
    assert all(record.group is None for record in read_dsb2018(root).records)


def test_the_folds_of_groups_are_told(root: Path, tmp_path: Path) -> None:
    result = run_tool(
        *("--root", root, "--out-dir", tmp_path / "out", "--folds", 2, "--group-by", "source")
    )
    assert result.returncode == 0, result.stderr
    assert "2 groups of 1 to 1 images" in result.stdout
    assert "fold 0: 1 images of 1 groups, 1 " in result.stdout
    groups = [record.group for record in read_annotations(tmp_path / "out/all.json")]
    assert groups == [f"{HEIGHT}x{WIDTH} fluorescence 1", f"{HEIGHT}x{WIDTH} stained 1"]
