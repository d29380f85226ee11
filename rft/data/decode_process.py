"""The decoder in a child process, which loads PyAV alone: a hang or a crash costs one clip, not the run."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from rft.data.child_process import ChildProcess, requests, set_alarm
from rft.data.decoders import FrameSource, open_source
from rft.data.frames import ClipError, ReaderName
from rft.errors import DataError


@contextlib.contextmanager
def remote_source(
    child: ChildProcess, timeout_s: float, path: Path, source_fps: float | None, reader: ReaderName
) -> Iterator[FrameSource]:
    """The frames of `path`, decoded in `child`, a process of this module; one clip at a time.

    Raises what `open_source` raises, and ClipError if the decoder takes longer than `timeout_s` or crashes.
    """
    with child.connected() as connection:
        try:
            connection.send((path, source_fps, reader, timeout_s))
            timestamps_s, average_fps = _answer(connection)
            yield FrameSource(timestamps_s, average_fps, partial(_read, connection))
        except (EOFError, ConnectionError) as error:
            code = child.exit_code()
            limit = f"decoding takes longer than video.decode_timeout_s={timeout_s:g}"
            crash = f"the decoder crashed on it (exit code {code})"
            raise ClipError(f"{path}: {limit if code is None else crash}") from error


def _read(connection: Connection, indices: Sequence[int]) -> Iterator[np.ndarray]:
    connection.send(list(indices))
    for _ in indices:
        pixels = np.empty(_answer(connection), np.uint8)
        connection.recv_bytes_into(pixels.data.cast("B"))
        yield pixels


def _answer(connection: Connection) -> Any:
    """What the child sends; raises it if it is an error."""
    answer = connection.recv()
    if isinstance(answer, DataError):
        raise answer
    return answer


def serve(fd: int, parent_pid: int) -> None:
    """Main function of the child. Per clip: get a request, send times and rate, get indices, send the frames."""
    connection = Connection(fd)
    with contextlib.suppress(EOFError, ConnectionError):
        for path, source_fps, reader, timeout_s in requests(connection, parent_pid):
            set_alarm(timeout_s)
            try:
                source = open_source(path, source_fps, reader)
                connection.send((source.timestamps_s, source.average_fps))
                for frame in source.read(connection.recv()):
                    connection.send(frame.shape)
                    connection.send_bytes(np.ascontiguousarray(frame).data.cast("B"))
            except DataError as error:
                connection.send(error)
