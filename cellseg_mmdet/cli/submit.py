"""Turn predictions into a submission file: a dump of raw ones with the post-processing of its config.

Final cells need no config: COCO results (predictions.json beside its images.json), annotations, another submission, or
a folder of label images.
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.cli.arguments import add_on_error_argument
from cellseg_mmdet.cli.evaluate import PREDICTIONS_HELP
from cellseg_mmdet.export import FORMATS

EXAMPLES = """\
  cellseg submit test.pkl --config my_config.py --out submission.csv
  cellseg submit results/predictions.json --out submission.csv
  cellseg submit data/sartorius/annotations/all.json --ground-truth --out truth.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("source", metavar="PREDS", help=PREDICTIONS_HELP)
    given = parser.add_mutually_exclusive_group()
    given.add_argument(
        "--config",
        metavar="CONFIG",
        help="config file of a dump; its `postprocess` list is applied",
    )
    given.add_argument(
        "--ground-truth",
        action="store_true",
        help="PREDS is an annotation file: write its cells; what they share goes to the first",
    )
    parser.add_argument("--out", required=True, metavar="CSV", help="submission file to write")
    parser.add_argument(
        "--format", choices=FORMATS.names(), default="sartorius", help="default: %(default)s"
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="images whose sizes a submission as PREDS needs, as it does not say them",
    )
    add_on_error_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Write the submission."""
    from cellseg_mmdet.errors import UsageError
    from cellseg_mmdet.evaluation.files import sizes_in
    from cellseg_mmdet.evaluation.sources import Context, needs_config, read_source
    from cellseg_mmdet.export import write_submission
    from cellseg_mmdet.postprocess import Tally
    from cellseg_mmdet.postprocess.from_config import pipeline_from_config
    from cellseg_mmdet.progress import progress_bar

    pipeline = pipeline_from_config(args.config) if args.config else None
    source = read_source(args.source, on_error=args.on_error)
    if source.is_raw and args.ground_truth:
        raise UsageError(
            f"{args.source} is a {source.title}, no ground truth: name its --config instead"
        )
    if source.is_raw and pipeline is None:
        raise needs_config(args.source)
    predictions = source.predictions(Context(sizes_in(args.images)))
    if source.is_raw and pipeline is not None:
        if pipeline.adds_overlap_removal:
            print(
                f"{args.config}: postprocess may end with masks that overlap; RemoveOverlaps is applied last"
            )
        bar = progress_bar(predictions, description="post-processing")
        tally = Tally()
        final = (tally.through(pipeline, prediction) for prediction in bar)
        summary = write_submission(args.out, final, args.format)
        if sentence := tally.sentence():
            print(sentence)
    else:
        bar = progress_bar(predictions, description="writing")
        summary = write_submission(args.out, bar, args.format)
    if summary.num_pixels_removed:
        print(f"{summary.num_pixels_removed} shared pixels were left to one cell each")
    print(f"{args.out}: {args.format} submission, {summary}")
