"""Scores stored completions: the rows of a JSONL file, or all rollouts of a run folder. One pass, no model, no GPU."""

import functools
import inspect
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from rewards import RewardFn
from rewards.judge import JudgeError
from rewards.types import RowFacts, Score, Target, fault_of
from rft.commands.score.reward_choice import RewardChoice, score_names
from rft.commands.score.tally import Tally
from rft.errors import NAMED_PROBLEMS, DataError, RewardError, listed, near_name
from rft.evaluation.stored import StoredCompletion, stored_completion
from rft.files import JsonLine
from rft.recipe import Recipe
from rft.recipe.own_file import comes_from_own_file
from rft.scoring.group import WeightedReward, weighted_reward
from rft.scoring.reward_worker import shared_worker
from rft.tasks import TASKS
from rft.tasks.types import FORMS

CHUNK = 64
"""Rows in memory at one time, and so the most that one reward may judge side by side."""

_Ready = tuple[JsonLine, StoredCompletion, str, Target]
"""(line, what it holds, task, target)."""


class Scorer:
    """Rows in, scored rows out; counts on the way."""

    def __init__(self, recipe: Recipe, choice: RewardChoice, task: str | None) -> None:
        if task is not None and task not in TASKS:
            raise DataError(f"--task: unknown task {task!r}.{near_name(task, TASKS)}")
        self._recipe, self._choice, self._task = recipe, choice, task
        self._needs_tokens = bool(recipe.scoring.overlong_buffer or recipe.scoring.length_bonus)
        self._rewards: dict[str, tuple[WeightedReward, ...]] = {}
        self._weights: dict[str, dict[str, float]] = {}
        self._names: dict[str, dict[str, str]] = {}
        self._latest: tuple[object, Target | None] = (None, None)
        self.problems: list[str] = []
        self.tallies: dict[str, Tally] = {}
        self.left_out = 0

    def rows(self, lines: Iterable[JsonLine]) -> Iterator[tuple[JsonLine, dict[str, Any]]]:
        """(line, its scores) of each row of the task. Problems of lines are added to `problems`."""
        lines = iter(lines)
        while chunk := list(islice(lines, CHUNK)):
            ready = [one for line in chunk if (one := self._ready(line))]
            for (line, stored, task, _), scores in zip(ready, self._scores(ready), strict=True):
                yield line, self._scored(stored, task, scores)

    def finish(self, source: Path) -> None:
        """Raises DataError where anything could not be scored, or there was nothing."""
        if not self.problems and not self.tallies:
            others = f" of task {self._task}; {self.left_out:,} rows are of others" if self.left_out else ""
            self.problems.append(f"{source}: no completions{others}")
        if self.problems:
            raise DataError(listed(self.problems, NAMED_PROBLEMS))

    def _ready(self, line: JsonLine) -> _Ready | None:
        """The completion with its task and target; None where it is of another task, or with its problems noted."""
        of_line = line.value.get("task") or self._task
        if self._task is not None and of_line != self._task:
            self.left_out += 1
            return None
        task = self._known_task(line, of_line)
        stored = stored_completion(line, self.problems) if task else None
        target = self._target(line, stored, task) if stored and task else None
        return (line, stored, task, target) if stored and task and target else None

    def _known_task(self, line: JsonLine, task: object) -> str | None:
        """The task, whose rewards are looked up at the first row; None with the problem noted."""
        if task is None:
            self.problems.append(f"{line.where}: task: missing. Say which with --task.")
            return None
        if not isinstance(task, str) or task not in TASKS:
            self.problems.append(f"{line.where}: unknown task {task!r}.{near_name(str(task), TASKS)}")
            return None
        if task not in self._rewards:
            rewards = self._choice.of(task, self._recipe)
            self._rewards[task] = rewards
            self._weights[task] = {reward.name: reward.weight for reward in rewards}
            self._names[task] = score_names([reward.name for reward in rewards])
            self.tallies[task] = Tally(self._names[task], self._weights[task], FORMS)
        return task

    def _target(self, line: JsonLine, stored: StoredCompletion, task: str) -> Target | None:
        """The target of a completion; None with its problems noted."""
        if self._needs_tokens and stored.num_tokens is None:
            self.problems.append(f"{line.where}: num_tokens: missing, but the recipe has a length rule")
            return None
        # The completions of one prompt mostly stand together.
        of_prompt = (task, stored.target, stored.duration_s)
        if self._latest[0] != of_prompt:
            try:
                target = TASKS[task].read_target(stored.target or {}, RowFacts(stored.duration_s))
            except ValueError as error:
                self.problems.append(f"{line.where}: target: {error}")
                return None
            self._latest = (of_prompt, target)
        return self._latest[1]

    def _scores(self, ready: Sequence[_Ready]) -> list[dict[str, Score]]:
        """Reward name -> score, for each row; {} where the completion failed."""
        scores: list[dict[str, Score]] = [{} for _ in ready]
        for task in dict.fromkeys(task for _, _, task, _ in ready):
            judged = [i for i, (_, one, of, _) in enumerate(ready) if of == task and one.finish_reason != "error"]
            pairs = [(ready[i][1].completion, ready[i][3]) for i in judged]
            for reward in self._rewards[task]:
                outcomes = outcomes_of(reward, pairs, self._recipe.scoring.reward_timeout_s)
                for i, outcome in zip(judged, outcomes, strict=True):
                    if isinstance(outcome, Score):
                        scores[i][reward.name] = outcome
                    else:
                        self.problems.append(f"{ready[i][0].where}: reward {reward.name}: {outcome}")
        return scores

    def _scored(self, stored: StoredCompletion, task: str, scores: dict[str, Score]) -> dict[str, Any]:
        """Output keys of one completion; adds it to the tally."""
        reason, num_tokens = stored.finish_reason or "stop", stored.num_tokens or 0
        scoring, limit = self._recipe.scoring, self._recipe.sampling.max_completion_length
        reward, problem = weighted_reward(scores, self._weights[task], reason, num_tokens, scoring, limit)
        fault, names = fault_of(scores), self._names[task]
        self.tallies[task].add(stored.completion, reason, scores, reward, fault, problem)
        values, notes, answer = {}, {}, None
        for reward_name, score in scores.items():
            name = names[reward_name]
            values[name], notes[name] = score.value, score.note
            answer = score.answer if answer is None else answer
        return {
            "scores": values,
            "notes": notes,
            "answer": answer,
            "reward": reward,
            "fault": fault,
            "problem": problem,
        }


def outcomes_of(reward: WeightedReward, pairs: Sequence[tuple[str, Target]], limit_s: float) -> Sequence[Score | str]:
    """One Score per (completion, target), or what is wrong with the row.

    A reward out of a user's file runs in the reward process, `limit_s` for each completion; one that has
    `concurrency` judges so many at the same time. Raises RewardError where a reward cannot judge.
    """
    if comes_from_own_file(reward.fn):
        outcomes = [shared_worker().judge(reward.fn, [text], target, reward.args, limit_s)[0] for text, target in pairs]
        failed = next((outcome for outcome in outcomes if isinstance(outcome, str)), None)
        if failed:
            raise RewardError(f"reward {reward.name}: {failed}")
        return outcomes

    def judged(pair: tuple[str, Target]) -> Score | str:
        try:
            return reward.fn(*pair, **reward.args)
        except ValueError as error:
            return str(error)

    try:
        parameter = _concurrency(reward.fn)
        if parameter is None:
            return [judged(pair) for pair in pairs]
        with ThreadPoolExecutor(reward.args.get("concurrency", parameter.default)) as threads:
            return list(threads.map(judged, pairs))
    except JudgeError as error:
        raise RewardError(f"reward {reward.name}: {error}") from error


@functools.cache
def _concurrency(fn: RewardFn) -> inspect.Parameter | None:
    return inspect.signature(fn).parameters.get("concurrency")
