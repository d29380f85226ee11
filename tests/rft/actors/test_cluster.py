"""Ray that does not start: the message, and what is left behind. The real one runs in tests/e2e."""

import ipaddress
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
import ray
from ray._private import worker as ray_worker

from rft.actors.cluster import check_servers, cluster, end_actor, gpu_options
from rft.actors.placement import Part
from rft.errors import ClusterError
from rft.recipe import Recipe


def refused(**options: object) -> None:
    logs = Path(str(options["_temp_dir"])) / "session_2026" / "logs"
    logs.mkdir(parents=True)
    (logs / "gcs_server.err").write_text("one\nbind: address already in use\n")
    raise ConnectionError("GCS did not answer on port 6379")


def test_a_failed_start_says_why_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as caught, cluster(Path("/tmp"), init=refused):
        pytest.fail("the block must not run")
    message = str(caught.value)
    assert "ConnectionError: GCS did not answer on port 6379" in message
    assert "gcs_server.err: bind: address already in use" in message
    assert "free ports on 127.0.0.1" in message


def test_a_failed_start_leaves_no_folder() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        with pytest.raises(ClusterError), cluster(Path(folder), init=refused):
            pytest.fail("the block must not run")
        assert list(Path(folder).iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ClusterError, match=r"Ray cannot keep its sockets and logs there.* Set TMPDIR"),
        cluster(tmp_path / "file", init=refused),
    ):
        pytest.fail("the block must not run")


def test_a_folder_too_long_for_sockets(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    with (
        pytest.raises(ClusterError, match=r"too long for the paths of Ray's sockets, by \d+ bytes"),
        cluster(deep, init=refused),
    ):
        pytest.fail("the block must not run")
    assert list(deep.iterdir()) == []


def test_only_this_machine_reaches_it() -> None:
    seen: dict[str, object] = {}

    def init(**options: object) -> None:
        seen.update(options)

    with cluster(Path("/tmp"), init=init):
        assert Path(str(seen["_temp_dir"])).is_dir()
    assert (seen["address"], seen["_node_ip_address"], seen["include_dashboard"]) == ("local", "127.0.0.1", False)
    assert not Path(str(seen["_temp_dir"])).exists()


@pytest.fixture
def root() -> Iterator[Path]:
    """Short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def test_who_waits_for_sigterm_keeps_it(root: Path) -> None:
    """As ray.init does, which would end a run without a checkpoint."""

    def init(**options: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def mine(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with cluster(root, init=init):
            assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_others_cannot_enter_its_folder(root: Path) -> None:
    def init(_temp_dir: str, **options: object) -> None:
        Path(_temp_dir).chmod(0o777)  # as Ray does

    with cluster(root, init=init):
        (folder,) = root.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_temporary_files_of_its_processes_are_removed_with_it(root: Path) -> None:
    seen: dict[str, str] = {}

    def init(**options: object) -> None:
        script = "import os, tempfile as t; t.mkstemp(); print(t.gettempdir(), os.environ['TORCHINDUCTOR_CACHE_DIR'])"
        printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        seen["temporary"], seen["kernels"] = printed.split()

    before = dict(os.environ)
    with cluster(root, init=init):
        assert Path(seen["temporary"]).is_relative_to(root)
        assert len(list(Path(seen["temporary"]).iterdir())) == 1
    assert list(root.iterdir()) == []
    assert os.environ.get("TMPDIR") == before.get("TMPDIR")
    assert Path(seen["kernels"]).parent == Path(tempfile.gettempdir()), "they are compiled once"


def test_what_a_killed_run_left_is_removed_at_the_next_start(root: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from rft.actors.cluster import cluster
with cluster(Path({str(root)!r}), init=lambda **options: None):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False, timeout=120)
    (left,) = root.iterdir()
    for name in ("rft-notes", "ray-of-another"):
        (root / name).mkdir()
    server = subprocess.Popen([sys.executable, "-c", "input()", f"--temp-dir={left}/ray"], stdin=subprocess.PIPE)
    try:
        with cluster(root, init=lambda **options: None):
            assert left.exists(), "a process uses it"
            live = set(root.iterdir())
            with cluster(root, init=lambda **options: None):
                assert set(root.iterdir()) > live, "the other run lives"
    finally:
        server.communicate(b"\n")
    with cluster(root, init=lambda **options: None):
        assert not left.exists()
    assert sorted(path.name for path in root.iterdir()) == ["ray-of-another", "rft-notes"]


class Server:
    """One of Ray's own processes, as Ray keeps them."""

    def __init__(self, status: int | None) -> None:
        self.process, self.status = self, status

    def poll(self) -> int | None:
        return self.status


class Node:
    """Ray's keeper of its servers."""

    def __init__(self, raylet: int | None, gcs: int | None) -> None:
        self.all_processes = {"raylet": [Server(raylet)], "gcs_server": [Server(gcs)]}
        self.ended: list[dict[str, bool]] = []

    def kill_all_processes(self, **how: bool) -> None:
        self.ended.append(how)


@pytest.mark.parametrize(("raylet", "gcs", "told"), [(-9, None, "raylet .* -9"), (None, 1, "gcs_server .* 1")])
def test_a_server_that_ended_is_named(
    raylet: int | None, gcs: int | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_servers()  # there are none
    monkeypatch.setattr(ray_worker, "_global_node", Node(None, None))
    check_servers()
    monkeypatch.setattr(ray_worker, "_global_node", Node(raylet, gcs))
    with pytest.raises(ClusterError, match=f"{told}, and with it engines and learner"):
        check_servers()


def test_servers_that_hear_no_sigterm_are_not_waited_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(None, None)
    monkeypatch.setattr(ray, "shutdown", lambda: node.kill_all_processes(check_alive=False, allow_graceful=True))
    with cluster(root, init=lambda **options: monkeypatch.setattr(ray_worker, "_global_node", node)):
        pass
    assert node.ended == [{"check_alive": False, "allow_graceful": False}]


@pytest.mark.slow
def test_ray_itself_leaves_sigterm_and_stays_behind_a_closed_door(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    try:
        with cluster(root):
            assert ray.get(ray.remote(num_cpus=0)(lambda: os.getppid()).remote()) > 0
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked == [signal.SIGTERM]
            (folder,) = root.iterdir()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert os.environ["RAY_AUTH_MODE"] == "token"
            assert not (tmp_path / ".ray").exists(), "Ray uses a token of its own, in a file"
            family = [psutil.Process(), *psutil.Process().children(recursive=True)]
            ports = [c.laddr for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert list(root.iterdir()) == []
    assert ports
    assert {ipaddress.ip_address(port.ip.removeprefix("::ffff:")).is_loopback for port in ports} == {True}


def check_servers_until_one_ended() -> None:
    while True:
        check_servers()


@pytest.mark.slow
def test_processes_of_ray_live_through_a_sigterm_to_all_and_hung_ones_are_ended(root: Path) -> None:
    class Sleeper:
        def __init__(self) -> None:
            self.child = subprocess.Popen(["sleep", "600"])

        def pids(self) -> list[int]:
            return [os.getpid(), self.child.pid]

    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    try:
        with cluster(root):
            actor = ray.remote(num_cpus=0)(Sleeper).remote()
            pids = ray.get(actor.pids.remote())
            for process in psutil.Process().children(recursive=True):
                process.terminate()
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked == [signal.SIGTERM]
            assert ray.get(actor.pids.remote()) == pids
            assert ray.get(ray.remote(num_cpus=0)(lambda: 1).remote()) == 1
            check_servers()
            sleeper, child = map(psutil.Process, pids)
            sleeper.suspend()
            end_actor(actor)
            assert psutil.wait_procs([sleeper, child], timeout=30)[1] == []
            (raylet,) = (p for p in psutil.Process().children() if p.name() == "raylet")
            raylet.kill()
            # Not psutil's wait: it would take the exit status away from Ray, whose child the raylet is.
            with pytest.raises(ClusterError, match="Ray's own process raylet ended with exit status -9"):
                check_servers_until_one_ended()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert list(root.iterdir()) == []


@pytest.mark.slow
def test_an_engine_and_a_learning_process_share_a_gpu() -> None:
    """Of two each, on two GPUs beside the two of a judge. Ray only counts them, so none has to be there."""

    class Process:
        def gpus(self) -> list[int]:
            return list(ray.get_gpu_ids())

    keys = {"model": "m", "tasks": {}, "data": {"train": []}, "steps": 1, "learner": {"num_ranks": 2}}
    shared = {"rollout": {"num_workers": 2, "share_gpu": True}, "judge": {"model": "j", "gpus": 2}}
    recipe = Recipe.model_validate(keys | shared)
    remote = ray.remote(num_cpus=0)(Process)
    parts: tuple[Part, ...] = ("engine", "rank")
    with cluster(init=partial(ray.init, num_gpus=4)):
        options = [gpu_options(recipe, part, place) for part in parts for place in (0, 1)]
        processes = [remote.options(**of).remote() for of in options]
        gpus = ray.get([process.gpus.remote() for process in processes])
        of_judge = ray.get(remote.options(**gpu_options(recipe, "judge")).remote().gpus.remote())
        with pytest.raises(ClusterError, match="learning process 3 needs a GPU of its number, and Ray finds 2"):
            gpu_options(recipe, "rank", 2)
        apart = gpu_options(Recipe.model_validate(keys | {"rollout": {"gpus_per_worker": 2}}), "engine", 1)
    assert gpus[:2] == gpus[2:]
    assert sorted([*gpus[0], *gpus[1], *of_judge]) == [0, 1, 2, 3]
    assert apart == {"num_gpus": 2}
