"""Scores stored completions: the rows of a JSONL file, or all rollouts of a run folder. One pass, no model, no GPU."""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from inspect import iscoroutinefunction
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from rewards import rewards_of
from rewards.facts import asked_facts
from rewards.judge import JudgeError
from rewards.types import Fidelity, Score, Target, fault_of
from rft.commands.score.reward_choice import RewardChoice, reward_choice
from rft.commands.score.stored_facts import group_key, stored_facts, whole_groups
from rft.commands.score.stored_rows import StoredRow, StoredRows
from rft.commands.score.tally import FAILURES, Tally
from rft.errors import RecipeError, RewardError, problem_text, refuse
from rft.evaluation.predictions import StoredCompletion
from rft.files import GIVE_ANOTHER, JsonLine, read_jsonl, replace_file, writing
from rft.own_code import comes_from_own_file
from rft.recipe import Recipe, TaskRecipe
from rft.recipe.load import parse_recipe, read_recipe
from rft.runs.rollout_files import completion_files
from rft.runs.run_dir import RunDir
from rft.scoring.group import WeightedReward, weighted_reward
from rft.scoring.judge import asking_rewards
from rft.scoring.reward_worker import num_threads, shared_worker
from rft.tables import plain

WRITE_BUFFER = 1 << 20
"""Bytes handed to the disk at one time."""

_encode = json.JSONEncoder(check_circular=False).encode
"""Rows come out of JSON: they hold no circles."""

_encode_fast = msgspec.json.Encoder().encode
"""Seven times as fast; refuses half of a surrogate pair."""

CHUNK = 64
"""Rows in memory at one time, and so the most that one reward may judge side by side."""

SCORING_KEYS = ("tasks", "scoring", "sampling", "fidelity", "judge")
"""Sections of a recipe that decide what a completion earns."""

NO_RECIPE = "{model: none, tasks: {}, data: {train: []}, steps: 1}"


_Ready = tuple[StoredRow, Tally]
"""(row, tally of its task)."""


class Scorer:
    """Rows in, scored rows out; counts on the way."""

    def __init__(self, recipe: Recipe, choice: RewardChoice, task: str | None) -> None:
        self._recipe, self._choice, self._reader = recipe, choice, StoredRows(task)
        self._needs_tokens = bool(recipe.scoring.overlong_buffer or recipe.scoring.length_bonus)
        self.problems = self._reader.problems
        self.tallies: dict[str, Tally] = {}
        """Sums over the scored rows, by task."""
        self._seen: set[tuple[object, ...]] = set()
        """Keys of the groups that a reward has seen, where one asks for them."""

    @property
    def left_out(self) -> int:
        """Rows of other tasks than the requested one."""
        return self._reader.left_out

    def rows(self, lines: Iterable[JsonLine]) -> Iterator[tuple[JsonLine, dict[str, Any]]]:
        """(line, its scores) of each row of the task. Problems of lines are added to `problems`."""
        for chunk in whole_groups(iter(lines), CHUNK):
            ready = [one for line in chunk if (one := self._ready(line))]
            for (row, tally), scores in zip(ready, self._scores(ready), strict=True):
                yield row.line, self._scored(row.stored, tally, scores)

    def finish(self, source: Path) -> None:
        """Raises DataError where anything could not be scored, or there was nothing."""
        if not self.problems and not self.tallies:
            others = f" of task {self._reader.task}; {self.left_out:,} rows are of others" if self.left_out else ""
            self.problems.append(f"{source}: no completions{others}")
        refuse(self.problems)

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
        """The row with the tally of its task, whose rewards are looked up at its first row; None where it has none."""
        row = self._reader.read(line)
        if row is None:
            return None
        if self._needs_tokens and row.stored.num_tokens is None:
            self.problems.append(f"{line.where}: num_tokens: missing, but the recipe has a length rule")
            return None
        if row.task not in self.tallies:
            self.tallies[row.task] = Tally(row.task, self._choice.of(row.task, _with_task(self._recipe, row.task)))
        return row, self.tallies[row.task]

    def _scores(self, ready: Sequence[_Ready]) -> list[dict[str, Score]]:
        """Reward name -> score, for each row; {} where the completion failed."""
        scores: list[dict[str, Score]] = [{} for _ in ready]
        for tally in dict.fromkeys(tally for _, tally in ready):
            judged = [i for i, (row, of) in enumerate(ready) if of is tally and row.stored.finish_reason != "error"]
            pairs = [(ready[i][0].stored.completion, ready[i][0].target) for i in judged]
            facts = self._facts(tally, [ready[i][0] for i in judged])
            for reward in tally.rewards:
                outcomes = outcomes_of(reward, pairs, self._recipe.scoring.reward_timeout_s, facts.get(reward.name, ()))
                for i, outcome in zip(judged, outcomes, strict=True):
                    if isinstance(outcome, Score):
                        scores[i][reward.name] = outcome
                    else:
                        self.problems.append(f"{ready[i][0].line.where}: reward {reward.name}: {outcome}")
        return scores

    def _facts(self, tally: Tally, rows: Sequence[StoredRow]) -> dict[str, Sequence[Mapping[str, Any]]]:
        """Reward -> the facts that it asks for, of each row. Raises RewardError where a line does not hold one."""
        asking = {reward.name: reward.fn for reward in tally.rewards if asked_facts(reward.fn)}
        if any("group" in asked_facts(fn) for fn in asking.values()):
            keys = {key for row in rows if (key := group_key(row.line)) is not None}
            if again := keys & self._seen:
                raise RewardError(f"completions of {again.pop()[2]} do not stand together. Sort the lines by prompt.")
            self._seen |= keys
        facts: dict[str, Sequence[Mapping[str, Any]]] = {}
        for name, fn in asking.items():
            found = stored_facts(fn, rows)
            for row, problem in zip(rows, found, strict=True):
                if isinstance(problem, str):
                    raise RewardError(f"{row.line.where}: reward {name} {problem}")
            held = [one for one in found if not isinstance(one, str)]
            facts[name] = held if any(held) else ()
        return facts

    def _scored(self, stored: StoredCompletion, tally: Tally, scores: dict[str, Score]) -> dict[str, Any]:
        """Output keys of one completion; adds it to the tally."""
        reason, num_tokens = stored.finish_reason or "stop", stored.num_tokens or 0
        scoring, limit = self._recipe.scoring, self._recipe.sampling.max_completion_length
        reward, problem = weighted_reward(scores, tally.weights, reason, num_tokens, scoring, limit)
        fault = fault_of(scores)
        tally.add(stored.completion, reason, scores, reward, fault, problem)
        # One loop, because three are slower: this is run for every row.
        values, notes, answer = {}, {}, None
        for reward_name, score in scores.items():
            name = tally.names[reward_name]
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


def outcomes_of(
    reward: WeightedReward,
    pairs: Sequence[tuple[str, Target]],
    limit_s: float,
    facts: Sequence[Mapping[str, Any]] = (),
) -> Sequence[Score | str]:
    """One Score per (completion, target), or what is wrong with the row.

    A reward out of a user's file, or one that is `async` or asks for `facts`, runs in the reward process, `limit_s` for
    each completion. One that has `concurrency` judges so many at the same time. RewardError: a reward cannot judge.
    """
    threads = num_threads(reward.fn, reward.args)
    if isinstance(threads, str):
        raise RewardError(f"reward {reward.name}: {threads}")
    if facts or comes_from_own_file(reward.fn) or iscoroutinefunction(reward.fn):
        return _outcomes_of_worker(reward, pairs, limit_s, facts, threads)

    def judged(pair: tuple[str, Target]) -> Score | str:
        try:
            return reward.fn(*pair, **reward.args)
        except ValueError as error:
            return str(error)

    try:
        if threads == 1:
            return [judged(pair) for pair in pairs]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(judged, pairs))
    except JudgeError as error:
        raise RewardError(f"reward {reward.name}: {error}") from error


def _outcomes_of_worker(
    reward: WeightedReward,
    pairs: Sequence[tuple[str, Target]],
    limit_s: float,
    facts: Sequence[Mapping[str, Any]],
    most: int,
) -> list[Score | str]:
    """Judges up to `most` neighbours of one target together."""
    outcomes: list[Score | str] = []
    # Completions of one prompt share their target, by identity.
    for _, same in groupby(enumerate(pairs), lambda numbered: id(numbered[1][1])):
        of_target = list(same)
        for part in (of_target[k : k + most] for k in range(0, len(of_target), most)):
            texts = [text for _, (text, _) in part]
            of_part = [facts[i] for i, _ in part] if facts else ()
            target = part[0][1][1]
            outcomes += shared_worker().judge(reward.fn, texts, target, reward.args, limit_s, of_part)
    failed = next((outcome for outcome in outcomes if isinstance(outcome, str)), None)
    if failed:
        raise RewardError(f"reward {reward.name}: {failed}")
    return outcomes


def score(
    source: Path,
    out: Path | None = None,
    *,
    task: str | None = None,
    fidelity: Fidelity | None = None,
    think: bool | None = None,
    rewards: Sequence[str] = (),
    recipe_path: Path | None = None,
) -> Scorer:
    """Judge every completion of `source`, a JSONL file (or .jsonl.zst) or a run folder; the result holds the counts.

    `out`: gets each row with `scores`, `notes`, `answer`, `reward`, `fault` and `problem`; there whole or not at all.
    `task`: of the rows that name none; rows that name another are left out. `rewards`: as NAME=WEIGHT. `fidelity`,
    `think` (whether the format reward asks for a thought) and `rewards` replace what the recipe says; `recipe_path`: in
    place of the run's recipe, or of the tasks' own rewards. A recipe's judge is started where a reward asks it.
    Raises DataError with every row that cannot be scored, RewardError where a reward cannot judge.
    """
    recipe = _recipe(source, recipe_path, fidelity)
    choice = reward_choice(rewards_of(recipe.fidelity), think, rewards)
    with ExitStack() as closing:
        named, asking = {word.rpartition("=")[0] for word in rewards}, {name for _, name, _ in asking_rewards(recipe)}
        if asking and (not named or asking & named):
            from rft.actors.judge import judged

            recipe = closing.enter_context(judged(recipe, RunDir(source).judge_cache))
        scorer = Scorer(recipe, choice, task)
        _score_files(scorer, source, out)
    return scorer


def _score_files(scorer: Scorer, source: Path, out: Path | None) -> None:
    files = completion_files(source)
    rows = scorer.rows(line for file in files for line in read_jsonl(file, scorer.problems))
    if out is None:
        deque(rows, maxlen=0)
        scorer.finish(source)
        return

    def write(partial_file: Path) -> None:
        with partial_file.open("w", WRITE_BUFFER, encoding="utf-8") as file:
            file.writelines(with_scores(line, scored) for line, scored in rows)
        scorer.finish(source)

    with writing(out, GIVE_ANOTHER):
        replace_file(out, write)


def print_scored(scorer: Scorer, as_json: bool) -> None:
    """The tables, or the figures as one JSON object."""
    if as_json:
        print(json.dumps(scorer.to_json(), indent=1))
        return
    parts = [plain(table) for tally in scorer.tallies.values() for table in tally.tables()]
    if scorer.left_out:
        parts.append(f"{scorer.left_out:,} rows of other tasks left out.")
    print("\n\n".join(parts))


def with_scores(line: JsonLine, scored: dict[str, Any]) -> str:
    """One JSON line: the row with its scores, which replace keys of the same name."""
    # The text as it stands need not be encoded again; beyond ASCII it may hold what other readers take for line ends.
    if not line.text.isascii() or not scored.keys().isdisjoint(line.value):
        return _encode({**line.value, **scored}) + "\n"
    try:
        more = _encode_fast(scored).decode("ascii")
    except UnicodeError:  # beyond ASCII, or half of a surrogate pair
        more = _encode(scored)
    return f"{line.text[:-1]}, {more[1:]}\n"


def _recipe(source: Path, given: Path | None, fidelity: Fidelity | None) -> Recipe:
    """The recipe of the run, the given one, or an empty one."""
    path = given or (RunDir(source).recipe if source.is_dir() else None)
    if path is None:
        recipe = parse_recipe(NO_RECIPE, "rft score")
    else:
        read = read_recipe(path)
        # A run stays readable when keys that have no part in scores are renamed.
        problems = [problem for problem in read.problems if problem.key.startswith(SCORING_KEYS) or not problem.key]
        if read.recipe is None or problems:
            raise RecipeError(problem_text(str(path), problems or read.problems))
        recipe = read.recipe
    return recipe.model_copy(update={"fidelity": fidelity or recipe.fidelity})


def _with_task(recipe: Recipe, task: str) -> Recipe:
    """The recipe; a task that it does not name has its own rewards."""
    return recipe.model_copy(update={"tasks": {task: TaskRecipe(), **recipe.tasks}})
