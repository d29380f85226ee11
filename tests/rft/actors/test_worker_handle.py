"""What the pool is told of a call to an engine that went wrong."""

from concurrent.futures import Future

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, OwnerDiedError, RayTaskError

from rft.actors.rollout import _future
from rft.errors import LearnerError
from rft.rollout.worker import WorkerDied


class Ref:
    """Of a call that ends with an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def future(self) -> Future:
        ended: Future = Future()
        ended.set_exception(self.error)
        return ended


def in_the_worker(cause: Exception) -> Exception:
    return RayTaskError("load_weights", "a traceback", cause)


@pytest.mark.parametrize(
    ("error", "told", "text"),
    [
        (ActorDiedError(), WorkerDied, "actor died"),
        (OutOfMemoryError("the node ran low on memory"), WorkerDied, "low on memory"),
        (in_the_worker(ValueError("no such weight")), WorkerDied, "^ValueError: no such weight$"),
        (
            in_the_worker(OwnerDiedError("00", b"", "")),
            LearnerError,
            "^the learner ended before an engine had its weights",
        ),
        (in_the_worker(ActorDiedError()), LearnerError, "^the learner ended before an engine had its weights"),
        (in_the_worker(OutOfMemoryError("low")), LearnerError, "^the learner ended before an engine had its weights"),
    ],
)
def test_an_engine_that_failed_is_told_from_a_learner_that_did(
    error: Exception, told: type[Exception], text: str
) -> None:
    with pytest.raises(told, match=text):
        _future(Ref(error)).result(timeout=10)
