"""Operators on the CPU, one file a family; each function has name and arguments of ``mmcv._ext``'s."""
