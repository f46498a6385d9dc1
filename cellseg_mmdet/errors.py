"""Errors whose message is all that a user needs; command lines print no traceback."""


class UsageError(ValueError):
    """Arguments that do not go together with the config, the files or the machine."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint that asks for more than weights and mmengine's own records."""


# What a tool tells in one line; any other error is a fault of ours, and keeps its traceback.
USER_ERRORS = (UsageError, CheckpointError, FileNotFoundError, NotADirectoryError)
