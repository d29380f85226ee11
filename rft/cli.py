"""The `rft` command: arguments in, one call, errors out. Each command imports what it needs when it runs."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rft.commands.data.arguments import add_data
from rft.errors import Interrupted, RftError

USER_ERROR = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0; 2 for a user's mistake; 130 after Ctrl-C; otherwise what the command returns."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser, commands = _parsers()
    if not arguments:
        parser.print_help()
        return USER_ERROR
    if arguments[0] in commands:
        # Options may stand between a recipe and its key=value overrides.
        args = commands[arguments[0]].parse_intermixed_args(arguments[1:])
    else:
        args = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int | None] = args.run
    try:
        return run(args) or 0
    except RftError as error:
        print(error, file=sys.stderr)
        return USER_ERROR
    except (KeyboardInterrupt, Interrupted):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`rft list | head`) has gone: there is nobody left to tell.
        sys.stderr.close()
        return 1


def _check(args: argparse.Namespace) -> int | None:
    from rft.commands.check.check import check_file

    checked = check_file(args.recipe, args.overrides, gpu=args.gpu)
    print(checked.text(), flush=True)
    if not args.deep:
        return None
    from rft.commands.check.sides import check_sides

    return check_sides(checked.recipe)


def _train(args: argparse.Namespace) -> int | None:
    from rft.commands.check.check import check_file

    checked = check_file(args.recipe, args.overrides, resume=args.resume)
    from rft.launch import train

    return train(checked.recipe, args.recipe.stem, args.resume)


def _eval(args: argparse.Namespace) -> int | None:
    if [args.model, args.predictions, args.baseline].count(None) != 2:
        args.refuse("give one of MODEL_DIR, --predictions and --baseline")
    if not args.data and not args.predictions:
        args.refuse("--data: say which rows")
    if args.model is None:
        _eval_offline(args)
        return None
    from rft.commands.eval.request import eval_recipe, parse_shard

    shard = parse_shard(args.shard or "0/1")
    recipe = eval_recipe(
        args.model, tuple(args.data), args.recipe, args.video_root, args.num_samples, tuple(args.overrides)
    )
    from rft.commands.eval.model import evaluate

    return evaluate(recipe, args.task, shard, args.output, args.json)


def _eval_offline(args: argparse.Namespace) -> None:
    from rft.commands.eval.offline import evaluate_baseline, evaluate_predictions

    if any((args.shard, args.output, args.recipe, args.video_root, args.num_samples, args.overrides)):
        args.refuse("only a MODEL_DIR is asked: --shard, -o, --recipe, --video-root, --num-samples and keys go with it")
    if args.predictions:
        print(evaluate_predictions(args.predictions, args.task, args.data, args.json))
    else:
        print(evaluate_baseline(args.baseline, args.task, args.data, args.json))


def _score(args: argparse.Namespace) -> None:
    from rft.commands.score.score import ScoreRequest, print_scored, score

    request = ScoreRequest(args.task, args.fidelity, args.think, tuple(args.reward), args.recipe)
    print_scored(score(args.source, request, args.output), args.json)


def _list(args: argparse.Namespace) -> None:
    from rft.commands.list import listing

    print(listing(args.what))


def _report(args: argparse.Namespace) -> None:
    from rft.commands.report.report import report

    print(report(args.run_dir))


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the whole command line, and that of each command."""
    parser = argparse.ArgumentParser(prog="rft", description="GRPO for video multimodal language models, by recipe.")
    adder = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands: dict[str, argparse.ArgumentParser] = {}

    def command(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        commands[name] = adder.add_parser(name, help=text, description=text)
        commands[name].set_defaults(run=run)
        return commands[name]

    check = command("check", _check, "Report every problem of a recipe at once, else print what it would run.")
    _add_recipe(check)
    text = "also start engine and learner, and compare what they make of some training rows (docs/parity.md)"
    check.add_argument("--deep", action="store_true", help=text)
    text = "tell what a step would take on such GPUs, which need not be here: H100-SXM, A100-80GB, ..."
    check.add_argument("--gpu", metavar="NAME", help=text)
    train = command("train", _train, "Train by a recipe.")
    _add_recipe(train)
    train.add_argument("--resume", action="store_true", help="continue the run in the recipe's run folder")
    evaluate = command("eval", _eval, "Measure a model, stored completions or baselines on rows.")
    _add_eval(evaluate)
    scored = command("score", _score, "Score stored completions, or all of a run's again, without a model.")
    _add_score(scored)
    listing = command("list", _list, "Show the tasks, rewards, losses and recipes there are.")
    listing.add_argument("what", nargs="?", choices=("tasks", "rewards", "losses", "recipes"))
    report = command("report", _report, "Sum up a run folder.")
    report.add_argument("run_dir", metavar="RUN_DIR", type=Path)
    add_data(adder)
    return parser, commands


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", type=Path)
    _add_overrides(parser)


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", type=Path, help="JSONL file of completions, or a run folder")
    parser.add_argument("--task", help="of rows that name none; rows that name another are left out")
    parser.add_argument("--fidelity", choices=("as_published", "corrected"), help="whose reading")
    parser.add_argument("--think", action=argparse.BooleanOptionalAction, help="which format reward")
    parser.add_argument(
        "--reward",
        metavar="NAME=WEIGHT",
        nargs="+",
        action="extend",
        default=[],
        help="in place of the recipe's: a name of `rft list rewards`, format, iou, accuracy, or FILE.py:FUNCTION",
    )
    parser.add_argument("--recipe", metavar="R", type=Path, help="whose rewards: default, the run's, or the tasks' own")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write every row with its scores")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def _add_eval(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(refuse=parser.error)
    text = "a Hugging Face model folder, or a checkpoint of a run"
    parser.add_argument("model", metavar="MODEL_DIR", nargs="?", help=text)
    text = "measure stored completions in place of a model: shards of `rft eval -o`, or lines of docs/evaluation.md"
    parser.add_argument("--predictions", metavar="FILE", type=Path, nargs="+", action="extend", help=text)
    text = (
        "measure a baseline, an answer made without the video, such as whole_video; all: every one that fits the rows"
    )
    parser.add_argument("--baseline", metavar="NAME", help=text)
    text = "JSONL file of rows; may be repeated"
    parser.add_argument("--data", metavar="FILE", type=Path, action="append", default=[], help=text)
    parser.add_argument("--task", help="measure the rows of this task only")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write every completion with its values")
    parser.add_argument("--shard", metavar="I/N", help="every N-th row from row I on, for one of N workers")
    parser.add_argument("--recipe", metavar="R", type=Path, help="how to ask: default, that of the model's run")
    parser.add_argument("--video-root", metavar="DIR", type=Path, help="folder that relative video paths start from")
    parser.add_argument("--num-samples", metavar="N", type=int, help="completions per row beside the greedy one")
    _add_overrides(parser)


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    text = "recipe keys to set, such as sampling.num_generations=16"
    parser.add_argument("overrides", metavar="key=value", nargs="*", help=text)
