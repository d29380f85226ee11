"""Arguments of `rft reward`: what each command takes, and the call it makes."""

import argparse
from collections.abc import Callable
from pathlib import Path


def add_reward(parser: argparse.ArgumentParser, command: Callable[..., argparse.ArgumentParser]) -> None:
    """The commands below `reward`; `command(kinds, name, run, text)` adds one."""
    kinds = parser.add_subparsers(metavar="WHAT", required=True)
    trial = command(kinds, "try", _try_rewards, "Show what rewards make of stored completions, or of a task's example.")
    trial.set_defaults(refuse=trial.error)
    trial.add_argument("rewards", metavar="FILE.py:FUNCTION", nargs="+", help="or a name of `rft list rewards`")
    trial.add_argument("--on", metavar="IN", type=Path, help="run folder, or JSONL file of completions")
    trial.add_argument("--task", help="of rows that name none, others are left out; without --on: whose example")
    trial.add_argument("--groups", metavar="N", type=int, default=256, help="most groups of a task, spread evenly")
    trial.add_argument("--timeout", metavar="S", type=float, default=60.0, help="seconds for a reward on a task")
    _add_judging(trial)
    trial.add_argument("--json", action="store_true", help="print the figures as JSON")
    trial.add_argument("--watch", action="store_true", help="again at every save of the file, until Ctrl-C")
    new = command(kinds, "new", _new_reward, "Write a reward that works, its test, and a recipe that trains with it.")
    new.add_argument("name", metavar="NAME", help="of the function and the files, such as start_distance")
    new.add_argument("--task", required=True, help="whose answers it judges")
    new.add_argument(
        "--folder", metavar="DIR", type=Path, default=Path(), help="of the files; default: the current one"
    )
    agree = command(kinds, "agree", _agree, "Compare a reward, or a judge, with labels that people gave.")
    agree.add_argument("reward", metavar="FILE.py:FUNCTION", help="or a name of `rft list rewards`")
    agree.add_argument("labels", metavar="LABELED.jsonl", type=Path, help="completion, target, label in [0, 1]")
    agree.add_argument("--task", help="of lines that name none; lines that name another are left out")
    agree.add_argument("--threshold", metavar="T", type=float, default=0.5, help="value from which on it says yes")
    agree.add_argument("--seed", type=int, default=0, help="of the intervals")
    _add_judging(agree)
    agree.add_argument("--json", action="store_true", help="print the figures as JSON")


def _add_judging(parser: argparse.ArgumentParser) -> None:
    text = "arguments of the rewards, such as min_iou=0.5"
    parser.add_argument("--args", metavar="KEY=VALUE", nargs="+", action="extend", default=[], help=text)
    parser.add_argument("--limit", metavar="S", type=float, default=5.0, help="seconds for a completion")
    text = "whose judge is started for a reward with --args judge=model; default: that of the run folder"
    parser.add_argument("--recipe", metavar="R", type=Path, help=text)


def _try_rewards(args: argparse.Namespace) -> None:
    if args.on is None and args.task is None:
        args.refuse("give completions with --on, or --task for its example")
    if args.groups < 1 or min(args.timeout, args.limit) <= 0:
        args.refuse("--groups is at least 1, --timeout and --limit above 0")
    from rft.commands.reward.trial import Limits, named_rewards
    from rft.commands.reward.try_rewards import try_on, try_on_example, watch

    if args.watch:
        keys = ("on", "task", "groups", "timeout", "limit", "recipe")
        options = [f"--{key}={getattr(args, key)}" for key in keys if getattr(args, key) is not None]
        more = [*(["--json"] if args.json else []), *(["--args", *args.args] if args.args else [])]
        watch([*args.rewards, *options, *more], args.rewards)
    elif args.on is None:
        rewards = named_rewards(args.rewards, args.args)
        print(try_on_example(rewards, args.task, args.limit, args.json, args.recipe))
    else:
        limits = Limits(args.limit, args.timeout)
        rewards = named_rewards(args.rewards, args.args)
        print(try_on(rewards, args.on, args.task, args.groups, limits, args.json, args.recipe))


def _new_reward(args: argparse.Namespace) -> None:
    from rft.commands.reward.new import write_new

    print(write_new(args.name, args.task, args.folder))


def _agree(args: argparse.Namespace) -> None:
    from rft.commands.reward.agree import agree
    from rft.commands.reward.trial import named_rewards

    (reward,) = named_rewards([args.reward], args.args)
    how = (args.task, args.threshold, args.seed, args.limit, args.json, args.recipe)
    print(agree(reward, args.labels, *how))
