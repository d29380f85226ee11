"""Scores stored completions: the rows of a JSONL file, or all rollouts of a run folder. One pass, no model, no GPU."""

import inspect
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from rewards import rewards_of
from rewards.judge import JudgeError
from rewards.types import TARGET_FORMS, Fidelity, Score, Target, target_from_dict
from rft.data.dataset import NAMED_PROBLEMS, listed
from rft.errors import DataError, RecipeError, RewardError
from rft.evaluation.comparison import TextTable, plain
from rft.recipe import Recipe, TaskRecipe
from rft.recipe_file import near_name, parse_recipe, problem_text, read_recipe
from rft.runs.records import read_records
from rft.runs.run_dir import RunDir, replace_file, writing
from rft.scoring.faults import fault_of
from rft.scoring.group import WeightedReward, weighted_reward
from rft.scoring.reward_choice import RewardChoice, is_file, reward_choice, score_names
from rft.scoring.reward_worker import shared_worker
from rft.scoring.tally import FAILURES, Tally
from rft.tasks import TASKS
from rft.tasks.types import FORMS

CHUNK = 64
"""Rows in memory at one time, and so the most that one reward may judge side by side."""

WRITE_BUFFER = 1 << 20
"""Bytes handed to the disk at one time."""

_encode = json.JSONEncoder(check_circular=False).encode
"""Rows come out of JSON: they hold no circles."""

# Three and seven times as fast as the standard library, and of the same meaning. It does the rest where they refuse:
# half of a surrogate pair, a number too large for a float.
_encode_fast = msgspec.json.Encoder().encode
_decode_fast = msgspec.json.Decoder().decode

SCORING_KEYS = ("tasks", "scoring", "sampling", "fidelity")
"""Sections of a recipe that decide what a completion earns."""

NO_RECIPE = "{model: none, tasks: {}, data: {train: []}, steps: 1}"

Row = dict[str, Any]
Stored = tuple[str, Row, str]
"""(place, row, its text where it was read as such, else "")."""
_Ready = tuple[Stored, str, Target]
"""(row, task, truth)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How to score, where it is not as the recipe says."""

    task: str | None = None
    """Of all rows that name none; rows that name another are left out."""
    fidelity: Fidelity | None = None
    think: bool | None = None
    """Which format reward."""
    rewards: tuple[str, ...] = ()
    """NAME=WEIGHT."""
    recipe: Path | None = None
    """In place of the run's recipe, or of the tasks' own rewards."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What the rows of each task add up to."""

    tallies: dict[str, Tally]
    left_out: int
    """Rows of other tasks than the one asked for."""
    fidelity: Fidelity | None

    def to_json(self) -> dict[str, Any]:
        """{"rows", "left_out", "fidelity", "faults": {kind: number}, "tasks": {task: as Tally.to_json}}."""
        tasks = {task: tally.to_json() for task, tally in self.tallies.items()}
        return {
            "rows": sum(map(len, self.tallies.values())),
            "left_out": self.left_out,
            "fidelity": self.fidelity,
            "faults": {kind: sum(of_task["faults"][kind] for of_task in tasks.values()) for kind in FAILURES},
            "tasks": tasks,
        }

    def tables(self) -> list[TextTable]:
        return [table for task, tally in self.tallies.items() for table in tally.tables(task)]


def score(source: Path, asked: Asked, out: Path | None = None) -> Scored:
    """Judge every completion of `source`, a JSONL file (or .jsonl.zst) or a run folder.

    `out`: gets each row with `scores`, `notes`, `answer`, `reward`, `fault` and `problem`; there whole or not at all.
    Raises DataError with every row that cannot be scored, RewardError where a reward cannot judge.
    """
    recipe = _recipe(source, asked.recipe)
    fidelity = asked.fidelity or recipe.fidelity
    scorer = Scorer(recipe, reward_choice(rewards_of(fidelity), asked.think, asked.rewards), asked.task)
    rows = scorer.rows(stored_rows(source, scorer.problems))

    def write(partial_file: Path) -> None:
        with partial_file.open("w", WRITE_BUFFER, encoding="utf-8") as file:
            file.writelines(joined(row, text, found) for (_, row, text), found in rows)
        scorer.finish(source)

    if out is None:
        for _ in rows:
            pass
        scorer.finish(source)
    else:
        with writing(out, "free space on the disk, or give another file with -o"):
            replace_file(out, write)
    return Scored(scorer.tallies, scorer.left_out, fidelity)


def print_scored(scored: Scored, as_json: bool) -> None:
    """The tables, or the figures as one JSON object."""
    text = json.dumps(scored.to_json(), indent=1) if as_json else "\n\n".join(map(plain, scored.tables()))
    others = f"\n\n{scored.left_out:,} rows of other tasks left out." if scored.left_out and not as_json else ""
    print(text + others)


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
                target = target_from_dict({} if data is None else data, duration_s)
                if type(target) is not TASKS[task].target_type:
                    form = TARGET_FORMS[TASKS[task].target_type]
                    problems.append(f"target: has {', '.join(row['target'])}, but {task} needs {form}")
                else:
                    self._latest = ((task, data, duration_s), target)
            except ValueError as error:
                problems.append(f"target: {error}")
        if self._needs_tokens and type(row.get("num_tokens")) is not int:
            problems.append("num_tokens: missing, but the recipe has a length rule")
        self.problems += [f"{where}: {problem}" for problem in problems]
        return None if problems else target

    def _scores(self, ready: Sequence[_Ready]) -> list[dict[str, Score]]:
        """By reward, for each row; {} where the completion failed."""
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
    if is_file(reward.name):
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


def joined(row: Row, text: str, found: Row) -> str:
    """A line with one JSON object: the row, and what was found in place of keys of the same name."""
    # The text as it stands need not be encoded again; beyond ASCII it may hold what other readers take for line ends.
    if not text.isascii() or not text or not found.keys().isdisjoint(row):
        return _encode({**row, **found}) + "\n"
    try:
        more = _encode_fast(found).decode("ascii")
    except UnicodeError:  # beyond ASCII, or half of a surrogate pair
        more = _encode(found)
    return f"{text[:-1]}, {more[1:]}\n"


def _recipe(source: Path, given: Path | None) -> Recipe:
    """That of the run, or the given one, or none at all: then every task has its own rewards."""
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
    return recipe.model_copy(update={"tasks": {**{name: TaskRecipe() for name in TASKS}, **recipe.tasks}})


def stored_rows(source: Path, problems: list[str]) -> Iterator[Stored]:
    """Every row of a JSONL file (or .jsonl.zst) or of a run's rollouts, in order. DataError: nothing there to read."""
    if source.is_dir():
        files = sorted(RunDir(source).rollouts.glob("step_*.jsonl.zst"))
        if not files:
            raise DataError(f"{source}: no rollouts here. Give a JSONL file, or the folder of a run that trained.")
    else:
        files = [source]
    for file in files:
        if file.suffix == ".zst":
            for number, row in enumerate(read_records(file), start=1):
                yield f"{file}:{number}", row, ""
        else:
            yield from _lines(file, problems)


def _lines(path: Path, problems: list[str]) -> Iterator[Stored]:
    name, number = str(path), 0
    try:
        # Only line ends divide rows: a JSON string may hold the other characters that splitlines cuts at.
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if not line.isspace():
                    try:
                        row = _decoded(line)
                    except ValueError as error:
                        problems.append(f"{name}:{number}: not JSON: {error}")
                        continue
                    if isinstance(row, dict):
                        yield f"{name}:{number}", row, line.strip()
                    else:
                        problems.append(f"{name}:{number}: a row is a JSON object, not {type(row).__name__}")
    except UnicodeDecodeError as error:
        problems.append(f"{path}: not UTF-8 text after line {number}: {error.reason}")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _decoded(text: str) -> object:
    """Raises ValueError where the text is not JSON."""
    try:
        return _decode_fast(text)
    except msgspec.DecodeError:
        return json.JSONDecoder(parse_constant=_refuse_constant).decode(text)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number JSON allows")
