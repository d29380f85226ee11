"""A reward on stored completions, beside what the run gave, the task's metric and the length."""

import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rewards import REWARDS
from rewards.facts import OF_PROMPT, asked_facts
from rewards.types import Score, Target
from rft.commands.check.rewards import misfit_of
from rft.commands.score.stored_facts import group_key, stored_facts
from rft.commands.score.stored_rows import StoredRow, StoredRows
from rft.errors import RewardError, near_name, problem_text, refuse
from rft.evaluation.agreement import Values
from rft.files import read_jsonl
from rft.own_code import short_name
from rft.recipe import RewardRecipe
from rft.recipe.strict_yaml import parse_yaml
from rft.runs.rollout_files import completion_files
from rft.runs.run_dir import RunDir
from rft.scoring.group import WeightedReward, own_reward
from rft.scoring.reward_worker import RewardWorker
from rft.tasks import TASKS
from rft.tasks.types import thought_before

MOST_HANGS = 3
"""Completions that may hang before a reward is given up."""

ITSELF = "the target itself"
"""Beside the answers without the clip: what the reward should pay best."""


class Limits(NamedTuple):
    """Seconds that a reward has."""

    each_s: float
    """For one completion."""
    all_s: float
    """For all completions of a task."""


Groups = tuple[tuple[StoredRow, ...], ...]
"""The completions of each prompt."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Groups that were taken from stored completions."""

    by_task: Mapping[str, Groups]
    num_groups: Mapping[str, int]
    """Task -> number of groups there were to take from."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a reward made of one completion."""

    outcome: Score | str
    """The score, or why there is none."""
    seconds: float

    @property
    def value(self) -> float:
        """NaN where there is no score."""
        return self.outcome.value if isinstance(self.outcome, Score) else float("nan")

    @property
    def note(self) -> str:
        return self.outcome.note if isinstance(self.outcome, Score) else self.outcome


@dataclass(frozen=True, slots=True)
class Trial:
    """One reward on the completions of one task: N of them in groups."""

    name: str
    task: str
    groups: Groups
    judged: tuple[Judged, ...]
    """[N], in the order of the groups."""
    stopped: str
    """Why completions of later groups were not judged; "" where all were."""
    blind: Mapping[str, tuple[float, float]]
    """Answer that needs no clip -> (mean value, mean of the task's main metric) over the prompts."""

    @property
    def rows(self) -> tuple[StoredRow, ...]:
        return tuple(row for group in self.groups for row in group)

    @property
    def values(self) -> Values:
        """[N], NaN where there is no score."""
        return np.array([one.value for one in self.judged])


def named_rewards(names: Sequence[str], args: Sequence[str] = ()) -> list[WeightedReward]:
    """FILE.py:FUNCTION or names of the table. `args`: as KEY=VALUE, each for the rewards that take it.

    Raises RewardError where there is no such reward, or none that takes an argument.
    """
    rewards = [_named_reward(name) for name in names]
    given, problems = {}, []
    for word in args:
        key, equals, text = word.partition("=")
        value = parse_yaml(text)
        if not equals or value.problems:
            problems.append(f"{word}: write KEY=VALUE, such as min_iou=0.5.")
        elif not any(key in signature(reward.fn).parameters for reward in rewards):
            problems.append(f"{key}: no argument of {', '.join(names)}.")
        given[key] = value.data
    if problems:
        raise RewardError(problem_text("--args", problems))
    return [
        replace(reward, args={key: given[key] for key in given if key in signature(reward.fn).parameters})
        for reward in rewards
    ]


def _named_reward(name: str) -> WeightedReward:
    reward = REWARDS.get(name) or own_reward(name)
    if reward is None:
        raise RewardError(f"{name}: unknown reward.{near_name(name, REWARDS)} One of your own: FILE.py:FUNCTION.")
    return WeightedReward(short_name(name), reward)


def read_groups(source: Path, task: str | None, rewards: Sequence[WeightedReward], most: int) -> Stored:
    """At most `most` groups of each task that one of the rewards scores, spread evenly over the file or the run.

    Raises DataError with every line that cannot be read, RewardError for a reward that scores nothing here.
    """
    if source.is_dir():
        RunDir(source).load_tasks()
    reader = StoredRows(task)
    groups: dict[str, dict[tuple[object, ...], list[StoredRow]]] = defaultdict(dict)
    for line in (line for file in completion_files(source) for line in read_jsonl(file, reader.problems)):
        row = reader.read(line)
        if row is not None and row.stored.finish_reason != "error":
            groups[row.task].setdefault(group_key(line) or (str(row.stored.target),), []).append(row)
    if not groups and not reader.problems:
        reader.problems.append(f"{source}: no completions{f' of task {task}' if task else ''}")
    refuse(reader.problems)
    for reward in rewards:
        if not any(fits(reward, of_task) for of_task in groups):
            raise RewardError(f"reward {reward.name} {misfit_of(reward.fn, RewardRecipe(), TASKS[next(iter(groups))])}")
    kept = [of_task for of_task in groups if any(fits(reward, of_task) for reward in rewards)]
    return Stored(
        {of_task: _spread([tuple(group) for group in groups[of_task].values()], most) for of_task in kept},
        {of_task: len(groups[of_task]) for of_task in kept},
    )


def fits(reward: WeightedReward, task: str) -> bool:
    """Whether a reward can score the targets of a task."""
    return not misfit_of(reward.fn, RewardRecipe(args=dict(reward.args)), TASKS[task])


def _spread(groups: Sequence[tuple[StoredRow, ...]], most: int) -> Groups:
    """At most `most` of the groups, evenly from first to last; in drawn order, so that the first ones are so too."""
    number = min(most, len(groups))
    taken = [groups[i * len(groups) // number] for i in range(number)]
    random.Random(0).shuffle(taken)
    return tuple(taken)


def try_reward(reward: WeightedReward, task: str, groups: Groups, limits: Limits, worker: RewardWorker) -> Trial:
    """Judge the groups in the reward process, as long as the limits allow; what is left then is not judged."""
    deadline = time.monotonic() + limits.all_s
    judged: list[Judged] = []
    done, stopped, num_hangs = 0, "", 0
    judge_rows(reward, groups[0][:1], limits.each_s, worker)  # the start of the process is no completion's time
    for group in groups:
        if time.monotonic() > deadline:
            stopped = f"{limits.all_s:g} s were over"
            break
        of_group = judge_rows(reward, group, limits.each_s, worker)
        judged += of_group
        done += 1
        num_hangs += sum(isinstance(one.outcome, str) and one.seconds > limits.each_s for one in of_group)
        if num_hangs >= MOST_HANGS:
            stopped = f"{num_hangs} completions took longer than {limits.each_s:g} s"
            break
    blind = {} if stopped else _blind(reward, task, groups[:done], limits.each_s, worker)
    return Trial(reward.name, task, tuple(groups[:done]), tuple(judged), stopped, blind)


def judge_rows(reward: WeightedReward, rows: Sequence[StoredRow], limit_s: float, worker: RewardWorker) -> list[Judged]:
    """Stored completions, those of a prompt all together, with the facts that the reward asks for."""
    return [
        Judged(f"{reward.name} {facts}", 0.0)
        if isinstance(facts, str)
        else judge_text(reward, row.stored.completion, row.target, limit_s, worker, facts)
        for row, facts in zip(rows, stored_facts(reward.fn, rows), strict=True)
    ]


def judge_text(
    reward: WeightedReward,
    text: str,
    target: Target,
    limit_s: float,
    worker: RewardWorker,
    facts: Mapping[str, Any] | None = None,
) -> Judged:
    """One completion, alone, so that its time is known and a hang costs no other."""
    began = time.monotonic()
    (outcome,) = worker.judge(reward.fn, [text], target, reward.args, limit_s, [facts] if facts else ())
    return Judged(outcome, time.monotonic() - began)


def _blind(
    reward: WeightedReward, task: str, groups: Groups, limit_s: float, worker: RewardWorker
) -> dict[str, tuple[float, float]]:
    """Answers written without the clip, and the target itself; {} for a reward that asks for what only a policy makes.

    An answer that could not be judged makes the mean NaN.
    """
    if set(asked_facts(reward.fn)) - OF_PROMPT:
        return {}
    first = [group[0] for group in groups]
    facts = [one if isinstance(one, dict) else {} for one in stored_facts(reward.fn, first)]
    targets = [row.target for row in first]
    answers = {ITSELF: [target.written() for target in targets]}
    answers |= TASKS[task].baselines(targets, [(target, target.duration_s) for target in targets])
    answers["an empty text"] = [""] * len(first)
    means = {}
    for name, tags in answers.items():
        texts = [thought_before(text) if text else "" for text in tags]
        values = [
            judge_text(reward, text, row.target, limit_s, worker, of_row).value
            for text, row, of_row in zip(texts, first, facts, strict=True)
        ]
        means[name] = (
            float(np.mean(values)),
            float(np.mean([metric_of(task, *pair) for pair in zip(texts, first, strict=True)])),
        )
    return means


def metric_of(task: str, text: str, row: StoredRow) -> float:
    """Value of a completion in the task's main metric."""
    return TASKS[task].measure(text, row.target)[TASKS[task].main_metric]
