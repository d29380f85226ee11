"""A Ray cluster of this machine alone: started quietly, ended with nothing left behind."""

import fcntl
import logging
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import ray
from ray._private import node as ray_node
from ray._private import ray_constants
from ray._private import state as ray_state
from ray._private import worker as ray_worker
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rft.actors.gpu_count import gpu_problem, gpu_signs
from rft.actors.joined import is_joined, joined, kept_sigterm, reserved
from rft.actors.placement import Part
from rft.errors import ClusterError
from rft.recipe import Recipe
from rft.recipe.cluster import ClusterRecipe

FOR_TENSORS = {
    # Engine and learner take turns on the same cores: threads that wait must not spin there.
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc by itself gives the memory of large tensors back at once, and the next step has it mapped anew.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2 << 30),
}
"""Environment of processes that compute on the CPU."""

ENVIRONMENT = FOR_TENSORS | {
    "NCCL_SOCKET_IFNAME": "lo",  # processes of one machine find each other without a port that others can reach
    "RAY_USAGE_STATS_ENABLED": "0",
    # Off, Ray keeps to 127.0.0.1, as it does by itself on macOS; on, it replaces that by an address others can reach.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # On, workers of a driver under `uv run` are started by another `uv run`, which resolves packages anew.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the coming default; unset, Ray warns
}

LONGEST_SOCKET_PATH = 107
"""Bytes in the path of a Unix socket."""

SOCKET_BELOW_FOLDER = "/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"

PREFIX = "rft-"
"""Of the folders of Ray's sockets and logs, one per run."""

BELOW = "ray"
"""The part of such a folder that Ray gets and opens to everyone; the folder itself is its owner's alone."""

TEMPORARY = "tmp"
"""The part of it where the processes that Ray starts leave temporary files, which are removed with it."""

SHARED_GPUS = "shared GPUs"
"""Ray's name for them, a bundle each."""

ENDED = (RayActorError, OutOfMemoryError)
"""What a call to an actor raises whose process ended, by itself or by Ray, which does so where memory runs out."""

LONGEST_END_S = 10.0
"""How long a killed process may take to be gone."""


@contextmanager
def cluster(temp_root: Path | None = None, init: Callable[..., Any] = ray.init) -> Iterator[None]:
    """Ray on this machine, reachable from it alone, for as long as the block runs.

    Afterwards every process it started has ended. `temp_root`: where its sockets and logs lie meanwhile.
    ClusterError: it does not start; the message says why and what to do.
    """
    os.environ.update(ENVIRONMENT)
    # Ray asks whoever connects for a token. By itself it keeps one in the home folder, where others may read it.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # ray reads these from the environment as it is imported, which may be past.
    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    ray_constants.ENABLE_RAY_CLUSTER = False
    # Ray tells of dead workers on standard output, in the middle of the live view; the pool tells of them too.
    ray_worker.print_to_stdstream = _log_message
    # Of its servers, these add machines, print what processes write and serve a page: nobody asks them for anything.
    for unwanted in ("start_monitor", "start_log_monitor", "start_api_server"):
        setattr(ray_node.Node, unwanted, lambda node, **options: None)
    root = temp_root or Path(tempfile.gettempdir())
    _sweep(root)
    with _own_folder(root) as folder:
        before = _descendants()
        servers: set[psutil.Process] = set()
        try:
            _start(folder, init)
            servers = _descendants() - before
            yield
        finally:
            # Children of others than Ray's servers may have come meanwhile; where the start failed there was no time.
            family = _with_descendants(servers) if servers else _descendants() - before
            _shut_down()
            _end(family)


def join(there: ClusterRecipe) -> AbstractContextManager[None]:
    """The recipe's Ray cluster, which somebody else started, for as long as the block runs."""
    address = there.joined_address()
    assert address is not None
    return joined(address, FOR_TENSORS, there.runtime_env)


def check_gpus(recipe: Recipe, num_ranks: int) -> int:
    """The number of GPUs that Ray finds. ClusterError: fewer than the engines and `num_ranks` learning processes need,
    or none where the machine or what is installed says that there should be some."""
    num_found = int(ray.cluster_resources().get("GPU", 0))
    problem = gpu_problem(recipe, num_ranks, num_found, gpu_signs())
    if problem:
        raise ClusterError(problem)
    return num_found


def gpu_options(recipe: Recipe, part: Part, place: int = 0) -> dict[str, Any]:
    """What ray.remote is told of the GPUs of a process: engine, learning process or judge number `place`.

    Where they share GPUs the two with the same number get the same one; by itself Ray would put two engines together.
    ClusterError: there is no GPU of that number.
    """
    if is_joined():
        return reserved(recipe, part, place)
    num_here = int(ray.cluster_resources().get("GPU", 0))
    if num_here == 0:
        return {"num_gpus": 0}
    num_gpus = {"engine": recipe.rollout.gpus_per_worker, "rank": 1, "judge": recipe.judge.gpus if recipe.judge else 0}
    if not recipe.rollout.share_gpu or part == "judge":
        return {"num_gpus": num_gpus[part]}
    num_shared = num_here - (recipe.judge.gpus if recipe.judge else 0)  # the judge's are its own
    if place >= num_shared:
        raise ClusterError(
            f"rollout.share_gpu: engine or learning process {place + 1} needs a GPU of its number, and Ray finds "
            f"{num_shared} for them. Lower rollout.num_workers and learner.num_ranks."
        )
    try:
        group = ray.util.get_placement_group(SHARED_GPUS)
    except ValueError:
        group = ray.util.placement_group([{"GPU": 1}] * num_shared, name=SHARED_GPUS)
    return {"num_gpus": 0.5, "scheduling_strategy": PlacementGroupSchedulingStrategy(group, place)}


def _log_message(data: dict[str, Any], ignore_prefix: bool = False) -> None:
    logging.getLogger("ray").warning("%s", "\n".join(data["lines"]))


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables, for as long as the block runs; processes that are started in it keep them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _for_processes(folder: Path) -> dict[str, str]:
    """Where they keep files: temporary ones below Ray's folder, PyTorch's compiled kernels where they outlive a run."""
    kernels = Path(tempfile.gettempdir()) / f"torchinductor_{os.getuid()}"
    return {
        "TMPDIR": str(folder.with_name(TEMPORARY)),
        "TORCHINDUCTOR_CACHE_DIR": os.environ.get("TORCHINDUCTOR_CACHE_DIR", str(kernels)),
    }


def _start(folder: Path, init: Callable[..., Any]) -> None:
    # Schedulers send SIGTERM to all processes at once. Those that Ray starts inherit the block and live on, so that the
    # run can save its checkpoint; at its end they are killed.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with _environment(_for_processes(folder)), kept_sigterm():
            init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
            )
    except Exception as error:
        raise ClusterError(_start_problem(error, folder)) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def _own_folder(root: Path) -> Iterator[Path]:
    """A folder for Ray in one that others cannot enter, which this process holds by a lock and removes."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    except OSError as error:
        raise ClusterError(
            f"{root}: Ray cannot keep its sockets and logs there: {error.strerror}. Set TMPDIR to a folder you can "
            "write to."
        ) from error
    excess = len(os.fsencode(folder / BELOW)) + len(SOCKET_BELOW_FOLDER) - LONGEST_SOCKET_PATH
    if excess > 0:
        folder.rmdir()
        raise ClusterError(
            f"{root}: too long for the paths of Ray's sockets, by {excess} bytes. Set TMPDIR to a shorter folder."
        )
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / TEMPORARY).mkdir()
        (folder / BELOW).mkdir()  # after the lock: from here on others see whether the run lives
        yield folder / BELOW
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(root: Path) -> None:
    """Remove the folders that runs of this user left in `root` when they were killed."""
    for folder in root.glob(f"{PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid() or not (folder / BELOW).is_dir():
                continue
            lock = os.open(folder, os.O_RDONLY)
        except OSError:  # another run swept it meanwhile
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


def _is_in_use(folder: Path) -> bool:
    """Whether a server of Ray was told of `folder`: they outlive a killed run by seconds."""
    told = f"{folder}/"
    return any(told in part for process in psutil.process_iter(["cmdline"]) for part in process.info["cmdline"] or ())


def _start_problem(error: Exception, folder: Path) -> str:
    shared = Path("/dev/shm")
    shared_gib = shutil.disk_usage(shared).free / 2**30 if shared.is_dir() else 0.0
    return (
        f"Ray cannot start on this machine: {type(error).__name__}: {str(error).strip()}\n"
        f"{_log_tail(folder)}"
        "It needs free ports on 127.0.0.1 (a firewall or sandbox may refuse them), processes (ulimit -u), open files "
        f"(ulimit -n), space in {folder.parents[1]} (free: {shutil.disk_usage(folder).free / 2**30:.1f} GiB) and in "
        f"/dev/shm (free: {shared_gib:.1f} GiB). Free what is short and start again."
    )


def _log_tail(folder: Path, num_lines: int = 4) -> str:
    """The last lines of what Ray's servers wrote to their error files; "" where they wrote nothing."""
    return "".join(
        f"  {path.name}: {line}\n"
        for path in sorted(folder.glob("session_2*/logs/*.err"))
        for line in path.read_text(errors="replace").splitlines()[-num_lines:]
    )


def _descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _with_descendants(processes: set[psutil.Process]) -> set[psutil.Process]:
    family = set(processes)
    for process in processes:
        try:
            family.update(process.children(recursive=True))
        except psutil.NoSuchProcess:
            continue
    return family


def _shut_down() -> None:
    """As ray.shutdown(), which first sends each server a SIGTERM that it does not get, and waits a second for it."""
    node = ray_worker._global_node
    if node is not None:
        end_all = node.kill_all_processes
        node.kill_all_processes = lambda **how: end_all(**how | {"allow_graceful": False})
    ray.shutdown()


def _end(processes: set[psutil.Process]) -> None:
    """Kill them, and wait until they are gone."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=LONGEST_END_S)


def end_actor(actor: Any) -> None:
    """End an actor's process and all that it started; on this machine also where it hangs and heeds nobody."""
    if is_joined():
        ray.kill(actor)  # what it started notices, and ends
        return
    try:
        check_servers()
        pid = ray_state.actors(actor._actor_id.hex()).get("Pid")
    except ClusterError:
        return  # it ends by itself
    ray.kill(actor)
    # Nobody but a descendant: the process may have ended, and its number be another's by now.
    of_actor = {process for process in _descendants() if process.pid == pid}
    _end(_with_descendants(of_actor))


def check_servers() -> None:
    """Raises ClusterError where one of the run's own servers ended without which nothing can be started."""
    if is_joined():
        return  # calls say what is wrong with the servers of others
    node = ray_worker._global_node
    for name in ("raylet", "gcs_server"):
        status = node.all_processes[name][0].process.poll() if node else None
        if status is not None:
            raise ClusterError(
                f"Ray's own process {name} ended with exit status {status}, and with it engines and learner. "
                "Status -9: it was killed, by the system where memory ran out (dmesg tells). Continue with --resume."
            )


def cause_of(error: BaseException) -> str:
    """What a person needs of Ray's error: the exception in the worker, or how its process ended."""
    cause = getattr(error, "cause", None)
    if isinstance(error, RayTaskError) and cause is not None:
        return f"{type(cause).__name__}: {cause}"
    text = str(error).strip()
    # Of memory that ran out, Ray tells how much there was, and then much else.
    return "\n".join(text.splitlines()[:2]) if isinstance(error, OutOfMemoryError) else text
