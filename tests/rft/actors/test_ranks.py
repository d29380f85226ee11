"""What a run is told of a learning process that ended."""

from concurrent.futures import Future
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError

from rft.actors import ranks
from rft.actors.cluster import cluster
from rft.actors.rank_calls import RankCalls
from rft.actors.ranks import Ranks
from rft.errors import DataError, LearnerError
from rft.recipe import Recipe

RECIPE = Recipe.model_validate(
    {"model": "policy", "tasks": {"caption": {}}, "data": {"train": ["a.jsonl"]}, "steps": 1}
)


class Actor:
    """Answers every call with the same error."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.update = self

    def remote(self) -> "Actor":
        return self

    def future(self) -> Future:
        ended: Future = Future()
        ended.set_exception(self.error)
        return ended


@pytest.mark.parametrize(
    ("error", "told", "text"),
    [
        (ActorDiedError(), LearnerError, "ended while it was asked to update: The actor died"),
        (
            OutOfMemoryError("low on memory\n4 GiB of 4 GiB\nmuch else"),
            LearnerError,
            "low on memory\n4 GiB of 4 GiB\nIf",
        ),
        (RayTaskError("update", "a traceback", DataError("no such clip")), DataError, "^no such clip$"),
        (RayTaskError("update", "a traceback", ValueError("a bug")), RayTaskError, "a traceback"),
    ],
)
def test_a_process_that_ended_is_told_from_an_error_in_it(
    error: Exception, told: type[Exception], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "check_servers", lambda: None)
    asked = object.__new__(Ranks)
    asked.actors, asked._calls = [Actor(error)], RankCalls(60)
    with pytest.raises(told, match=text):
        asked.call("update")


class Idle:
    def __init__(self, *parts: object) -> None: ...

    def build(self, address: None) -> None: ...


def start_again_and_again() -> None:
    for _ in range(1000):
        Ranks(Idle, RECIPE, "policy", Path("clips")).close()


@pytest.mark.slow
def test_a_process_that_ray_ends_for_want_of_memory_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")  # share of the memory from which it does so
    with cluster(), pytest.raises(LearnerError, match=r"running low on memory.*\n.*exceeded threshold"):
        start_again_and_again()
