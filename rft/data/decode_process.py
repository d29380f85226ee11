"""A child process that runs the decoder: a hang or a crash in it costs one clip, not the run.

The child loads PyAV alone and streams full-size frames over a pipe. A kernel timer, set for each clip, ends a child
that takes too long, even one whose parent is gone; without a request it waits for its input to end, then leaves.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from rft.data.decoders import FrameIndex, FrameSource, open_source
from rft.data.frames import ClipError, ReaderName
from rft.errors import DataError


class DecodeProcess:
    """Opens clips in a child process, which starts at the first and serves one at a time.

    Besides what `open_source` raises, ClipError: the decoder took longer than `timeout_s`, or crashed.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None
        self._close: weakref.finalize[Any, Any] | None = None
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def open(self, path: Path, source_fps: float | None, reader: ReaderName) -> Iterator[FrameSource]:
        """The source, to be read inside the `with`."""
        with self._lock:
            try:
                yield self._request(path, source_fps, reader)
            except BaseException:
                # Wherever it stopped, the child may still be sending frames of this clip.
                self.close()
                raise

    def close(self) -> None:
        """End the child, if there is one; the next clip starts another."""
        if self._close is not None:
            self._close()
        self._child = self._close = None

    def _request(self, path: Path, source_fps: float | None, reader: ReaderName) -> "_RemoteSource":
        if self._child is None:
            self._child = _start()
            self._close = weakref.finalize(self, _end, self._child)
        request = {"path": str(path), "source_fps": source_fps, "reader": reader, "timeout_s": self._timeout_s}
        return _RemoteSource(self._child, path, request)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why the child cannot serve a clip."""

    error: str
    is_clip: bool
    """The clip is at fault, not the set-up."""


class _RemoteSource:
    """A FrameSource whose frames come from the child."""

    def __init__(self, child: subprocess.Popen[bytes], path: Path, request: dict[str, Any]) -> None:
        self._child = child
        self._path = path
        self._timeout_s = request["timeout_s"]
        index = self._ask(request)
        self.index = FrameIndex(tuple(index["timestamps_s"]), index["average_fps"])

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        answer = self._ask(list(indices))
        while True:
            assert self._child.stdout is not None
            shape = answer["shape"]
            data = self._child.stdout.read(int(np.prod(shape)))
            if len(data) < np.prod(shape):
                raise self._died()
            yield np.frombuffer(bytearray(data), np.uint8).reshape(shape)
            if not answer["more"]:
                return
            answer = self._answer()

    def _ask(self, request: object) -> dict[str, Any]:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(request).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            failure = _Failure(**answer)
            raise ClipError(failure.error) if failure.is_clip else DataError(failure.error)
        return answer

    def _died(self) -> ClipError:
        code = self._child.wait()
        if code == -signal.SIGALRM:
            return ClipError(f"{self._path}: decoding takes longer than video.decode_timeout_s={self._timeout_s:g}")
        return ClipError(f"{self._path}: the decoder crashed on it (exit code {code})")


def _start() -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """The child: for each clip a request, its times back, a list of indices, the frames back."""

    def send(answer: dict[str, Any], data: bytes | memoryview = b"") -> None:
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.write(data)
        answers.flush()

    for line in iter(requests.readline, b""):
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request["timeout_s"])
        try:
            source = open_source(Path(request["path"]), request["source_fps"], request["reader"])
            send({"timestamps_s": source.index.timestamps_s, "average_fps": source.index.average_fps})
            indices = json.loads(requests.readline() or b"[]")
            for number, frame in enumerate(source.read(indices), start=1):
                more = number < len(indices)
                send({"shape": frame.shape, "more": more}, np.ascontiguousarray(frame).data)
        except DataError as error:
            send(asdict(_Failure(str(error), isinstance(error, ClipError))))
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up among the answers
    with contextlib.suppress(BrokenPipeError):
        _serve(sys.stdin.buffer, answers)
