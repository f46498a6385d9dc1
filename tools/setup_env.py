"""Make ``.venv`` with everything the project needs; ``make setup`` calls it.

It runs under the system's python3 with the standard library alone. Each step leaves a stamp when it
is done, so a second run installs nothing and an interrupted one goes on where it stopped.

Environment variables:
  OPS                  operators of mmcv: portable (ours, the default) or compiled (mmcv's, needs g++);
                       without it .venv keeps those it has
  PIP_FIND_LINKS       folders with ready wheels; with OPS=compiled an mmcv wheel there is used if its
                       operators work
  CELLSEG_TORCH_INDEX  package index for torch alone, for example the one of torch's CPU wheels;
                       without it pip's own index serves, whose Linux wheel brings CUDA along
  MAX_JOBS             compilers at a time for OPS=compiled; by default as many as cores and memory allow
"""

import sys


def main():
    from environment.pythons import python_fault

    if sys.version_info < (3, 7):  # too old to read the other modules at all
        sys.exit(python_fault(sys.version_info[:2]))
    from pathlib import Path

    from environment.steps import set_up

    return set_up(Path(__file__).resolve().parents[1])


if __name__ == "__main__":
    sys.exit(main())
