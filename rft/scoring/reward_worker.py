"""Reward functions in a process of their own, which ends when one hangs."""

import contextlib
import functools
import importlib
import inspect
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection
from numbers import Real
from pathlib import Path
from typing import Any

from rewards.types import Fault, Score
from rft.data.child_process import ChildProcess, requests, set_alarm
from rft.errors import RewardError
from rft.own_code import execute_file, loaded_digest

INSIDE = "RFT_REWARD_PROCESS"
"""Set in the environment of the process that judges."""

_START_TIMEOUT_S = 60.0
"""Seconds for a new process, and for the import of a reward's file."""

FunctionRef = tuple[str, str, str | None, str]
"""Module, name inside it, file, and the digest of an own file's text."""

PlainScore = tuple[float, str | None, str, Fault | None]
"""Value, answer, note and fault of a score."""


class RewardWorker:
    """Judges completions in one child process, started at first use and again after it had to end."""

    def __init__(self, memory_bytes: int | None = None) -> None:
        """`memory_bytes`: as of ChildProcess."""
        self.child = ChildProcess(__name__, {INSIDE: "1"}, memory_bytes)

    def judge(
        self,
        fn: Callable[..., Score],
        completions: Sequence[str],
        target: object,
        args: Mapping[str, Any],
        limit_s: float,
        facts: Sequence[Mapping[str, Any]] = (),
    ) -> tuple[Score | str, ...]:
        """One Score per completion, or why there is none; `limit_s` is for all of them together.

        A function with a keyword `concurrency` has so many completions judged at the same time, in threads, or as
        coroutines if it is `async`. `facts`: further keyword arguments for each completion; (): none. After a
        completion that hangs, later ones are not judged. Raises RewardError where the function cannot be used at all.
        """
        ref = function_ref(fn)
        if INSIDE in os.environ:
            raise RewardError(
                "scoring was started by the import of a file that a reward stands in; "
                "put the script's own work under `if __name__ == '__main__':`"
            )
        with self.child.connected() as connection:
            connection.send((ref, tuple(completions), target, dict(args), limit_s, tuple(facts)))
            threads = _receive(connection, time.monotonic() + _START_TIMEOUT_S)
            if not isinstance(threads, int):
                raise RewardError(f"reward {ref[1]}: {threads or 'its file ended the process that imports it'}")
            return self._outcomes(connection, len(completions), threads, limit_s)

    def _outcomes(self, connection: Connection, number: int, threads: int, limit_s: float) -> tuple[Score | str, ...]:
        outcomes: dict[int, Score | str] = {}
        # The process ends itself at limit_s; the second more is for one that took the alarm away.
        deadline = time.monotonic() + limit_s + 1.0
        while len(outcomes) < number:
            message = _receive(connection, deadline)
            if message is None:
                # Completions are begun in order, so the first of those left are the ones that were being judged.
                left = [i for i in range(number) if i not in outcomes]
                outcomes |= dict.fromkeys(left, "not judged: a completion before it ended the reward process")
                code = self.child.exit_code(wait_s=0.5)
                self.child.close()
                too_long = f"took longer than {limit_s:g} s and was stopped"
                ended = too_long if code is None else f"ended the reward process (exit code {code})"
                outcomes |= dict.fromkeys(left[:threads], ended)
                break
            i, outcome = message
            outcomes[i] = outcome if isinstance(outcome, str) else Score(*outcome)
        return tuple(outcomes[i] for i in range(number))


def _receive(connection: Connection, deadline: float) -> Any:
    """The next message; None once the process has ended or the deadline has passed."""
    with contextlib.suppress(EOFError, ConnectionError):
        if connection.poll(max(0.0, deadline - time.monotonic())):
            return connection.recv()
    return None


@functools.cache
def shared_worker() -> RewardWorker:
    """The worker of callers that bring none: started at their first group, ended with the interpreter."""
    return RewardWorker()


def function_ref(fn: Callable[..., Score]) -> FunctionRef:
    """That by which another process loads a function. Raises RewardError where it cannot."""
    module_name, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    module = sys.modules.get(module_name or "")
    file = getattr(module, "__file__", None)
    try:
        named = _inside(module, name or "")
    except AttributeError:
        named = None
    if named is not fn or module_name is None or name is None or (module_name == "__main__" and file is None):
        raise RewardError(
            f"reward {name or fn!r} cannot be found from another process: "
            "write it as a plain function at the top level of a file (no lambda, inner function or partial)"
        )
    return (module_name, name, str(Path(file).resolve()) if file else None, loaded_digest(module))


def serve(fd: int, parent_pid: int) -> None:
    """The child's whole life: judge what arrives until the parent is gone."""
    connection = Connection(fd)
    functions: dict[FunctionRef, Callable[..., Score]] = {}
    for ref, completions, target, args, limit_s, facts in requests(connection, parent_pid):
        set_alarm(_START_TIMEOUT_S)
        try:
            fn = functions[ref] = functions.get(ref) or _load(ref)
        except (Exception, SystemExit) as error:
            connection.send(f"cannot be imported: {_exception_text(error)}")
            continue
        threads = num_threads(fn, args)
        connection.send(threads)
        if isinstance(threads, str):
            continue
        set_alarm(limit_s)
        calls = [
            functools.partial(fn, completion, target, **{**args, **of_completion})
            for completion, of_completion in zip(completions, facts or [{}] * len(completions), strict=True)
        ]
        if inspect.iscoroutinefunction(fn):
            _await_all([_send_awaited(connection, i, call) for i, call in enumerate(calls)], threads)
        elif threads == 1:
            for i, call in enumerate(calls):
                connection.send((i, _judge(call)))
        else:
            with ThreadPoolExecutor(threads) as pool:
                judging = {pool.submit(_judge, call): i for i, call in enumerate(calls)}
                for done in as_completed(judging):
                    connection.send((judging[done], done.result()))


def num_threads(fn: Callable[..., Score], args: Mapping[str, Any]) -> int | str:
    """Number of completions that a function judges at the same time; a problem text if the keyword is wrong."""
    parameter = _parameters(fn).get("concurrency")
    threads = 1 if parameter is None else args.get("concurrency", parameter.default)
    if isinstance(threads, int) and threads >= 1:
        return threads
    return f"concurrency is {threads!r}, not a whole number from 1 on"


@functools.cache
def _parameters(fn: Callable[..., Score]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(fn).parameters


def _load(ref: FunctionRef) -> Callable[..., Score]:
    module_name, name, file, digest = ref
    module = None
    if module_name != "__main__":
        with contextlib.suppress(ImportError):
            module = importlib.import_module(module_name)
    if module is None or (file and str(Path(module.__file__ or "").resolve()) != file):
        # A script, or a file that was loaded by its path: the name alone does not lead to it.
        module = execute_file("reward_script" if module_name == "__main__" else module_name, file or "")
    if loaded_digest(module) != digest:
        raise ImportError(f"{file} changed since the run loaded it. Put it back, or start the run again")
    fn: Callable[..., Score] = _inside(module, name)
    return fn


def _inside(module: object, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), module)


def _await_all(calls: Sequence[Awaitable[None]], most: int) -> None:
    from rewards.awaiting import bounded  # asyncio, which the parent need not load

    _runner().run(bounded(calls, most))


@functools.cache
def _runner() -> Any:
    """One event loop for all groups: a client that a reward keeps belongs to the loop it was first used in."""
    import asyncio

    return asyncio.Runner()


async def _send_awaited(connection: Connection, i: int, call: Callable[[], Any]) -> None:
    try:
        connection.send((i, _plain(await call())))
    except (Exception, SystemExit) as error:
        connection.send((i, f"raised {_exception_text(error)}"))


def _judge(call: Callable[[], object]) -> PlainScore | str:
    """The score of a call, or why there is none."""
    try:
        return _plain(call())
    except (Exception, SystemExit) as error:
        return f"raised {_exception_text(error)}"


def _plain(score: object) -> PlainScore | str:
    """The score, or why it is none."""
    if not isinstance(score, Score):
        return f"returned {type(score).__name__}, not a Score"
    if not isinstance(score.value, Real) or not 0.0 <= score.value <= 1.0:
        return f"returned the value {score.value!r}, not a number in [0, 1]"
    return (float(score.value), None if score.answer is None else str(score.answer), str(score.note), score.fault)


def _exception_text(error: BaseException) -> str:
    """An exception in one line, with the file and line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}"[:300] + place
