"""The types that everybody hands on, and the layout in which predictions are dumped."""

from cellseg_mmdet.structures.image_key import ImageKey, safe_name
from cellseg_mmdet.structures.image_prediction import ImagePrediction, from_records
from cellseg_mmdet.structures.image_record import ImageRecord
from cellseg_mmdet.structures.prediction_dump import (
    PredictionDump,
    from_dump_entry,
    load_dump,
    load_predictions,
    to_dump_entry,
    write_predictions,
)

__all__ = [
    "ImageKey",
    "ImagePrediction",
    "ImageRecord",
    "PredictionDump",
    "from_dump_entry",
    "from_records",
    "load_dump",
    "load_predictions",
    "safe_name",
    "to_dump_entry",
    "write_predictions",
]
