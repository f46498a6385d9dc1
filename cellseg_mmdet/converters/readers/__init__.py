"""Readers of raw data sets, one file each: a new one is a new file."""

from cellseg_mmdet.registry import import_siblings

import_siblings(__name__, __path__)
