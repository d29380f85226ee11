"""Caches with a limit in bytes, in memory and in a folder: the least recently used entries are removed first."""

import contextlib
import fcntl
import math
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

ABANDONED_S = 3600.0
"""Age in seconds from which a .part file that no process holds counts as left over by a killed one."""


class MemoryCache(Generic[Key, Value]):
    """Values in the memory of this process, at most `max_bytes` in all."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: Key, value: Value, num_bytes: int) -> None:
        """Store `value`, of `num_bytes`, under a key that has none yet."""
        self._entries[key] = (value, num_bytes)
        self._bytes += num_bytes
        while self._bytes > self._max_bytes:
            self._bytes -= self._entries.popitem(last=False)[1][1]


class FolderCache:
    """Files in a folder, at most `max_gib` in all; several processes may read, write and remove at the same time."""

    def __init__(self, directory: Path, pattern: str, max_gib: float) -> None:
        """`pattern`: glob of the cache's files, relative to `directory`."""
        self._directory = directory
        self._pattern = pattern
        self._max_bytes = int(max_gib * 2**30)
        self._bytes_since_scan = math.inf

    def store(self, path: Path, write: Callable[[Path], object]) -> None:
        """Write the file `path`: `write` fills a temporary file, which is then renamed, so that no reader gets half."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        part = Path(name)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # its age alone says little: clocks jump
            write(part)
            self._bytes_since_scan += part.stat().st_size
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        if self._bytes_since_scan * 20 >= self._max_bytes:  # others write too: scan often enough for all
            self._bytes_since_scan = 0.0
            self._make_room()

    def _make_room(self) -> None:
        files = []
        for path in self._directory.glob(f"{self._pattern}*"):
            with contextlib.suppress(FileNotFoundError):  # another process made room meanwhile
                stat = path.stat()
                if path.suffix != ".part":
                    files.append((stat.st_mtime_ns, stat.st_size, path))
                elif stat.st_mtime < time.time() - ABANDONED_S and not _is_held(path):
                    path.unlink()
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files)[:-1]:
            if total <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def _is_held(part: Path) -> bool:
    """Whether a process is writing it."""
    with part.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
    return False
