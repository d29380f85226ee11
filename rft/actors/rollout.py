"""The Ray actor around a vLLM engine, and the pool's handle on it."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayTaskError

from rft.actors.cluster import ENDED, cause_of, check_servers, end_actor, gpu_options
from rft.actors.cpu import clips_at_once, gpu_process_threads
from rft.actors.imports import large_imports
from rft.actors.joined import use_own_interface
from rft.data.frames import Shown
from rft.data.video import ClipCache
from rft.errors import LearnerError
from rft.recipe import Recipe, RolloutRecipe
from rft.rollout.pool import WorkerPool
from rft.rollout.worker import Generated, ViewedPrompt, WorkerDied
from rft.types import Completion, Prompt, Sampling
from rft.weights.ref import Address, StagedWeights, WeightsRef
from rft.weights.transfer import FALL_BACK, LOAD_TIMEOUT_S


class RolloutWorker:
    """One vLLM engine. Requests join the batch that is being decoded and return as they finish."""

    def __init__(self, model: str, recipe: Recipe, clips_dir: Path, use_gpu: bool) -> None:
        self._args = (model, recipe, clips_dir, use_gpu)
        self._clips = ClipCache.of(recipe, clips_dir)
        self._decoders = ThreadPoolExecutor(clips_at_once(recipe, len(os.sched_getaffinity(0))), "decoder")
        # One thread: neither tokenizers nor vLLM's processor cache may be used by two.
        self._renderer = ThreadPoolExecutor(1, "renderer")
        self._num_aborts = 0
        self._counted: dict[str, float] = {}

    async def start(self) -> None:
        """Build the engine; called once, before all else. Not by __init__, whose errors Ray wraps in its own text."""
        await asyncio.to_thread(self._start, *self._args)

    def _start(self, model: str, recipe: Recipe, clips_dir: Path, use_gpu: bool) -> None:
        use_own_interface()
        cores = len(os.sched_getaffinity(0))
        threads = gpu_process_threads(recipe, cores) if use_gpu else cores
        os.environ.update(engine_environment(recipe.rollout, use_gpu, Path(model).is_dir(), threads))
        # Only here: it imports torch and vLLM, which read the environment as they are imported.
        with large_imports():
            from rft.data.feature_store import features_in
            from rft.rollout.engine import Engine, EngineFailed

        features_dir = features_in(clips_dir) if recipe.learner.freezes_tower else None
        self._engine = Engine(model, recipe, use_gpu, features_dir)
        self._engine_failed = EngineFailed
        if recipe.rollout.sleeps_during_update:
            self._engine.sleep().result()

    async def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Generated:
        """The group of one prompt. What goes wrong with this prompt alone is an answer, not an exception."""
        loop = asyncio.get_running_loop()
        num_aborts = self._num_aborts

        def submit(frames: Shown | None) -> Future[tuple[Completion, ...]]:
            rendered = self._engine.render(prompt, frames)
            if num_aborts != self._num_aborts:
                raise RuntimeError("aborted")
            return self._engine.submit(rendered, sampling, seed)

        try:
            frames = await loop.run_in_executor(self._decoders, self._clips.load, prompt.media)
            # Both by the renderer's thread: new weights, which empty vLLM's processor cache, must not come between.
            submitted = await loop.run_in_executor(self._renderer, submit, frames)
            return Generated(await asyncio.wrap_future(submitted))
        except self._engine_failed:
            raise
        except Exception as error:
            return failure(sampling, f"{type(error).__name__}: {error}")

    async def view_prompt(self, prompt: Prompt, sampling: Sampling, seed: int) -> ViewedPrompt:
        """The engine's view of one prompt, and the completions that it samples."""
        loop = asyncio.get_running_loop()
        try:
            frames = await loop.run_in_executor(self._decoders, self._clips.load, prompt.media)
            rendered = await loop.run_in_executor(self._renderer, self._engine.render, prompt, frames)
            view = await asyncio.wrap_future(self._engine.view_prompt(rendered, frames.key if frames else ""))
            completions = await asyncio.wrap_future(self._engine.submit(rendered, sampling, seed))
        except self._engine_failed:
            raise
        except Exception as error:
            return ViewedPrompt(None, (), f"{type(error).__name__}: {error}")
        return ViewedPrompt(replace(view, logprobs=tuple(one.logprobs for one in completions)), completions)

    async def broadcast_group(self, source: StagedWeights) -> Address | None:
        """The group that the engine is in with the learner that `source` lies with; None: in none."""
        return await asyncio.wrap_future(self._engine.broadcast_group(source))

    async def load_weights(self, ref: WeightsRef) -> float:
        """Replace the engine's weights; returns the probe's mean absolute log-probability gap.

        TimeoutError: they did not arrive within LOAD_TIMEOUT_S.
        """

        def load() -> float:
            return self._engine.load_weights(ref).result()

        # By the renderer's thread: vLLM's processor cache is emptied, so nothing may be rendered meanwhile.
        loading = asyncio.get_running_loop().run_in_executor(self._renderer, load)
        try:
            return await asyncio.wait_for(loading, LOAD_TIMEOUT_S)
        except TimeoutError as error:
            raise TimeoutError(f"weights did not arrive within {LOAD_TIMEOUT_S:g} s. {FALL_BACK}") from error

    async def sleep(self) -> None:
        """Leave a shared GPU to the learner until the next call."""
        await asyncio.get_running_loop().run_in_executor(self._renderer, lambda: self._engine.sleep().result())

    async def counters(self) -> dict[str, float]:
        totals = self._clips.counters()
        since = {name: total - self._counted.get(name, 0.0) for name, total in totals.items()}
        self._counted = totals
        return await asyncio.wrap_future(self._engine.counters()) | since

    async def abort(self) -> None:
        self._num_aborts += 1
        await asyncio.wrap_future(self._engine.abort_all())


def failure(sampling: Sampling, problem: str) -> Generated:
    """A group of completions that state a failure."""
    none = Completion("", (), (), num_prompt_tokens=0, finish_reason="error", policy_version=0)
    return Generated((none,) * sampling.num_generations, problem)


def engine_environment(rollout: RolloutRecipe, use_gpu: bool, offline: bool, threads: int) -> dict[str, str]:
    """Environment variables for a process that hosts vLLM, the recipe's last.

    `offline`: the model is a local folder. `threads`: of the process, where the recipe says nothing.
    """
    variables = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine is stepped in this process
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",  # the engine's thread waits for weights, not the event loop
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "OMP_NUM_THREADS": str(rollout.threads_per_worker or threads),
    }
    if offline:
        variables |= {"HF_HUB_OFFLINE": "1"}
    if not use_gpu:
        variables |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the learner has the same cores
            "GLOO_SOCKET_IFNAME": "lo",
            # Eager is as fast for what is left of torch.compile there, starts sooner and needs no C++ compiler.
            "TORCHDYNAMO_DISABLE": "1",
        }
    return variables | {name: str(value) for name, value in rollout.environment.items()}


class RayWorker:
    """The pool's handle on a RolloutWorker in its own process."""

    def __init__(self, model: str, recipe: Recipe, clips_dir: Path, index: int) -> None:
        """Returns at once, while worker number `index` starts. ClusterError: Ray is not there any more."""
        check_servers()
        options = gpu_options(recipe, "engine", index)
        # num_cpus=0: workers and learner take turns on the cores of a machine without GPUs.
        actor = ray.remote(num_cpus=0, **options)(RolloutWorker)
        self._actor = actor.remote(model, recipe, clips_dir, options["num_gpus"] > 0)
        self._started = _future(self._actor.start.remote())

    def ready(self) -> Future[None]:
        return self._started

    def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Future[Generated]:
        return _future(self._actor.generate.remote(prompt, sampling, seed))

    def view_prompt(self, prompt: Prompt, sampling: Sampling, seed: int) -> Future[ViewedPrompt]:
        return _future(self._actor.view_prompt.remote(prompt, sampling, seed))

    def broadcast_group(self, source: StagedWeights) -> Future[Address | None]:
        return _future(self._actor.broadcast_group.remote(source))

    def load_weights(self, ref: WeightsRef) -> Future[float]:
        return _future(self._actor.load_weights.remote(ref))

    def sleep(self) -> Future[None]:
        return _future(self._actor.sleep.remote())

    def counters(self) -> Future[dict[str, float]]:
        return _future(self._actor.counters.remote())

    def abort(self) -> None:
        self._actor.abort.remote()

    def close(self) -> None:
        end_actor(self._actor)


def start_pool(
    model: str,
    recipe: Recipe,
    clips_dir: Path,
    should_stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda text: None,
) -> WorkerPool:
    """A pool of recipe.rollout.num_workers engines on this Ray cluster. Returns at once, while they start."""
    return WorkerPool(recipe.rollout, lambda index: RayWorker(model, recipe, clips_dir, index), should_stop, note)


def _future(ref: Any) -> Future[Any]:
    """The result of a call, as a future that raises WorkerDied for whatever ends or breaks the worker.

    LearnerError: the learner ended before the worker had its weights.
    """
    result: Future[Any] = Future()

    def finish(done: Future[Any]) -> None:
        error = done.exception()
        if error is None:
            result.set_result(done.result())
        elif isinstance(error, RayTaskError) and isinstance(error.cause, (ObjectLostError, *ENDED)):
            result.set_exception(LearnerError(f"the learner ended before an engine had its weights: {cause_of(error)}"))
        else:
            died = WorkerDied(cause_of(error))
            died.__cause__ = error
            result.set_exception(died)

    ref.future().add_done_callback(finish)
    return result
