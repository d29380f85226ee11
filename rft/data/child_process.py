"""A child process that a hang or a crash costs nothing but the request it was at.

Only the end of a process stops every loop: a signal handler waits for the code in C to return, and handlers run in the
main thread alone. The child sets itself an alarm with the system's default action, so it ends in time even where nobody
is left to watch it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any


class ChildProcess:
    """A process that runs `serve(fd, parent_pid)` of a module; it ends with this object or the program.

    The first caller starts it, and the first caller after its end starts another.
    """

    def __init__(
        self, module: str, environment: Mapping[str, str] | None = None, memory_bytes: int | None = None
    ) -> None:
        """`module`: dotted name. `environment`: variables in addition to this process's own.

        `memory_bytes`: most that the process may allocate; beyond it Python raises MemoryError. None: no limit.
        """
        self._module, self._environment, self._memory_bytes = module, environment or {}, memory_bytes
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.num_starts = 0
        self.close: Callable[[], object] = lambda: None
        """End the process and all that it started."""

    @property
    def pid(self) -> int | None:
        """None: the process is not running."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    @contextlib.contextmanager
    def connected(self) -> Iterator[Connection]:
        """The connection to the child, for one thread at a time. EOFError or ConnectionError: the child has ended.

        An exception inside ends the child: answers may still be on their way, and are not for the next caller.
        """
        with self._lock:
            try:
                if self.pid is None:
                    self._start()
                yield self._connection
            except BaseException:
                self.close()
                raise

    def _start(self) -> None:
        self.close()
        self._connection, theirs = Pipe()
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        limit = self._memory_bytes
        bound = f"import resource as r; r.setrlimit(r.RLIMIT_DATA, ({limit}, {limit})); " if limit else ""
        start = f"{bound}from {self._module} import serve; serve({theirs.fileno()}, {os.getpid()})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", start],
            stdin=subprocess.DEVNULL,
            stdout=2,  # what a library or a reward prints must not mix with the output of the run
            env={**os.environ, "PYTHONPATH": path, **self._environment},
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # Ctrl-C is for the run, which ends this process itself
        )
        theirs.close()
        self.close = weakref.finalize(self, _end, self._process, self._connection)
        self.num_starts += 1

    def exit_code(self, wait_s: float | None = None) -> int | None:
        """Exit code of a child that ended; None: it took longer than its alarm allows.

        `wait_s`: for a child that may have taken the alarm away and run on; one that closed the connection ends.
        """
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_s)
        code = self._process.returncode
        return None if code == -signal.SIGALRM else code


class ChildProcesses:
    """Child processes of one module, as many as threads use at one time; they end as a ChildProcess does."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._all: list[ChildProcess] = []
        self._idle: list[ChildProcess] = []

    @contextlib.contextmanager
    def own(self) -> Iterator[ChildProcess]:
        """One that no other thread uses meanwhile."""
        try:
            child = self._idle.pop()
        except IndexError:
            child = ChildProcess(self._module)
            self._all.append(child)
        try:
            yield child
        finally:
            self._idle.append(child)

    def close(self) -> None:
        """End them all; who asks next starts one again."""
        for child in self._all:
            child.close()


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    # The process leads its own group, which also holds whatever it started.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def requests(connection: Connection, parent_pid: int) -> Iterator[Any]:
    """In the child: what arrives, until the parent is gone. The alarm is off while the child waits."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to all processes of a run, it is the run that ends this one
    while True:
        set_alarm(0)
        # Closing the parent's end is the sign to go; a fork of the parent may hold that end open.
        while not connection.poll(2.0):
            if os.getppid() != parent_pid:
                return
        try:
            request = connection.recv()
        except (EOFError, ConnectionError):
            return
        yield request


def set_alarm(limit_s: float) -> None:
    """In the child: end it in `limit_s` seconds; 0: do not."""
    signal.setitimer(signal.ITIMER_REAL, limit_s)
