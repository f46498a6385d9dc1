"""Formats of pictures, one file each; every one enters itself into `FORMATS`."""

from cellseg_mmdet.registry import import_siblings

import_siblings(__name__, __path__)
