"""Arguments of `rft eval`, and the call that they make."""

import argparse
from pathlib import Path


def add_eval(parser: argparse.ArgumentParser) -> None:
    """The arguments but the recipe keys."""
    parser.set_defaults(refuse=parser.error)
    text = "a Hugging Face model folder, or a checkpoint of a run"
    parser.add_argument("model", metavar="MODEL_DIR", nargs="?", help=text)
    text = "measure stored completions in place of a model: shards of `rft eval -o`, or lines of docs/evaluation.md"
    parser.add_argument("--predictions", metavar="FILE", type=Path, nargs="+", action="extend", help=text)
    text = "with --predictions: further metrics, such as coco_scores of timed_captions (docs/packs/events.md)"
    parser.add_argument("--also", metavar="NAME", help=text)
    text = (
        "measure a baseline, an answer made without the video, such as whole_video; all: every one that fits the rows"
    )
    parser.add_argument("--baseline", metavar="NAME", help=text)
    text = "say how many rows a difference needs, by stored completions of one policy or of two; or by a run folder"
    parser.add_argument("--power", metavar="ANSWERS", type=Path, nargs="+", help=text)
    parser.add_argument("--points", metavar="N", type=float, default=2.0, help="that difference, in hundredths")
    text = "JSONL file of rows; may be repeated"
    parser.add_argument("--data", metavar="FILE", type=Path, action="append", default=[], help=text)
    parser.add_argument("--task", help="measure the rows of this task only")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write every completion with its values")
    parser.add_argument("--shard", metavar="I/N", help="every N-th row from row I on, for one of N workers")
    parser.add_argument("--recipe", metavar="R", type=Path, help="how to prompt: default, that of the model's run")
    text = "prompt, frames, length and reading as others measure, for tasks that they measure (docs/evaluation.md)"
    parser.add_argument("--protocol", choices=("paper", "qwen", "lmms-eval"), help=text)
    parser.add_argument("--video-root", metavar="DIR", type=Path, help="folder that relative video paths start from")
    parser.add_argument("--num-samples", metavar="N", type=int, help="completions per row besides the greedy one")


def measure(args: argparse.Namespace) -> None:
    """What `rft eval` does, as asked."""
    if [args.model, args.predictions, args.baseline, args.power].count(None) != 3:
        args.refuse("give one of MODEL_DIR, --predictions, --baseline and --power")
    if not args.data and not args.predictions and not args.power:
        args.refuse("--data: say which rows")
    if not 0 < args.points <= 100:
        args.refuse("--points: give a number above 0, at most 100")
    from rft.tasks import requested_task

    if args.task is not None:
        args.task = requested_task(args.task)
    if args.also and not args.predictions:
        args.refuse("--also goes with --predictions; store completions with -o first")
    if args.model is None:
        _eval_offline(args)
        return
    from rft.commands.eval.request import eval_recipe, parse_shard
    from rft.evaluation.protocols import PROTOCOLS

    shard = parse_shard(args.shard or "0/1")
    how = (args.recipe, args.video_root, args.num_samples, args.overrides, args.task, args.protocol)
    recipe = eval_recipe(args.model, args.data, *how)
    from rft.commands.eval.model import evaluate

    protocol = PROTOCOLS[args.protocol] if args.protocol else None
    evaluate(recipe, args.task, shard, args.output, args.json, protocol)


def _eval_offline(args: argparse.Namespace) -> None:
    from rft.commands.eval.offline import evaluate_baseline, evaluate_predictions
    from rft.commands.eval.power import power

    if any((args.shard, args.output, args.recipe, args.protocol, args.video_root, args.num_samples, args.overrides)):
        args.refuse("--shard, -o, --recipe, --protocol, --video-root, --num-samples and keys go with a MODEL_DIR only")
    if args.power:
        print(power(args.power, args.task, args.data, args.points, args.json))
    elif args.predictions:
        print(evaluate_predictions(args.predictions, args.task, args.data, args.json, args.also))
    else:
        print(evaluate_baseline(args.baseline, args.task, args.data, args.json))
