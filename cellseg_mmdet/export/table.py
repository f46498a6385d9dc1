"""A table with a row for each cell: its shape, its neighbours, its intensities."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.export.writer import WRITERS, Writer, Written
from cellseg_mmdet.images.picture import Picture
from cellseg_mmdet.structures import ImagePrediction

# Height and width of a pixel in micrometres.
_SizeUm = tuple[float, float] | None


@WRITERS.register("table")
class TableWriter(Writer):
    """``cells.csv``, or ``cells.parquet``: what `measure.measure_image` measures of each cell of each image.

    Args:
        table_format: 'csv' or 'parquet', which needs pyarrow.
        names: what the columns are called, a name in `measure.NAMES`.
        pixel_size_um: height and width of a pixel, in place of what the images say.

    Raises:
        ConfigError: another format, or unknown names.
        UsageError: pyarrow is not installed.

    Example:
        >>> from cellseg_mmdet import ImagePrediction, Runs, read_image
        >>> image = read_image(np.array([[7, 5, 5]], np.uint8), name="a")
        >>> masks = Runs.from_label_map(np.array([[1, 2, 2]]))
        >>> scores, labels = np.array([0.4, 0.9]), np.array([0, 0])
        >>> found = ImagePrediction("a", 1, 1, 3, masks.boxes, scores, labels, masks)
        >>> writer = TableWriter()
        >>> writer.open("out", ("cell",))
        >>> writer.add(found, Picture(image.key, image=image))
        >>> writer.close().files
        {PosixPath('out/cells.csv'): 'table of cells'}
        >>> Path("out/cells.csv").read_text().splitlines()[1][:14]
        'a,1,cell,0.4,1'
    """

    def __init__(
        self,
        table_format: str = "csv",
        names: str = "cellseg",
        pixel_size_um: _SizeUm = None,
    ) -> None:
        super().__init__()
        # Not at the top: numba takes a second, which the help of a command should not.
        from cellseg_mmdet.measure import NAMES, MeasureOptions, check_table_path

        if table_format not in ("csv", "parquet"):
            raise ConfigError(f"table_format is {table_format!r}; it must be 'csv' or 'parquet'")
        NAMES.get(names)
        self._name, self._names = f"cells.{table_format}", names
        check_table_path(self._name)
        self._options = MeasureOptions(pixel_size_um=pixel_size_um)

    def open(self, out_dir: str | os.PathLike[str], classes: Sequence[str]) -> None:
        from cellseg_mmdet.measure import TableFile

        self._classes = tuple(classes)
        self._table = TableFile(Path(out_dir) / self._name, self._names)
        self._files.callback(self._table.discard)

    def add(self, prediction: ImagePrediction, picture: Picture) -> None:
        from cellseg_mmdet.measure import measure_image

        with picture.opened() as image:
            table = measure_image(prediction, self._classes, image, options=self._options)
        self._table.add(table)

    def close(self) -> Written:
        self._table.close()
        self.finish()
        return Written({self._table.path: "table of cells"})


@WRITERS.register("csv")
class CsvWriter(TableWriter):
    """``cells.csv``, see `TableWriter`; the csv files of competitions are written by ``submission``."""

    def __init__(self, names: str = "cellseg", pixel_size_um: _SizeUm = None) -> None:
        super().__init__("csv", names, pixel_size_um)


@WRITERS.register("parquet")
class ParquetWriter(TableWriter):
    """``cells.parquet``, see `TableWriter`; it needs pyarrow."""

    def __init__(self, names: str = "cellseg", pixel_size_um: _SizeUm = None) -> None:
        super().__init__("parquet", names, pixel_size_um)
