"""Errors whose message is all that a user needs; command lines print no traceback."""


class UsageError(ValueError):
    """Arguments that do not go together with the config, the files or the machine."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint that asks for more than weights and mmengine's own records."""


class ImageError(ValueError):
    """A picture that cannot be read right: names the file, the cause (codec, sample type, size) and a remedy."""


# What a tool tells in one line; any other error is a fault of ours, and keeps its traceback.
USER_ERRORS = (UsageError, CheckpointError, ImageError, FileNotFoundError, NotADirectoryError)
