"""``python -m cellseg_mmdet`` is ``cellseg``."""

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main()
