"""What a run is told of a learning process that ended."""

from concurrent.futures import Future

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError

from rft.actors import ranks
from rft.actors.rank_calls import RankCalls
from rft.actors.ranks import Ranks
from rft.errors import DataError, LearnerError


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
            "low on memory\n4 GiB of 4 GiB\nOut",
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
