"""Search for the numbers of a config's `postprocess` list that score best (kaggle_map).

Writes a config that inherits from CONFIG and holds the list with the numbers found, and beside it the searches
(.journal): the same command goes on where it was stopped, and with more --trials goes on from there. What the
numbers are worth is estimated on held-out images.
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.cli.arguments import CONFIG_HELP, add_on_error_argument, positive
from cellseg_mmdet.cli.evaluate import ANNOTATIONS_HELP
from cellseg_mmdet.progress import available_cores

EXAMPLES = """\
  cellseg tune fold0.pkl fold1.pkl --ann val_fold0.json val_fold1.json --config my_config.py --out tuned.py
  cellseg tune val.pkl --ann val.json --config my_config.py --out tuned.py --only ScoreThreshold.score_thr
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "predictions",
        nargs="+",
        metavar="PREDS",
        help="what `cellseg test --out` wrote; of several folds, each image once",
    )
    parser.add_argument(
        "--ann",
        nargs="+",
        required=True,
        metavar="FILE",
        help=f"{ANNOTATIONS_HELP}; images without a prediction are left out",
    )
    parser.add_argument(
        "--config",
        required=True,
        metavar="CONFIG",
        help=f"{CONFIG_HELP}, with the `postprocess` list to begin with",
    )
    parser.add_argument("--out", required=True, metavar="PY", help="config file to write")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="STEP.PARAM",
        help="search for these numbers and leave the others as they are",
    )
    parser.add_argument(
        "--one-for-all",
        action="store_true",
        help="search for one number for all classes, but where the list has one per class",
    )
    parser.add_argument(
        "--trials", type=positive, default=200, help="lists that each search tries (default: 200)"
    )
    parser.add_argument(
        "--timeout", type=positive, metavar="SECONDS", help="stop sooner, with what was found"
    )
    parser.add_argument(
        "--folds",
        type=positive,
        default=2,
        help="of the held-out estimate; each is one more search, on the other folds (default: 2)",
    )
    parser.add_argument(
        "--jobs", type=positive, default=available_cores(), help="processes (default: all cores)"
    )
    add_on_error_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Search, print what was found, write the config."""
    from pathlib import Path

    from cellseg_mmdet.tuning.files import check_out, read_task, write_config
    from cellseg_mmdet.tuning.tune import tune

    check_out(args.out, args.config)
    task = read_task(
        args.predictions,
        args.ann,
        args.config,
        only=args.only,
        per_class=not args.one_for_all,
        on_error=args.on_error,
    )
    source = f"{len(task.records)} images of {', '.join(args.predictions)}"
    print(f"{source}\n{task.about_numbers()}")
    result = tune(
        task,
        Path(args.out).with_suffix(".journal"),
        num_trials=args.trials,
        timeout_s=args.timeout,
        num_folds=args.folds,
        jobs=args.jobs,
    )
    print(f"\n{result.score_table()}\n{result.verdict()}\n\n{result.number_table()}\n")
    write_config(args.out, args.config, result, source)
    print(f"{args.out}: config with the numbers found in {result.num_trials} trials")
