"""What mmcv says of its compilers, which ``mmcv.utils.collect_env`` asks for: there were none."""

from __future__ import annotations


def get_compiler_version() -> str:
    """Return 'n/a', which mmcv itself says where it has no operators.

    Example:
        >>> get_compiler_version()
        'n/a'
    """
    return "n/a"


def get_compiling_cuda_version() -> str:
    """Return 'not available', as an mmcv that was compiled without CUDA does."""
    return "not available"
