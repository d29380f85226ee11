"""The wait for the answers of learning processes, which ends where one of them dies or hangs."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any

from rft.errors import LearnerError

POLL_S = 0.3
"""Longest time before a request to stop, or a process that hangs, is noticed."""

GROUPS_PER_LIMIT = 16
"""Groups of a rank for which an update has one `stall_timeout_s`."""

SHORTEST_S = 60.0
"""Least time a call has once the user asked to stop."""


class RankCalls:
    """Waits for one call after the other, and knows how long each kind of call has taken."""

    def __init__(
        self,
        stall_timeout_s: float,
        should_stop: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now`: in seconds."""
        self._stall_timeout_s, self._should_stop, self._now = stall_timeout_s, should_stop, now
        self._longest: dict[str, float] = {}

    def answers(self, method: str, futures: Sequence[Future[Any]], num_groups: float = 0) -> list[Any]:
        """The results of all ranks. `num_groups`: that each rank works on.

        Raises what the first rank that fails raises, without waiting for the others. LearnerError: some hang.
        """
        asked_at = self._now()
        while True:
            done, pending = wait(futures, POLL_S, FIRST_EXCEPTION)
            for future in done:
                future.result()
            waited = self._now() - asked_at
            if not pending:
                self._longest[method] = max(waited, self._longest.get(method, 0.0))
                return [future.result() for future in futures]
            if waited > self._limit_s(method, num_groups):
                silent = ", ".join(str(rank) for rank, future in enumerate(futures) if future in pending)
                raise LearnerError(
                    f"the learner hangs: no answer to {method.replace('_', ' ')} in {waited:.0f} s from rank {silent} "
                    f"of {len(futures)}. Where it only needs longer, raise learner.stall_timeout_s."
                )

    def _limit_s(self, method: str, num_groups: float) -> float:
        """Shorter once the user waits for the end, where it is known how long such a call takes."""
        limit_s = self._stall_timeout_s * max(1.0, num_groups / GROUPS_PER_LIMIT)
        if method in self._longest and self._should_stop():
            return min(limit_s, max(SHORTEST_S, 3 * self._longest[method]))
        return limit_s
