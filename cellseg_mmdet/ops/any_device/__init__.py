"""Operators in torch alone, for every device; each function has name and arguments of ``mmcv._ext``'s."""
