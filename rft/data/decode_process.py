"""The decoder in a child process: a hang or a crash in it costs one clip, not the run.

The child loads PyAV alone and sends full-size frames, each clip under an alarm.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from rft.data.child_process import ChildProcess, requests, set_alarm
from rft.data.decoders import FrameIndex, FrameSource, open_source
from rft.data.frames import ClipError, ReaderName
from rft.errors import DataError


class DecodeProcess:
    """Opens clips in a child process, which starts with the first clip and serves one clip at a time.

    Raises what `open_source` raises, and ClipError if the decoder takes longer than `timeout_s` or crashes.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._child: ChildProcess | None = None
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def open(self, path: Path, source_fps: float | None, reader: ReaderName) -> Iterator[FrameSource]:
        """The frames of `path`, valid inside the `with`."""
        with self._lock:
            try:
                if self._child is None:
                    self._child = ChildProcess(__name__)
                yield _RemoteSource(self._child, path, source_fps, reader, self._timeout_s)
            except BaseException:
                # The child may still be sending frames of this clip.
                self.close()
                raise

    def close(self) -> None:
        """End the child if there is one; the next clip starts a new one."""
        if self._child is not None:
            self._child.close()
        self._child = None


class _RemoteSource:
    """A FrameSource whose frames come from the child."""

    def __init__(
        self, child: ChildProcess, path: Path, source_fps: float | None, reader: ReaderName, timeout_s: float
    ) -> None:
        self._child = child
        self._path = path
        self._timeout_s = timeout_s
        with self._died_as_clip_error():
            child.connection.send((path, source_fps, reader, timeout_s))
            self.index: FrameIndex = self._answer()

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        connection = self._child.connection
        with self._died_as_clip_error():
            connection.send(list(indices))
        for _ in indices:
            with self._died_as_clip_error():
                pixels = np.empty(self._answer(), np.uint8)
                connection.recv_bytes_into(pixels.data.cast("B"))
            yield pixels

    def _answer(self) -> Any:
        answer = self._child.connection.recv()
        if isinstance(answer, DataError):
            raise answer
        return answer

    @contextlib.contextmanager
    def _died_as_clip_error(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError) as error:
            code = self._child.exit_code()
            limit = f"decoding takes longer than video.decode_timeout_s={self._timeout_s:g}"
            crash = f"the decoder crashed on it (exit code {code})"
            raise ClipError(f"{self._path}: {limit if code is None else crash}") from error


def serve(fd: int, parent_pid: int) -> None:
    """Main function of the child. Per clip: get a request, send its FrameIndex, get indices, send the frames."""
    connection = Connection(fd)
    with contextlib.suppress(EOFError, ConnectionError):
        for path, source_fps, reader, timeout_s in requests(connection, parent_pid):
            set_alarm(timeout_s)
            try:
                source = open_source(path, source_fps, reader)
                connection.send(source.index)
                for frame in source.read(connection.recv()):
                    connection.send(frame.shape)
                    connection.send_bytes(np.ascontiguousarray(frame).data.cast("B"))
            except DataError as error:
                connection.send(error)
