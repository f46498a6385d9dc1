"""Print the script by which a shell completes commands, options, files and choices of `cellseg`.

It is made from the parsers and starts no Python when a key is pressed. Make it anew after an update.
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.errors import needs

EXAMPLES = """\
  source <(cellseg completion bash)      # in ~/.bashrc for every shell
  cellseg completion zsh > "${fpath[1]}/_cellseg"
"""
SHELLS = ("bash", "zsh", "tcsh")
_FOLDERS = ("DIR", "WORK_DIR")
_NAMES = ("KEY", "KEY=VALUE", "NAME", "STEP.PARAM", "SWITCH")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("shell", choices=SHELLS, help="shell to make the script for")


def run(args: argparse.Namespace) -> None:
    """Print the script."""
    with needs("completion"):
        import shtab

    from cellseg_mmdet.cli import build_parser

    parser = build_parser()
    complete_files(parser)
    print(shtab.complete(parser, shell=args.shell))


def complete_files(parser: argparse.ArgumentParser) -> None:
    """Mark what is a file or folder for shtab, in this parser and those of its commands."""
    import shtab

    from cellseg_mmdet.cli import CommandParser

    if isinstance(parser, CommandParser):
        parser.filled()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                complete_files(command)
        elif action.nargs != 0 and not action.choices and action.type is None:
            if action.metavar in _FOLDERS:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            elif action.metavar not in _NAMES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
