"""The judge that a run starts itself: which rewards ask it, scoring that outlives its end, and what it cost."""

import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from rewards.reply_cache import ReplyCache, Usage
from rft.errors import Interrupted, RewardError
from rft.recipe import Recipe, RewardRecipe
from rft.recipe.judge import JudgeRecipe
from rft.scoring.group import score_by_recipe
from rft.types import Completion, Group, Prompt

POLL_S = 0.1
"""Between two looks at a server that starts."""

HEALTH_TIMEOUT_S = 10.0
"""A server that takes longer to say that it is well is started again."""

LOG_LINES = 12
"""Of the server's log, in an error."""

OWN_ENDPOINT = frozenset({"judge_model", "judge_cache", "judge_key_env"})
"""Arguments of a reward that asks the recipe's judge which are not for it to set."""

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A proxy of the machine does not lead back to it."""


class Server(Protocol):
    """A server of the judge somewhere else, which starts or runs."""

    def address(self) -> str | None:
        """Where it will answer, such as http://127.0.0.1:8000; None: not known yet."""
        ...

    def problem(self) -> str | None:
        """Why it ended; None: it has not."""
        ...

    def close(self) -> None: ...


class Judge:
    """Keeps a server running; it starts in the background, and whatever needs it waits for it."""

    def __init__(
        self,
        recipe: JudgeRecipe,
        start: Callable[[], Server],
        cache: Path,
        log: Path,
        should_stop: Callable[[], bool] = lambda: False,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`start` must return at once. `cache`: file of replies and counts. `log`: what servers write to.

        `note` is told why a server is started again.
        """
        self._recipe, self._start, self._cache, self._log = recipe, start, cache, log
        self._should_stop, self._note = should_stop, note
        self._num_restarts, self._seconds = 0, 0.0
        self._counted = self._totals()
        self._server = start()
        self._url: str | None = None

    def url(self) -> str:
        """The base URL of the running server, which is waited for.

        Raises RewardError where it does not start, or ended more often than it may; Interrupted on a request to stop.
        """
        deadline = time.monotonic() + self._recipe.start_timeout_s
        while self._url is None:
            if self._should_stop():
                raise Interrupted
            address, problem = self._server.address(), self._server.problem()
            if problem is not None:
                self._restart(f"ended before it answered: {problem}", self._num_restarts > 0)
            elif address is not None and _is_well(address):
                self._url = f"{address}/v1"
            elif time.monotonic() > deadline:
                raise self._error(f"has not answered {self._recipe.start_timeout_s:g} s after its start")
            else:
                time.sleep(POLL_S)
        return self._url

    def score(self, prompt: Prompt, completions: Sequence[Completion], recipe: Recipe) -> Group:
        """`score_by_recipe` by this judge, again where its server ended meanwhile. Raises what `url` raises too."""
        began = time.monotonic()
        while True:
            asking = with_judge(recipe, self.url(), self._cache)
            try:
                group = score_by_recipe(prompt, completions, asking)
                if not any(rollout.problem for rollout in group.rollouts) or self._is_well():
                    self._seconds += time.monotonic() - began
                    return group
            except RewardError:
                if self._is_well():
                    raise
            self._restart(f"ended: {self._server.problem() or 'it does not answer'}", may_restart=True)

    def counters(self) -> dict[str, float]:
        """Since the last call: judge/restarts, judge/seconds of scoring, and the fields of Usage."""
        before, self._counted = self._counted, self._totals()
        return {f"judge/{name}": total - before[name] for name, total in self._counted.items()}

    def close(self) -> None:
        self._server.close()

    def _totals(self) -> dict[str, float]:
        try:
            with closing(ReplyCache(self._cache)) as cache:
                usage = cache.usage().get(self._recipe.model, Usage())
        except (sqlite3.Error, OSError) as error:
            raise RewardError(f"{self._cache} cannot keep the judge's replies: {error}. Delete it.") from error
        return {"restarts": self._num_restarts, "seconds": self._seconds} | asdict(usage)

    def _is_well(self) -> bool:
        address = self._server.address()
        return self._server.problem() is None and address is not None and _is_well(address)

    def _restart(self, problem: str, may_restart: bool) -> None:
        self._server.close()
        self._url = None
        if not may_restart or self._num_restarts >= self._recipe.max_restarts:
            raise self._error(problem)
        self._num_restarts += 1
        self._note(f"the judge {self._recipe.model} is started again: it {problem}")
        self._server = self._start()

    def _error(self, problem: str) -> RewardError:
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:] if self._log.exists() else []
        written = "".join(f"\n  {line}" for line in lines)
        return RewardError(
            f"the judge {self._recipe.model} {problem} (started again {self._num_restarts} times; judge.max_restarts "
            f"is {self._recipe.max_restarts}). It is set by the recipe's section judge. {self._log} ends with:{written}"
        )


def _is_well(address: str) -> bool:
    try:
        with _direct.open(f"{address}/health", timeout=HEALTH_TIMEOUT_S) as response:
            return bool(response.status == 200)
    except OSError:  # refused, timed out, or 503 from a server whose engine ended
        return False


def asking_rewards(recipe: Recipe) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(task, name, arguments) of the rewards that ask the recipe's judge: `judge: model` without an address."""
    for task, settings in recipe.tasks.items() if recipe.judge else ():
        for name, part in (settings.rewards or {}).items():
            if asks(part.args):
                yield task, name, part.args


def with_judge(recipe: Recipe, url: str, cache: Path) -> Recipe:
    """The recipe whose rewards that ask its judge do so at `url`, and keep replies in the file `cache`."""
    if recipe.judge is None:
        return recipe
    arguments = endpoint(recipe.judge, url, cache)

    def addressed(part: RewardRecipe) -> RewardRecipe:
        return part.model_copy(update={"args": part.args | arguments}) if asks(part.args) else part

    tasks = {
        name: task.model_copy(
            update={"rewards": task.rewards and {key: addressed(part) for key, part in task.rewards.items()}}
        )
        for name, task in recipe.tasks.items()
    }
    return recipe.model_copy(update={"tasks": tasks})


def endpoint(judge: JudgeRecipe, url: str, cache: Path) -> dict[str, str]:
    """Arguments of a reward that asks the judge at `url`, and keeps replies in the file `cache`."""
    return {"judge_url": url, "judge_model": judge.model, "judge_cache": str(cache)}


def asks(args: Mapping[str, Any]) -> bool:
    """Whether a reward with these arguments asks a judge without saying where it is."""
    return args.get("judge") == "model" and not args.get("judge_url")
