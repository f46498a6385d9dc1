"""Instance segmentation of cells in microscopy images, on MMDetection.

The rooms of data, from ``masks`` to ``evaluation``, import without torch; what is registered in MMDetection lives in
``datasets``, ``models`` and ``engine``, which the configs name under ``custom_imports``.
"""

from cellseg_mmdet import ops

ops.install()

__version__ = "0.1.0"
