"""The `rft` command: arguments in, one call, errors out. Each command imports what it needs when it runs."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rft.commands.data.arguments import add_data
from rft.commands.eval.arguments import add_eval, measure
from rft.commands.reward.arguments import add_reward
from rft.errors import Interrupted, RftError

USER_ERROR = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0; 2 for a user's mistake; 130 after Ctrl-C; otherwise what the command returns.

    `rft train` returns 3 where an alarm stopped the run.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser, commands = _parsers()
    if not arguments:
        parser.print_help()
        return USER_ERROR
    if arguments[0] in commands and arguments[0] not in ("data", "reward"):
        # Options may stand between a recipe and its key=value overrides.
        args = commands[arguments[0]].parse_intermixed_args(arguments[1:])
    else:
        args = parser.parse_args(arguments)
    try:
        return args.run(args) or 0
    except RftError as error:
        print(error, file=sys.stderr)
        return USER_ERROR
    except (KeyboardInterrupt, Interrupted):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`rft list | head`) has closed it: no output can arrive.
        sys.stderr.close()
        return 1


def _check(args: argparse.Namespace) -> None:
    from rft.commands.check.check import check_file

    checked = check_file(args.recipe, args.overrides, gpu=args.gpu)
    print(checked.text(), flush=True)
    if checked.recipe.cluster.joined_address():
        from rft.commands.check.placement import cluster_text

        print(cluster_text(checked.recipe), flush=True)
    if args.deep:
        from rft.commands.check.sides import check_sides

        check_sides(checked.recipe)


def _train(args: argparse.Namespace) -> int | None:
    from rft.commands.check.check import check_file

    checked = check_file(args.recipe, args.overrides, resume=args.resume)
    from rft.launch import train

    return train(checked.recipe, args.recipe.stem, args.resume, args.accept_changed_code)


def _score(args: argparse.Namespace) -> None:
    from rft.commands.score.score import print_scored, score

    choice = {"task": args.task, "fidelity": args.fidelity, "think": args.think, "rewards": args.reward}
    print_scored(score(args.source, args.output, recipe_path=args.recipe, **choice), args.json)


def _list(args: argparse.Namespace) -> None:
    from rft.commands.list import listing

    print(listing(args.what))


def _init(args: argparse.Namespace) -> None:
    from rft.commands.init import init

    print(init(args.folder))


def _doctor(args: argparse.Namespace) -> int:
    from rft.commands.doctor import doctor

    page, status = doctor()
    print(page)
    return status


def _report(args: argparse.Namespace) -> None:
    from rft.commands.report.report import report

    print(report(args.run_dir))


def _push(args: argparse.Namespace) -> None:
    from rft.commands.push.push import push, upload_to_hub
    from rft.runs.run_dir import RunDir

    print(push(RunDir(args.run_dir), args.name, args.base_model, args.dry_run, upload_to_hub))


def _view(args: argparse.Namespace) -> None:
    from rft.commands.view.server import view

    view(args.run_dirs, args.port)


def _needle(args: argparse.Namespace) -> None:
    from rft.packs.needles.compose import write_needles

    number = write_needles(args.needles, args.haystack, args.frames, args.depths, args.output, args.fps)
    print(f"{args.output}: {number:,} rows in rows.jsonl")


def _parsers() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The parser of the whole command line, and that of each command."""
    parser = argparse.ArgumentParser(prog="rft", description="GRPO for video multimodal language models, by recipe.")
    adder = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = _command(adder, "check", _check, "Report every problem of a recipe at once, else print what it would run.")
    _add_recipe(check)
    text = "also start engine and learner, and compare what they make of some training rows (docs/parity.md)"
    check.add_argument("--deep", action="store_true", help=text)
    text = "estimate what a step would take on such GPUs, which need not be here: H100-SXM, 8xA100-80GB, 4x8xH200"
    check.add_argument("--gpu", metavar="[[Mx]Nx]NAME", help=text)
    train = _command(adder, "train", _train, "Train by a recipe.")
    _add_recipe(train)
    train.add_argument("--resume", action="store_true", help="continue the run in the recipe's run folder")
    text = "with --resume: continue although the file of a reward, task or loss of your own changed"
    train.add_argument("--accept-changed-code", action="store_true", help=text)
    text = "Measure a model, stored completions or baselines on rows, or say how many rows a difference needs."
    evaluation = _command(adder, "eval", measure, text)
    add_eval(evaluation)
    _add_overrides(evaluation)
    _add_score(_command(adder, "score", _score, "Score stored completions, or all of a run's again, without a model."))
    text = (
        "Try a reward on stored completions, begin a new one, or compare one with labels; see docs/write_a_reward.md."
    )
    add_reward(adder.add_parser("reward", help=text, description=text), _command)
    listing = _command(adder, "list", _list, "Show the tasks, rewards, losses, packs, formats and recipes there are.")
    listing.add_argument("what", nargs="?", choices=("tasks", "rewards", "losses", "packs", "formats", "recipes"))
    begin = _command(adder, "init", _init, "Write recipes, an example reward and a Makefile into a folder.")
    begin.add_argument("folder", metavar="FOLDER", type=Path)
    _command(adder, "doctor", _doctor, "Say what this machine has of what a run needs, GPUs included.")
    report = _command(adder, "report", _report, "Sum up a run folder.")
    report.add_argument("run_dir", metavar="RUN_DIR", type=Path)
    view = _command(adder, "view", _view, "Show runs in the browser while they train, side by side where several.")
    view.add_argument("run_dirs", metavar="RUN_DIR", type=Path, nargs="+")
    view.add_argument("--port", type=int, default=8642, help="on 127.0.0.1; 0: any free one; default 8642")
    pushed = _command(adder, "push", _push, "Put the policy of a run, with a card, on the Hugging Face hub.")
    pushed.add_argument("run_dir", metavar="RUN_DIR", type=Path)
    pushed.add_argument("name", metavar="OWNER/MODEL", help="private where it is new")
    text = "hub name for the card; default: the recipe's model, where it is one"
    pushed.add_argument("--base-model", metavar="OWNER/MODEL", help=text)
    text = "write what would be pushed into this folder, and push nothing"
    pushed.add_argument("--dry-run", metavar="DIR", type=Path, help=text)
    text = "Write a data set, convert a published one to rows, or look at rows."
    kinds = add_data(adder.add_parser("data", help=text, description=text), _command)
    _add_needle(_command(kinds, "needle", _needle, "Put images or clips into long videos, with questions about them."))
    return parser, adder.choices


def _command(
    adder: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = adder.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", type=_recipe_path)
    _add_overrides(parser)


def _recipe_path(text: str) -> Path:
    from rft.recipe.shipped import recipe_path

    return recipe_path(text)


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", type=Path, help="JSONL file of completions, or a run folder")
    parser.add_argument("--task", help="of rows that name none; rows that name another are left out")
    parser.add_argument("--fidelity", choices=("as_published", "corrected"), help="whose parser reads the answers")
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


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    text = "recipe keys to set, such as sampling.num_generations=16"
    parser.add_argument("overrides", metavar="key=value", nargs="*", help=text)


def _add_needle(needle: argparse.ArgumentParser) -> None:
    needle.add_argument("needles", metavar="NEEDLES.json", type=Path, help="published form, beside images and clips")
    needle.add_argument("--haystack", metavar="VIDEO", type=Path, nargs="+", required=True, help="joined in this order")
    needle.add_argument("--frames", metavar="N", type=int, nargs="+", required=True, help="lengths, in frames")
    needle.add_argument("--depths", metavar="D", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0])
    needle.add_argument("--fps", type=float, default=1.0, help="frames per second that are taken of the haystack")
    needle.add_argument("-o", "--output", metavar="DIR", type=Path, required=True)


if __name__ == "__main__":
    sys.exit(main())
