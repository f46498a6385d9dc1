"""The console command `cellseg`: one file a command, of which only the one that runs is imported.

A command is a module with a docstring, which ``--help`` shows, ``EXAMPLES``, ``add_arguments(parser)`` and
``run(args)``, which returns an exit status or None. What needs torch is imported in ``run``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from cellseg_mmdet import __version__
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.terminal import run_tool

# In the order of the work; the module is the name with _ for -.
COMMANDS = {
    "doctor": "say what is installed and whether it works",
    "demo": "do the whole main job on synthetic data, in minutes",
    "convert": "turn a raw data set into annotations that training reads",
    "browse": "look at a data set and at what training sees of it",
    "train": "train the model of a config",
    "curves": "draw losses and metrics of trainings",
    "test": "predict the test set of a config, score and dump it",
    "models": "list the trained models that come with the package",
    "infer": "find cells in images of your own",
    "measure": "measure cells: a table of shapes and intensities",
    "evaluate": "score predictions against annotations",
    "report": "write a page about predictions: scores, errors, calibration",
    "tune": "search for the best numbers of the post-processing",
    "ensemble": "fuse the predictions of several models",
    "export": "turn predictions into label images, outlines and other formats",
    "submit": "turn predictions into a submission",
    "check": "list the faults of a submission",
    "feature-maps": "draw what a network sees in an image",
    "completion": "print the completion script of a shell",
}
EPILOG = """\
`cellseg COMMAND --help` shows arguments and examples of a command. In bash,
  source <(cellseg completion bash)
completes commands, options and files; for zsh see `cellseg completion --help`.
"""
_STACK = ("torch", "mmcv", "mmdet", "mmengine")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Docstrings and examples as they are written, and a line for each command."""

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):  # without a line for the group itself
            return "".join(map(self._format_action, action._get_subactions()))
        return super()._format_action(action)


class CommandParser(argparse.ArgumentParser):
    """The parser of a command; what fills it is called when the command is parsed, so that others need not be loaded.

    Args:
        fill: adds arguments, description and epilog.

    Attributes:
        rest: name of the positional argument of a command that takes all that stand alone, also those behind options.
        finish: called with what was parsed; what it tells the parser by ``error`` is an error of the arguments.
    """

    rest: str | None = None
    finish: Callable[[argparse.Namespace], None] | None = None

    def __init__(
        self, *, fill: Callable[[CommandParser], None] | None = None, **options: Any
    ) -> None:
        super().__init__(formatter_class=_Help, **options)
        self._fill = fill
        self._is_command = fill is not None

    def filled(self) -> CommandParser:
        """Return the parser with its arguments."""
        fill, self._fill = self._fill, None
        if fill:
            fill(self)
        return self

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as `argparse.ArgumentParser` does, but tell of unknown arguments with the usage of the command."""
        self.filled()
        found, unknown = super().parse_known_args(args, namespace)
        if self.rest and not any(word.startswith("-") for word in unknown):
            # argparse gives a positional argument the words of one place alone.
            getattr(found, self.rest).extend(unknown)
            unknown = []
        if unknown and self._is_command:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        if self.finish is not None:
            self.finish(found)
        return found, unknown


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and exit; what goes wrong is told as `cellseg_mmdet.terminal.run_tool` does.

    The exit status is 0 if all went well, 1 after an error that is told in a line, 2 for arguments that cannot be
    parsed, 130 after Ctrl-C; a command may have others, which its help says.

    Args:
        argv: command and arguments, by default those of the process.

    Example:
        >>> main(["--version"])
        Traceback (most recent call last):
        ...
        SystemExit: 0
    """
    try:
        args = build_parser().parse_args(argv)  # which imports the command, for a second or more
    except KeyboardInterrupt:
        sys.exit(130)
    run_tool(partial(_run_to_the_end, args), error_status=args.error_status)


def run(argv: Sequence[str]) -> int | None:
    """Run a command line in this process as `main` does, but return its status and let errors through.

    Raises:
        CellsegError, OSError: see the command. SystemExit: the arguments cannot be parsed.
    """
    return _run(build_parser().parse_args(argv))


def build_parser() -> CommandParser:
    """Return the parser of ``cellseg``; those of its commands are filled when they are used."""
    parser = CommandParser(
        prog="cellseg",
        description="Instance segmentation of cells in microscopy images, on MMDetection.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"cellseg {__version__}")
    parser.set_defaults(run=partial(_overview, parser), error_status=1)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, fill=partial(_fill, name))
    return parser


def _fill(name: str, parser: CommandParser) -> None:
    module = importlib.import_module(f"cellseg_mmdet.cli.{name.replace('-', '_')}")
    parser.description = module.__doc__
    parser.epilog = f"examples:\n{module.EXAMPLES}"
    parser.set_defaults(run=module.run)
    module.add_arguments(parser)


def _run_to_the_end(args: argparse.Namespace) -> int | None:
    status = _run(args)
    if "launcher" in args:
        from cellseg_mmdet.cli.arguments import leave_launcher

        leave_launcher(args, status)
    return status


def _run(args: argparse.Namespace) -> int | None:
    try:
        return args.run(args)
    except ModuleNotFoundError as error:
        if error.name not in _STACK:
            raise
        raise UsageError(
            f"cellseg {args.command} needs {error.name}, which is not installed; "
            "`cellseg doctor` says what is there"
        ) from error


def _overview(parser: CommandParser, args: argparse.Namespace) -> int:
    parser.print_help(sys.stderr)
    return 2
