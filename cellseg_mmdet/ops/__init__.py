"""mmcv's operators without a compiler: what ``mmcv._ext`` holds, in numba and torch.

``install`` is called where the package is imported; it loads nothing until mmcv asks for an operator. This
package imports nothing else of ours.

Example:
    >>> in_use() in ("portable", "compiled", "")
    True
"""

from cellseg_mmdet.ops.stand_in import compiled_file, in_use, install

__all__ = ["compiled_file", "in_use", "install"]
