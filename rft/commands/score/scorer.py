"""Scores stored completions: the rows of a JSONL file, or all rollouts of a run folder. One pass, no model, no GPU."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from rewards.judge import JudgeError
from rewards.types import Score, Target, fault_of
from rft.commands.score.reward_choice import RewardChoice
from rft.commands.score.tally import FAILURES, Tally
from rft.errors import NAMED_PROBLEMS, DataError, RewardError, listed, near_name
from rft.evaluation.stored import StoredCompletion, stored_completion
from rft.files import JsonLine
from rft.recipe import Recipe
from rft.recipe.own_file import comes_from_own_file
from rft.scoring.group import WeightedReward, weighted_reward
from rft.scoring.reward_worker import num_threads, shared_worker
from rft.tasks import TASKS

CHUNK = 64
"""Rows in memory at one time, and so the most that one reward may judge side by side."""

_Ready = tuple[JsonLine, StoredCompletion, Tally, Target]
"""(line, what it holds, tally of its task, target)."""


class Scorer:
    """Rows in, scored rows out; counts on the way."""

    def __init__(self, recipe: Recipe, choice: RewardChoice, task: str | None) -> None:
        if task is not None and task not in TASKS:
            raise DataError(f"--task: unknown task {task!r}.{near_name(task, TASKS)}")
        self._recipe, self._choice, self._task = recipe, choice, task
        self._needs_tokens = bool(recipe.scoring.overlong_buffer or recipe.scoring.length_bonus)
        self._latest: tuple[object, Target | None] = (None, None)
        self.problems: list[str] = []
        self.tallies: dict[str, Tally] = {}
        """Sums over the scored rows, by task."""
        self.left_out = 0
        """Rows of other tasks than the requested one."""

    def rows(self, lines: Iterable[JsonLine]) -> Iterator[tuple[JsonLine, dict[str, Any]]]:
        """(line, its scores) of each row of the task. Problems of lines are added to `problems`."""
        lines = iter(lines)
        while chunk := list(islice(lines, CHUNK)):
            ready = [one for line in chunk if (one := self._ready(line))]
            for (line, stored, tally, _), scores in zip(ready, self._scores(ready), strict=True):
                yield line, self._scored(stored, tally, scores)

    def finish(self, source: Path) -> None:
        """Raises DataError where anything could not be scored, or there was nothing."""
        if not self.problems and not self.tallies:
            others = f" of task {self._task}; {self.left_out:,} rows are of others" if self.left_out else ""
            self.problems.append(f"{source}: no completions{others}")
        if self.problems:
            raise DataError(listed(self.problems, NAMED_PROBLEMS))

    def to_json(self) -> dict[str, Any]:
        """{"rows", "left_out", "fidelity", "faults": {kind: number}, "tasks": {task: as Tally.to_json}}."""
        tasks = {task: tally.to_json() for task, tally in self.tallies.items()}
        return {
            "rows": sum(map(len, self.tallies.values())),
            "left_out": self.left_out,
            "fidelity": self._recipe.fidelity,
            "faults": {kind: sum(of_task["faults"][kind] for of_task in tasks.values()) for kind in FAILURES},
            "tasks": tasks,
        }

    def _ready(self, line: JsonLine) -> _Ready | None:
        """The completion with its task and target; None where it is of another task, or with its problems noted."""
        task = line.value.get("task") or self._task
        if self._task is not None and task != self._task:
            self.left_out += 1
            return None
        try:
            tally = self._tally(task)
            stored = stored_completion(line, self.problems)
            return (line, stored, tally, self._target(stored, tally.task)) if stored else None
        except ValueError as error:
            self.problems.append(f"{line.where}: {error}")
            return None

    def _tally(self, task: Any) -> Tally:
        """Tally of a task, whose rewards are looked up at its first row. ValueError: no task goes by that name."""
        if task is None:
            raise ValueError("task: missing. Say which with --task.")
        if not isinstance(task, str) or task not in TASKS:
            raise ValueError(f"unknown task {task!r}.{near_name(str(task), TASKS)}")
        if task not in self.tallies:
            self.tallies[task] = Tally(task, self._choice.of(task, self._recipe))
        return self.tallies[task]

    def _target(self, stored: StoredCompletion, task: str) -> Target:
        """The target of a completion. ValueError: it is not the task's, or a length rule lacks the length."""
        if self._needs_tokens and stored.num_tokens is None:
            raise ValueError("num_tokens: missing, but the recipe has a length rule")
        # The completions of one prompt mostly stand together.
        of_prompt = (task, stored.target, stored.duration_s)
        if self._latest[1] is None or self._latest[0] != of_prompt:
            try:
                target = TASKS[task].read_target(stored.target or {}, duration_s=stored.duration_s)
            except ValueError as error:
                raise ValueError(f"target: {error}") from error
            self._latest = (of_prompt, target)
            return target
        return self._latest[1]

    def _scores(self, ready: Sequence[_Ready]) -> list[dict[str, Score]]:
        """Reward name -> score, for each row; {} where the completion failed."""
        scores: list[dict[str, Score]] = [{} for _ in ready]
        for tally in dict.fromkeys(tally for _, _, tally, _ in ready):
            judged = [i for i, (_, one, of, _) in enumerate(ready) if of is tally and one.finish_reason != "error"]
            pairs = [(ready[i][1].completion, ready[i][3]) for i in judged]
            for reward in tally.rewards:
                outcomes = outcomes_of(reward, pairs, self._recipe.scoring.reward_timeout_s)
                for i, outcome in zip(judged, outcomes, strict=True):
                    if isinstance(outcome, Score):
                        scores[i][reward.name] = outcome
                    else:
                        self.problems.append(f"{ready[i][0].where}: reward {reward.name}: {outcome}")
        return scores

    def _scored(self, stored: StoredCompletion, tally: Tally, scores: dict[str, Score]) -> dict[str, Any]:
        """Output keys of one completion; adds it to the tally."""
        reason, num_tokens = stored.finish_reason or "stop", stored.num_tokens or 0
        scoring, limit = self._recipe.scoring, self._recipe.sampling.max_completion_length
        reward, problem = weighted_reward(scores, tally.weights, reason, num_tokens, scoring, limit)
        fault = fault_of(scores)
        tally.add(stored.completion, reason, scores, reward, fault, problem)
        return {
            "scores": {tally.names[name]: score.value for name, score in scores.items()},
            "notes": {tally.names[name]: score.note for name, score in scores.items()},
            "answer": next((score.answer for score in scores.values() if score.answer is not None), None),
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

    threads = num_threads(reward.fn, reward.args)
    if isinstance(threads, str):
        raise RewardError(f"reward {reward.name}: {threads}")
    try:
        if threads == 1:
            return [judged(pair) for pair in pairs]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(judged, pairs))
    except JudgeError as error:
        raise RewardError(f"reward {reward.name}: {error}") from error
