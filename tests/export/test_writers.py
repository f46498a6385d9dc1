from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from cellseg_mmdet.errors import ConfigError, DataError
from cellseg_mmdet.export import (
    WRITERS,
    Writer,
    Written,
    opened,
    options_of,
    taken_by,
    write_submission,
)
from cellseg_mmdet.images import read_image
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.masks import Runs
from cellseg_mmdet.structures import ImageKey, ImagePrediction, load_predictions

HEIGHT, WIDTH = 6, 8
IMAGE = read_image(np.zeros((HEIGHT, WIDTH, 3), np.uint8), name="image.png")
PICTURE = Picture(IMAGE.key, image=IMAGE)


def prediction(name: str, *columns: int, img_id: int | None = None) -> ImagePrediction:
    """One cell per column, each of three pixels, the first with the highest score."""
    label_map = np.zeros((HEIGHT, WIDTH), np.int32)
    for label, column in enumerate(columns, start=1):
        label_map[1:4, column] = label
    masks = Runs.from_label_map(label_map)
    return ImagePrediction(
        image_id=name,
        img_id=img_id,
        height=HEIGHT,
        width=WIDTH,
        boxes=masks.boxes.astype(np.float64),
        scores=np.linspace(0.9, 0.5, len(masks)),
        labels=np.arange(len(masks)) % 2,
        masks=masks,
        img_path=f"images/{name}.png",
    )


PREDICTIONS = [prediction("a", 1, 5), prediction("b"), prediction("c", 2)]


def written_by(
    names: Sequence[str], out_dir: Path, predictions: Sequence[ImagePrediction]
) -> dict[Path, str]:
    writers = [WRITERS.get(name)() for name in names]
    files: dict[Path, str] = {}
    with opened(writers, out_dir, ("dim", "bright")):
        for one in predictions:
            for writer in writers:
                writer.add(one, PICTURE)
        for writer in writers:
            files |= writer.close().files
    return files


def test_there_are_these_writers() -> None:
    assert {"submission", "coco", "overlay", "dump", "table", "csv", "parquet"} <= set(
        WRITERS.names()
    )


@pytest.mark.parametrize("count", [0, 1, 3])
def test_every_writer_says_what_it_wrote_and_leaves_nothing_else(
    tmp_path: Path, count: int
) -> None:
    names = ["submission", "coco", "overlay", "dump", "table"]
    files = written_by(names, tmp_path, PREDICTIONS[:count])
    found = {path for path in tmp_path.iterdir() if count or path.name != "overlays"}
    assert found == {path for path in files if count or path.name != "overlays"}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_submission_is_that_of_write_submission(tmp_path: Path, count: int) -> None:
    written_by(["submission"], tmp_path, PREDICTIONS[:count])
    write_submission(tmp_path / "at_once.csv", PREDICTIONS[:count], "sartorius")
    assert (tmp_path / "submission.csv").read_bytes() == (tmp_path / "at_once.csv").read_bytes()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_coco_files_are_what_json_writes(tmp_path: Path, count: int) -> None:
    written_by(["coco"], tmp_path, PREDICTIONS[:count])
    text = (tmp_path / "images.json").read_text()
    images = json.loads(text)
    assert text == json.dumps(images, indent=1)
    assert [image["id"] for image in images["images"]] == list(range(1, count + 1))
    assert [image["file_name"] for image in images["images"]] == [
        f"images/{name}.png" for name in "abc"[:count]
    ]
    assert images["categories"] == [{"id": 1, "name": "dim"}, {"id": 2, "name": "bright"}]
    text = (tmp_path / "predictions.json").read_text()
    results = json.loads(text)
    assert text == json.dumps(results, separators=(",", ":"))
    assert [row["image_id"] for row in results] == [[], [1, 1], [], [1, 1, 3]][count]


def test_ids_of_predictions_are_kept(tmp_path: Path) -> None:
    written_by(["coco"], tmp_path, [prediction("a", 1, img_id=7)])
    assert json.loads((tmp_path / "images.json").read_text())["images"][0]["id"] == 7
    assert json.loads((tmp_path / "predictions.json").read_text())[0]["image_id"] == 7


def test_a_dump_is_read_again(tmp_path: Path) -> None:
    written_by(["dump"], tmp_path, PREDICTIONS)
    found = load_predictions(tmp_path / "predictions.pkl")
    assert [(one.image_id, one.img_path) for one in found] == [
        (one.image_id, one.img_path) for one in PREDICTIONS
    ]
    for one, before in zip(found, PREDICTIONS, strict=True):
        assert (one.masks.to_label_map() == before.masks.to_label_map()).all()
        np.testing.assert_array_equal(one.scores, before.scores)
    assert isinstance(pickle.loads((tmp_path / "predictions.pkl").read_bytes()), list)


def test_overlays_have_the_names_of_their_images(tmp_path: Path) -> None:
    written_by(["overlay"], tmp_path, PREDICTIONS)
    assert sorted(path.name for path in (tmp_path / "overlays").iterdir()) == [
        "a.png",
        "b.png",
        "c.png",
    ]
    height, width, _ = cv2.imread(str(tmp_path / "overlays/a.png")).shape
    assert height > 2 * HEIGHT and width == 2 * WIDTH  # the legend stands below


@pytest.mark.parametrize("name", ["submission", "coco", "dump", "table"])
def test_after_an_error_the_files_of_before_are_there(tmp_path: Path, name: str) -> None:
    written_by([name], tmp_path, PREDICTIONS)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    writer = WRITERS.get(name)()
    with pytest.raises(KeyboardInterrupt), opened([writer], tmp_path, ("dim", "bright")):  # noqa: PT012
        writer.add(PREDICTIONS[0], PICTURE)
        raise KeyboardInterrupt
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_image_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'a' comes twice"):
        written_by(["submission"], tmp_path, [PREDICTIONS[0], PREDICTIONS[0]])
    assert not list(tmp_path.iterdir())


def test_a_table_has_a_row_for_each_cell_with_the_numbers_of_cells(tmp_path: Path) -> None:
    found = prediction("a", 1, 5, 3)
    turned = found.select(np.array([2, 0, 1]))
    written_by(["table"], tmp_path, [turned, PREDICTIONS[1]])
    with (tmp_path / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["id"], row["x1_px"], row["class"]) for row in rows] == [
        ("a", "1", "3", "dim"),
        ("a", "2", "1", "dim"),
        ("a", "3", "5", "bright"),
    ]
    assert {"mean_red", "mean_green", "mean_blue"} <= set(rows[0])


def test_a_table_of_a_file_is_that_of_its_image(tmp_path: Path) -> None:
    values = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    key = ImageKey(str(tmp_path / "a.png"), name="a")
    of_file, of_image = Picture(key), Picture(key, image=read_image(key))
    tables = []
    for folder, picture in (("file", of_file), ("image", of_image)):
        writer = WRITERS.get("table")()
        with opened([writer], tmp_path / folder, ("dim", "bright")):
            writer.add(PREDICTIONS[0], picture)
            writer.close()
        tables.append((tmp_path / folder / "cells.csv").read_bytes())
    assert tables[0] == tables[1]
    assert "image" not in vars(of_file)  # its windows alone were read


def test_csv_and_parquet_are_tables(tmp_path: Path) -> None:
    files = written_by(["csv"], tmp_path / "csv", PREDICTIONS)
    written_by(["table"], tmp_path / "table", PREDICTIONS)
    assert files == {tmp_path / "csv/cells.csv": "table of cells"}
    same = [(tmp_path / folder / "cells.csv").read_bytes() for folder in ("csv", "table")]
    assert same[0] == same[1]
    parquet = pytest.importorskip("pyarrow.parquet")
    written_by(["parquet"], tmp_path / "parquet", PREDICTIONS)
    table = parquet.read_table(tmp_path / "parquet/cells.parquet")
    assert table.column_names == same[0].decode().splitlines()[0].split(",")
    assert table.num_rows == sum(map(len, PREDICTIONS))


SIZED = ["csv", "label-tiff", "npz", "ome-zarr", "overlay", "parquet", "table"]


def test_a_size_of_a_pixel_that_is_given_goes_to_all_writers_that_say_it(tmp_path: Path) -> None:
    assert taken_by("pixel_size_um", WRITERS.names()) == SIZED
    options = options_of(SIZED, {"pixel_size_um": (0.5, 0.25)})
    writers = [WRITERS.get(name)(**options[name]) for name in SIZED]
    with opened(writers, tmp_path, ("dim", "bright")):
        for writer in writers:
            writer.add(PREDICTIONS[0], PICTURE)
            writer.close()
    with (tmp_path / "cells.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert float(row["area_um2"]) == float(row["area_px"]) / 8
    with tifffile.TiffFile(tmp_path / "labels/a.tif") as tiff:
        assert 'PhysicalSizeY="0.5"' in tiff.ome_metadata
    assert np.load(tmp_path / "npz/a.npz")["pixel_size_um"].tolist() == [0.5, 0.25]
    about = json.loads((tmp_path / "ome-zarr/a.zarr/labels/cells/zarr.json").read_text())
    multiscale = about["attributes"]["ome"]["multiscales"][0]
    scale = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale == [0.5, 0.25] and multiscale["axes"][0]["unit"] == "micrometer"


def test_options_of_a_table() -> None:
    with pytest.raises(ConfigError, match="table_format is 'xlsx'; it must be 'csv' or"):
        WRITERS.get("table")(table_format="xlsx")
    with pytest.raises(ConfigError, match="'excel'; there are"):
        WRITERS.get("table")(names="excel")


def test_an_unknown_format_is_found_before_anything_is_written() -> None:
    with pytest.raises(ConfigError, match="'excel'; there are dsb2018, sartorius"):
        WRITERS.get("submission")(format="excel")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OSError, match="out") as error:
        written_by(["coco"], tmp_path / "out", PREDICTIONS)
    assert str(error.value.filename).startswith(str(tmp_path / "out"))


def test_a_new_writer_is_one_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WRITERS, "_parts", dict(WRITERS._parts))

    @WRITERS.register("areas")
    class AreaWriter(Writer):
        def open(self, out_dir, classes):
            self.path = Path(out_dir) / "areas.csv"
            self.rows = csv.writer(self.open_file(self.path))

        def add(self, prediction, image):
            self.rows.writerow([prediction.image_id, *prediction.masks.areas])

        def close(self):
            self.finish()
            return Written({self.path: "areas in pixels"})

    assert list(written_by(["areas"], tmp_path, PREDICTIONS).values()) == ["areas in pixels"]
    assert (tmp_path / "areas.csv").read_text().split() == ["a,3,3", "b", "c,3"]
