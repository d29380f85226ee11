"""The Ray actor around the judge's vLLM server, and the judge of a command."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray

from rft.actors.cluster import cause_of, check_servers, cluster, end_actor
from rft.actors.gpu_count import gpu_signs, none_found
from rft.actors.imports import large_imports
from rft.actors.rollout import engine_environment
from rft.errors import ClusterError
from rft.recipe import Recipe, RolloutRecipe
from rft.recipe.judge import JudgeRecipe
from rft.scoring.judge import Judge, with_judge

MOST_THREADS = 8
"""Of a server beside GPUs."""

END_GROUP = "import os, sys; sys.stdin.read(); os.killpg(int(sys.argv[1]), 9)"
"""Ends a group of processes once nobody holds the other end of its standard input."""


class JudgeActor:
    """One vLLM server, which ends with this process, however that ends."""

    def listen(self) -> str:
        """Take a free port; returns the address, where nobody answers yet."""
        self._socket = socket.socket()
        host = str(ray.util.get_node_ip_address())  # 127.0.0.1, unless the run is on a cluster that it joined
        self._socket.bind((host, 0))
        return f"http://{host}:{self._socket.getsockname()[1]}"

    def serve(self, judge: JudgeRecipe, log: Path, use_gpu: bool) -> None:
        """Answer requests until the engine fails, with all output in the file `log`."""
        with log.open("ab") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
        self._lead_group()
        cores = len(os.sched_getaffinity(0))
        threads = min(MOST_THREADS, cores) if use_gpu else cores
        os.environ.update(engine_environment(RolloutRecipe(), use_gpu, Path(judge.model).is_dir(), threads))
        # A fork would hold the guard's input open.
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
        # Only here: it imports torch and vLLM, which read the environment as they are imported.
        with large_imports():
            from rft.rollout.judge_server import serve

        serve(judge, self._socket, use_gpu)

    def _lead_group(self) -> None:
        """vLLM's engine is another process, which does not notice the end of this one: a third one ends it then."""
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        command = [sys.executable, "-I", "-S", "-c", END_GROUP, str(os.getpgrp())]
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


class RayServer:
    """The judge's handle on a JudgeActor in its own process."""

    def __init__(self, judge: JudgeRecipe, options: dict[str, Any], log: Path) -> None:
        """Returns at once, while the server starts. `options`: as of `gpu_options`.

        ClusterError: Ray is not there any more.
        """
        check_servers()
        use_gpu = options["num_gpus"] > 0
        self._actor = ray.remote(num_cpus=0, **options)(JudgeActor).remote()
        self._address: Future[Any] = self._actor.listen.remote().future()
        self._ended: Future[Any] = self._actor.serve.remote(judge, log, use_gpu).future()

    def address(self) -> str | None:
        return self._address.result() if self._address.done() and not self._address.exception() else None

    def problem(self) -> str | None:
        if not self._ended.done():
            return None
        error = self._ended.exception()
        return cause_of(error) if error else "vLLM's engine failed"

    def close(self) -> None:
        end_actor(self._actor)


def start_judge(
    recipe: JudgeRecipe,
    options: dict[str, Any],
    cache: Path,
    log: Path,
    should_stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda text: None,
) -> Judge:
    """The judge on this Ray cluster. Returns at once, while its server starts. `options`: as of `gpu_options`."""
    return Judge(recipe, lambda: RayServer(recipe, options, log), recipe.cache or cache, log, should_stop, note)


@contextmanager
def judged(recipe: Recipe, cache: Path) -> Iterator[Recipe]:
    """The recipe whose rewards ask its judge, which runs as long as the block. `cache`: as of `served`."""
    if recipe.judge is None:
        yield recipe
        return
    with served(recipe.judge, cache) as (url, cache):
        yield with_judge(recipe, url, cache)


@contextmanager
def served(judge: JudgeRecipe, cache: Path) -> Iterator[tuple[str, Path]]:
    """Address of the judge, which runs as long as the block in a Ray cluster of its own, and the file of its replies.

    `cache`: that file, where it is there and the recipe names none.
    """
    with TemporaryDirectory(prefix="rft-") as folder, cluster():
        num_found = int(ray.cluster_resources().get("GPU", 0))
        if num_found == 0 and (signs := gpu_signs()):
            raise ClusterError(none_found(signs))
        if 0 < num_found < judge.gpus:
            raise ClusterError(f"judge.gpus: {judge.gpus} are needed, and {num_found} are there.")
        cache = judge.cache or (cache if cache.exists() else Path(folder) / "judge.sqlite")
        options = {"num_gpus": judge.gpus if num_found else 0}
        with closing(start_judge(judge, options, cache, Path(folder) / "judge.log")) as running:
            yield running.url(), cache
