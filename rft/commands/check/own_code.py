"""Code from outside, tried before a run in processes that end when it hangs or takes too much memory."""

import inspect
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from rewards import RewardFn, accepted_targets
from rewards.facts import asked_facts
from rewards.types import Score
from rft.data.child_process import ChildProcess, requests, set_alarm
from rft.errors import RecipeError, RewardError
from rft.own_code import load_own
from rft.recipe import RewardRecipe
from rft.scoring.group import completion_facts
from rft.scoring.reward_worker import RewardWorker
from rft.tasks import TASKS
from rft.tasks.types import Task
from rft.types import Completion, Prompt

IMPORT_LIMIT_S = 60.0
"""Longest time to load a file and try its task."""

MEMORY_BYTES = 16 << 30
"""Most memory of a process that tries code."""

ODD_TEXTS = {
    "an empty text": "",
    "a million brackets": "<[(" * 333_333,
    "a text in many scripts": "<answer>\u65f6\u95f4 \u0661\u0662 \u202e\U0001f600 \u00bd\u200b</answer>",
    "markup": "<script>alert('1')</script><answer><b>1 to 2</b>&lt;</answer>",
    "half of a tag": "<think>x</think><answer>1 to",
    "tags in the wrong order": "</answer>1 to 2<answer></think>",
    "numbers beyond all bounds": "<think>x</think><answer>nan to 1e999, -inf</answer>",
}
"""What it is -> a completion that a policy may write and every reward has to score."""

NUM_TIMED = 16
"""Completions of which the time is the mean."""

AWAY = "raised JudgeError"
"""How a failure begins where a judge cannot be reached: it may be there in the run alone."""


def import_problems(names: Sequence[str], limit_s: float = IMPORT_LIMIT_S) -> dict[str, str]:
    """FILE.py:NAME -> why a run cannot use it, of those it cannot; each is loaded in a process of its own."""
    child = ChildProcess(__name__, memory_bytes=MEMORY_BYTES)
    try:
        tried = {name: _tried(child, name, limit_s) for name in names}
    finally:
        child.close()
    return {name: problem for name, problem in tried.items() if problem}


def _tried(child: ChildProcess, name: str, limit_s: float) -> str:
    try:
        with child.connected() as connection:
            connection.send((name, limit_s))
            return str(connection.recv())
    except (EOFError, ConnectionError):
        code = child.exit_code()
    how = f"took longer than {limit_s:g} s" if code is None else f"ended its process (exit code {code})"
    return f"{name}: loading it {how}."


def serve(fd: int, parent_pid: int) -> None:
    """Main function of the child: per name, load it and send what is wrong with it, or ""."""
    connection = Connection(fd)
    for name, limit_s in requests(connection, parent_pid):
        set_alarm(limit_s)
        try:
            value = load_own(name)
            problem = task_problem(TASKS.load(name)) if inspect.isclass(value) and issubclass(value, Task) else ""
            connection.send(f"{name}: {problem}" if problem else "")
        except RecipeError as error:
            connection.send(str(error))


def task_problem(task: Task) -> str:
    """What is wrong with a task, by its own example: target, prompt, written answer and metrics; "" if nothing."""
    doing = "target"
    try:
        target = task.target(task.example)
        doing = "prompt_text"
        texts = [task.prompt_text(task.example, think) for think in (True, False)]
        doing = "measure"
        figures = task.measure(task.target_completion(target, think=True), target)
    except Exception as error:  # a task is a user's code
        return f"{doing} of its example raises {type(error).__name__}: {error}."
    if not all(isinstance(text, str) and text for text in texts):
        return "prompt_text of its example is no text."
    if task.main_metric not in figures:
        return f"metrics has no {task.main_metric!r}, the main_metric; it has {', '.join(figures)}."
    odd = {name: value for name, value in figures.items() if not 0 <= value <= 1}
    return f"metrics of its example are not in [0, 1]: {odd}." if odd else ""


@dataclass(frozen=True, slots=True)
class RewardTrial:
    """What a reward made of a task's example and of odd texts."""

    example: Score | str
    """Score of the example's answer; a text where it failed."""
    failures: Mapping[str, Sequence[str]]
    """How it failed -> on which texts."""
    description: str
    """Signature, targets, what it sees, and milliseconds per completion."""


def tried_reward(
    reward: RewardFn, part: RewardRecipe, task: Task, answer: str, worker: RewardWorker, limit_s: float
) -> RewardTrial:
    """A reward tried on `answer`, the right one to the task's example, and on ODD_TEXTS; `limit_s` for each."""
    texts = {"the example answer": answer, **ODD_TEXTS}
    outcomes = {what: _outcome(worker, reward, part, task, text, limit_s) for what, text in texts.items()}
    failures: dict[str, list[str]] = {}
    for what, outcome in outcomes.items():
        if isinstance(outcome, str):
            failures.setdefault(outcome, []).append(what)
    start = time.perf_counter()
    if not failures:
        _outcome(worker, reward, part, task, answer, limit_s, NUM_TIMED)
    each_ms = (time.perf_counter() - start) / NUM_TIMED * 1e3
    kinds = " or ".join(kind.__name__ for kind in accepted_targets(reward))
    sees = ", ".join(("text", "target", *asked_facts(reward)))
    parameters = [one.replace(annotation=one.empty) for one in inspect.signature(reward).parameters.values()]
    what = f"{reward.__name__}{inspect.Signature(parameters)}"
    description = f"{what} scores {kinds}, sees {sees}; {each_ms:.2g} ms per completion"
    return RewardTrial(outcomes["the example answer"], failures, description)


def _outcome(
    worker: RewardWorker, reward: RewardFn, part: RewardRecipe, task: Task, text: str, limit_s: float, times: int = 1
) -> Score | str:
    """The last outcome of a text judged `times` times, as a completion of a task's example."""
    target = task.target(task.example)
    try:
        facts = example_facts(reward, task, [text] * times)
        return worker.judge(reward, [text] * times, target, part.args, limit_s, facts)[-1]
    except RewardError as error:
        return str(error)


def no_frames(number: int) -> tuple[bytes, ...]:
    """The frames of a prompt without a clip."""
    return ()


def example_facts(reward: RewardFn, task: Task, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The facts that a reward asks for, of texts about a task's example, which are one group; [] if it asks for none.

    What no policy made is made up: a token for every four characters, each with a log-probability of -0.1.
    """
    row = task.example.model_dump(mode="json", exclude_none=True)
    prompt = Prompt("example", task.name, "", None, task.target(task.example), row=row)
    lengths = [1 + len(text) // 4 for text in texts]
    completions = [
        Completion(text, tuple(range(length)), (-0.1,) * length, 0, "stop", 0)
        for text, length in zip(texts, lengths, strict=True)
    ]
    return completion_facts(reward, prompt, completions, no_frames)
