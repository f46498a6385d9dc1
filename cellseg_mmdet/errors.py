"""What a command line tells in one line; any other exception is a fault of the program and shows its traceback."""

from __future__ import annotations


class CellsegError(Exception):
    """The root of all errors whose message is all that a user needs.

    Example:
        >>> str(DataError("train.csv, row 3: the id is empty"))
        'train.csv, row 3: the id is empty'
    """


class UsageError(CellsegError):
    """Arguments that do not go together with the config, the files or the machine."""


class ConfigError(CellsegError):
    """A value in a config, or a name looked up in a registry, that is not allowed."""


class DataError(CellsegError):
    """A file that cannot be used: damaged, of another layout, or at odds with another one."""


class MaskError(DataError):
    """An encoded mask that cannot be decoded.

    Attributes:
        cause: what was found and what is allowed.
        instance: index of the mask among those that were decoded together; None for a single one.
    """

    def __init__(self, cause: str, instance: int | None = None) -> None:
        super().__init__(cause if instance is None else f"instance {instance}: {cause}")
        self.cause = cause
        self.instance = instance

    def __reduce__(self) -> tuple[type[MaskError], tuple[str, int | None]]:
        # Exceptions come back from worker processes by their arguments.
        return type(self), (self.cause, self.instance)


class ImageError(DataError):
    """A picture that cannot be read right: names the file, the cause (codec, sample type, size) and a remedy."""


class CheckpointError(CellsegError):
    """A checkpoint that cannot be read."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint that asks for more than weights and mmengine's own records."""
