"""A Ray cluster of this machine alone: started quietly, ended with nothing left behind."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil  # type: ignore[import-untyped]
import ray
from ray._private import ray_constants

from rft.errors import RftError

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the coming default; unset, Ray warns
}

LONGEST_SOCKET_PATH = 107
"""Bytes in the path of a Unix socket."""

SOCKET_BELOW_FOLDER = "/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"

GRACE_S = 10.0
"""How long Ray's processes may take to end by themselves."""


class ClusterError(RftError):
    """Ray cannot be started."""


class Cluster:
    """A running Ray; `stop()`, or the end of a `with` block, ends it."""

    def __init__(self, folder: Path, processes: tuple[psutil.Process, ...]) -> None:
        self._folder = folder
        self._processes = processes

    def stop(self) -> None:
        """End Ray and every process it started, and remove its folder; a second call does nothing."""
        family = _with_descendants(self._processes)
        self._processes = ()
        ray.shutdown()
        _end(family)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def start(temp_root: Path | None = None, init: Callable[..., Any] = ray.init) -> Cluster:
    """A Ray of this machine, reachable from it alone. `temp_root`: where its sockets and logs lie while it runs.

    ClusterError: it does not start; the message says why and what to do.
    """
    os.environ.update(ENVIRONMENT)
    # Read from the environment when ray is imported, which may be past. Under `uv run`, Ray would start every worker
    # by another `uv run`, which resolves packages anew.
    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    folder = _make_folder(temp_root or Path(tempfile.gettempdir()))
    before = set(psutil.Process().children(recursive=True))
    try:
        init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
        )
    except BaseException as error:
        log = _log_tail(folder)
        Cluster(folder, _started_since(before)).stop()
        if isinstance(error, Exception):
            raise ClusterError(_start_problem(error, folder, log)) from error
        raise
    return Cluster(folder, _started_since(before))


def _make_folder(root: Path) -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix="ray-", dir=root))
    except OSError as error:
        raise ClusterError(
            f"{root}: Ray cannot keep its sockets and logs there: {error.strerror}. Set TMPDIR to a folder you can "
            "write to."
        ) from error
    longest = len(os.fsencode(folder)) + len(SOCKET_BELOW_FOLDER)
    if longest > LONGEST_SOCKET_PATH:
        folder.rmdir()
        raise ClusterError(
            f"{root}: too long for the path of Ray's sockets by {longest - LONGEST_SOCKET_PATH} bytes. Set TMPDIR to a "
            "shorter folder."
        )
    return folder


def _start_problem(error: Exception, folder: Path, log: str) -> str:
    free_gib = shutil.disk_usage(folder.parent).free / 2**30
    shared = Path("/dev/shm")
    shared_gib = shutil.disk_usage(shared).free / 2**30 if shared.is_dir() else 0.0
    return (
        f"Ray cannot start on this machine: {type(error).__name__}: {str(error).strip()}\n"
        f"{log}"
        f"It needs free ports on 127.0.0.1 (a firewall or sandbox may refuse them), processes (ulimit -u), open files "
        f"(ulimit -n), space in {folder.parent} (free: {free_gib:.1f} GiB) and in /dev/shm (free: {shared_gib:.1f} "
        "GiB). Free what is short and start again."
    )


def _log_tail(folder: Path, num_lines: int = 4) -> str:
    """The last lines of what Ray's servers wrote to their error files; "" where they wrote nothing."""
    lines: list[str] = []
    for path in sorted(folder.glob("session_*/logs/*.err")):
        for line in path.read_text(errors="replace").splitlines()[-num_lines:]:
            lines.append(f"  {path.name}: {line}\n")
    return "".join(lines)


def _started_since(before: set[psutil.Process]) -> tuple[psutil.Process, ...]:
    return tuple(process for process in psutil.Process().children(recursive=True) if process not in before)


def _with_descendants(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    family: set[psutil.Process] = set()
    for process in processes:
        try:
            family |= {process, *process.children(recursive=True)}
        except psutil.NoSuchProcess:
            continue
    return family


def _end(processes: set[psutil.Process]) -> None:
    """Wait for processes that were told to end; end what is still there after GRACE_S."""
    _, alive = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=GRACE_S)
