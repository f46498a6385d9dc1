"""Instance segmentation of cells in microscopy images, on MMDetection.

The parts that need no deep-learning stack (``masks``, ``converters``, ``postprocess``, ``export`` and the metric
functions) import without torch; everything registered in MMDetection lives in ``datasets``, ``engine`` and
``evaluation.cell_metric``, which the configs name under ``custom_imports``.
"""

from cellseg_mmdet import ops

ops.install()

__version__ = "0.1.0"
