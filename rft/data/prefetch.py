"""Decodes clips before they are needed, in separate processes, while rollouts and learner work."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from copy import copy

from rft.data.video import ClipCache
from rft.errors import DataError
from rft.types import Media


class ClipPrefetch:
    """Fills a ClipCache in the background; a reader that needs a clip earlier waits for it.

    Errors are ignored here: the reader of the clip gets the same error.
    """

    def __init__(self, clips: ClipCache, num_workers: int) -> None:
        """`num_workers`: clips decoded at one time, each in a child process; 0: nothing is decoded ahead."""
        self._clips = clips
        self._pool = ThreadPoolExecutor(num_workers, "prefetch") if num_workers else None
        self._own = threading.local()
        self._copies: list[ClipCache] = []
        self._waiting: set[Future[None]] = set()

    @property
    def num_decodes(self) -> int:
        """Clips decoded so far."""
        return sum(clips.decodes for clips in self._copies)

    def prefetch(self, media: Sequence[Media]) -> None:
        """Decode these next. Earlier requests that have not begun are cancelled, so the buffer stays this long."""
        if self._pool is None:
            return
        for future in self._waiting:
            future.cancel()
        self._waiting = {future for future in self._waiting if not future.done()}
        self._waiting |= {self._pool.submit(self._load, one) for one in media}

    def close(self) -> None:
        """Cancel clips not yet started, wait for the others and end the child processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for clips in self._copies:
            clips.close()

    def _load(self, media: Media) -> None:
        if not hasattr(self._own, "clips"):
            # A copy uses the same folder, with a separate child process.
            self._own.clips = copy(self._clips)
            self._copies.append(self._own.clips)
        with suppress(DataError):
            self._own.clips.load(media)
