"""`rft reward try`: rewards on stored completions or on a task's example, once or at every save."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rft.commands.check.own_code import example_facts
from rft.commands.reward.answers import example_answers
from rft.commands.reward.figures import side_of, to_json
from rft.commands.reward.judge import with_judge_of
from rft.commands.reward.page import TEXT, drawn, end_of, number, trial_page
from rft.commands.reward.trial import Limits, Stored, fits, judge_text, read_groups, try_reward
from rft.errors import RewardError
from rft.own_code import is_own
from rft.scoring.group import WeightedReward
from rft.scoring.reward_worker import RewardWorker
from rft.tasks import TASKS, requested_task

POLL_S = 0.3
"""Seconds between two looks at the files."""


def try_on(
    rewards: Sequence[WeightedReward],
    source: Path,
    task: str | None,
    most: int,
    limits: Limits,
    as_json: bool,
    recipe: Path | None = None,
) -> str:
    """The rewards on stored completions, task by task; `most`: groups of a task, `limits`: of each reward.

    `recipe`: whose judge they ask, as of `with_judge_of`. Raises DataError for completions that cannot be read,
    RewardError for rewards that cannot be used.
    """
    stored = read_groups(source, task, rewards, most)
    with with_judge_of(recipe, source, rewards) as asking:
        return _tried(asking, stored, source, limits, as_json)


def _tried(rewards: Sequence[WeightedReward], stored: Stored, source: Path, limits: Limits, as_json: bool) -> str:
    worker, figures, pages = RewardWorker(), {}, []
    for of_task, groups in stored.by_task.items():
        side, number_stored = side_of(of_task, groups), stored.num_groups[of_task]
        fitting = [reward for reward in rewards if fits(reward, of_task)]
        trials = [try_reward(reward, of_task, groups, limits, worker) for reward in fitting]
        if as_json:
            figures[of_task] = to_json(of_task, trials, side, number_stored)
        else:
            pages.append(trial_page(of_task, trials, side, number_stored, str(source)))
    return json.dumps(figures, indent=1) if as_json else "\n\n\n".join(pages)


def try_on_example(
    rewards: Sequence[WeightedReward], task: str, limit_s: float, as_json: bool, recipe: Path | None = None
) -> str:
    """The rewards on answers to a task's example: right, half right, wrong, blind, malformed. `recipe`: as above."""
    task = requested_task(task)
    for reward in rewards:
        if not fits(reward, task):
            raise RewardError(f"reward {reward.name} cannot score task {task}; see `rft list rewards`")
    with with_judge_of(recipe, Path(), rewards) as asking:
        return _tried_on_example(asking, task, limit_s, as_json)


def _tried_on_example(rewards: Sequence[WeightedReward], task: str, limit_s: float, as_json: bool) -> str:
    target, worker = TASKS[task].target(TASKS[task].example), RewardWorker()
    metric = TASKS[task].main_metric
    answers = example_answers(TASKS[task])
    facts = {one.name: example_facts(one.fn, TASKS[task], [*answers.values()]) for one in rewards}
    lines, figures = [], {}
    for place, (kind, text) in enumerate(answers.items()):
        judged = {
            reward.name: judge_text(reward, text, target, limit_s, worker, *facts[reward.name][place : place + 1])
            for reward in rewards
        }
        measured = TASKS[task].measure(text, target)[metric]
        figures[kind] = {
            "text": text,
            metric: measured,
            "rewards": {
                name: {
                    "value": None if one.value != one.value else one.value,
                    "note": one.note,
                    "ms": 1000 * one.seconds,
                }
                for name, one in judged.items()
            },
        }
        values = [number(one.value) for one in judged.values()]
        notes = "; ".join(one.note for one in judged.values())
        lines.append((kind, *values, number(measured), end_of(text.rpartition("</think>")[2], 33), ascii(notes)[1:-1]))
    if as_json:
        return json.dumps(figures, indent=1)
    title = f"{task}: answers to its example, whose target is {json.dumps(target.to_json())}"
    return drawn(title, ("answer", *(reward.name for reward in rewards), metric, TEXT, "note"), lines)


def watch(arguments: Sequence[str], names: Sequence[str]) -> None:
    """`rft reward try` with these arguments, again at every save of the rewards' files, until Ctrl-C.

    Each round is a process of its own, so that it has the code as saved, the files' own imports included; one that
    still runs at the next save is ended.
    """
    if "judge=model" in arguments and not any(word.startswith("judge_url=") for word in arguments):
        raise RewardError("--watch: a judge would start again at every save. Serve it, and give --args judge_url=...")
    files = [Path(name.rpartition(":")[0]).expanduser() for name in names if is_own(name)]
    if not files:
        raise RewardError("--watch: give a reward in a file of your own, as FILE.py:FUNCTION")
    seen: list[int | None] = []
    round_: subprocess.Popen[bytes] | None = None
    try:
        while True:
            # An editor may take a file away for a moment while it saves it.
            saved = [file.stat().st_mtime_ns if file.exists() else None for file in files]
            if saved != seen and (None not in saved or not seen):
                seen = saved
                if round_ is not None:
                    round_.kill()
                    round_.wait()
                print(f"--- {time.strftime('%H:%M:%S')} {', '.join(map(str, files))}", flush=True)
                round_ = subprocess.Popen([sys.executable, "-m", "rft", "reward", "try", *arguments])
            time.sleep(POLL_S)
    finally:
        if round_ is not None:
            round_.kill()
            round_.wait()
