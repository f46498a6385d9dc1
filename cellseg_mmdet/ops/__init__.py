"""mmcv's operators without a compiler: what ``mmcv._ext`` holds, in numba and torch.

``install`` is called where the package is imported; it loads nothing until mmcv asks for an operator.
Imports nothing of ours.
"""
