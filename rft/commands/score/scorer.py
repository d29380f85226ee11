"""Scores stored completions: the rows of a JSONL file, or all rollouts of a run folder. One pass, no model, no GPU."""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from rewards.judge import JudgeError
from rewards.types import RowFacts, Score, Target, fault_of
from rft.commands.score.reward_choice import RewardChoice, score_names
from rft.commands.score.rows import Row, Stored
from rft.commands.score.tally import Tally
from rft.errors import DataError, RewardError
from rft.problems import NAMED_PROBLEMS, listed, near_name
from rft.recipe import Recipe
from rft.recipe.own_file import comes_from_own_file
from rft.scoring.group import WeightedReward, weighted_reward
from rft.scoring.reward_worker import shared_worker
from rft.tasks import TASKS
from rft.tasks.types import FORMS

CHUNK = 64
"""Rows in memory at one time, and so the most that one reward may judge side by side."""

_Ready = tuple[Stored, str, Target]
"""(row, task, truth)."""


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

    def rows(self, stored: Iterable[Stored]) -> Iterator[tuple[Stored, Row]]:
        """Each row with what was found. What is wrong with others is added to `problems`."""
        stored = iter(stored)
        while chunk := list(islice(stored, CHUNK)):
            ready = [found for line in chunk if (found := self._ready(line))]
            for (line, task, _), scores in zip(ready, self._scores(ready), strict=True):
                yield line, self._found(line[1], task, scores)

    def finish(self, source: Path) -> None:
        """Raises DataError where anything could not be scored, or there was nothing."""
        if not self.problems and not self.tallies:
            others = f" of task {self._task}; {self.left_out:,} rows are of others" if self.left_out else ""
            self.problems.append(f"{source}: no completions{others}")
        if self.problems:
            raise DataError(listed(self.problems, NAMED_PROBLEMS))

    def _ready(self, stored: Stored) -> _Ready | None:
        """The row with its task and truth; None where it is of another task, or with its problems noted."""
        where, row, _ = stored
        of_row = row.get("task") or self._task
        if self._task is not None and of_row != self._task:
            self.left_out += 1
            return None
        task = self._known_task(where, of_row)
        target = self._target(where, row, task) if task else None
        return (stored, task, target) if task and target else None

    def _known_task(self, where: str, task: object) -> str | None:
        """The task, whose rewards are looked up at the first row; None with the problem noted."""
        if task is None:
            self.problems.append(f"{where}: task: missing. Say which with --task.")
            return None
        if not isinstance(task, str) or task not in TASKS:
            self.problems.append(f"{where}: unknown task {task!r}.{near_name(str(task), TASKS)}")
            return None
        if task not in self._rewards:
            rewards = self._choice.of(task, self._recipe)
            self._rewards[task] = rewards
            self._weights[task] = {reward.name: reward.weight for reward in rewards}
            self._names[task] = score_names([reward.name for reward in rewards])
            self.tallies[task] = Tally(self._names[task], self._weights[task], FORMS)
        return task

    def _target(self, where: str, row: Row, task: str) -> Target | None:
        """The truth of a row; None with its problems noted."""
        problems = []
        if not isinstance(row.get("completion"), str):
            problems.append("completion: no text" if "completion" in row else "completion: missing")
        data, duration_s = row.get("target"), row.get("duration_s")
        if duration_s is not None and not (type(duration_s) in (int, float) and duration_s > 0):
            problems.append(f"duration_s: {duration_s!r} is not a number of seconds above 0")
            duration_s = None
        # The completions of one prompt mostly stand together.
        known, target = self._latest
        if known != (task, data, duration_s):
            target = None
            try:
                target = TASKS[task].read_target({} if data is None else data, RowFacts(duration_s))
                self._latest = ((task, data, duration_s), target)
            except ValueError as error:
                problems.append(f"target: {error}")
        if self._needs_tokens and type(row.get("num_tokens")) is not int:
            problems.append("num_tokens: missing, but the recipe has a length rule")
        self.problems += [f"{where}: {problem}" for problem in problems]
        return None if problems else target

    def _scores(self, ready: Sequence[_Ready]) -> list[dict[str, Score]]:
        """Reward name -> score, for each row; {} where the completion failed."""
        scores: list[dict[str, Score]] = [{} for _ in ready]
        for task in dict.fromkeys(task for _, task, _ in ready):
            judged = [
                i for i, ((_, row, _), of, _) in enumerate(ready) if of == task and row.get("finish_reason") != "error"
            ]
            pairs = [(ready[i][0][1]["completion"], ready[i][2]) for i in judged]
            for reward in self._rewards[task]:
                outcomes = outcomes_of(reward, pairs, self._recipe.scoring.reward_timeout_s)
                for i, outcome in zip(judged, outcomes, strict=True):
                    if isinstance(outcome, Score):
                        scores[i][reward.name] = outcome
                    else:
                        self.problems.append(f"{ready[i][0][0]}: reward {reward.name}: {outcome}")
        return scores

    def _found(self, row: Row, task: str, scores: dict[str, Score]) -> Row:
        """What the output says of a row, counted."""
        reason = row.get("finish_reason") or "stop"
        reward, problem = weighted_reward(scores, self._weights[task], reason, row.get("num_tokens") or 0, self._recipe)
        fault, names = fault_of(scores), self._names[task]
        self.tallies[task].add(row["completion"], reason, scores, reward, fault, problem)
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
    `concurrency` judges so many side by side. Raises RewardError where a reward cannot judge.
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
        parameter = inspect.signature(reward.fn).parameters.get("concurrency")
        if parameter is None:
            return [judged(pair) for pair in pairs]
        with ThreadPoolExecutor(reward.args.get("concurrency", parameter.default)) as threads:
            return list(threads.map(judged, pairs))
    except JudgeError as error:
        raise RewardError(f"reward {reward.name}: {error}") from error
