"""The learning processes: the supervised stage, and GRPO's learner, one Ray actor per rank, seen as one Learner."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from rft.cluster import SHARED_GPU
from rft.errors import CheckpointError, Interrupted, RftError
from rft.parity import Reading
from rft.recipe import Recipe
from rft.runs.run_dir import PARTIAL_PREFIX, read_lines
from rft.types import Demonstration, TrainSample, WeightsRef

POLL_S = 0.3
"""Longest time before a request to stop, or progress, is noticed."""


class ColdStart:
    """The supervised stage in a process of its own, writing a model folder."""

    def __init__(
        self, recipe: Recipe, demonstrations: Sequence[Demonstration], clips_dir: Path, directory: Path
    ) -> None:
        self._directory = directory
        self._partial = directory.with_name(f"{PARTIAL_PREFIX}{directory.name}")
        self._losses = self._partial / "losses.jsonl"
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        remote = ray.remote(num_cpus=0, num_gpus=gpus_per_process(recipe))(supervise)
        self._done = remote.remote(recipe, demonstrations, clips_dir, self._partial, self._losses)

    def losses(self, should_stop: Callable[[], bool]) -> Iterator[tuple[int, float]]:
        """(step, loss) as the stage goes on; at the end the model folder stands.

        Interrupted: should_stop() became true. RftError: as the stage raised it.
        """
        num_seen, finished = 0, False
        while not finished:
            finished = bool(ray.wait([self._done], timeout=POLL_S)[0])
            if finished:
                get(self._done)
            lines = list(read_lines(self._losses)) if self._losses.exists() else []
            yield from ((line["step"], line["loss"]) for line in lines[num_seen:])
            num_seen = len(lines)
            if should_stop():
                ray.cancel(self._done, force=True)
                raise Interrupted
        os.replace(self._partial, self._directory)


def supervise(
    recipe: Recipe, demonstrations: Sequence[Demonstration], clips_dir: Path, directory: Path, losses: Path
) -> None:
    """Runs in the process of the supervised stage."""
    from rft.coldstart import progress_writer, run_cold_start
    from rft.data.processor import PromptProcessor
    from rft.data.video import ClipCache

    share_cores(len(os.sched_getaffinity(0)))
    assert recipe.cold_start is not None
    processor = PromptProcessor(recipe.model, recipe.system_prompt)
    clips = ClipCache(clips_dir, recipe.video.cache_gib, recipe.video.decoder, recipe.video.decode_timeout_s)
    run_cold_start(recipe, recipe.cold_start, demonstrations, processor, clips, directory, progress_writer(losses))


class LearnerRank:
    """One rank. All ranks get the same calls; rank 0 alone returns weights and writes files."""

    def __init__(self, rank: int, recipe: Recipe, model: str, clips_dir: Path) -> None:
        share_cores(learner_threads(recipe, len(os.sched_getaffinity(0))))
        self._rank = rank
        self._recipe = recipe
        self._model = model
        self._clips_dir = clips_dir

    def address(self) -> tuple[str, int]:
        """Where rank 0 listens for the others."""
        import socket

        host = str(ray.util.get_node_ip_address())
        with socket.socket() as free:
            free.bind((host, 0))
            return host, int(free.getsockname()[1])

    def build(self, address: tuple[str, int] | None) -> int:
        """Load the policy, sharded over the ranks where there are several; returns the policy version."""
        import torch

        from rft.data.processor import PromptProcessor
        from rft.data.video import ClipCache
        from rft.learner.learner import Learner
        from rft.learner.sharding import init_distributed

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if address is not None:
            init_distributed(self._rank, self._recipe.learner.num_ranks, *address, device)
        video = self._recipe.video
        self._learner = Learner(
            self._model,
            self._recipe,
            PromptProcessor(self._model, self._recipe.system_prompt),
            ClipCache(self._clips_dir, video.cache_gib, video.decoder, video.decode_timeout_s),
            total_updates=self._recipe.steps * self._recipe.algorithm.num_iterations,
            device=device,
            features_dir=self._clips_dir / "features",
        )
        return self._learner.policy_version

    def update(self, samples: Sequence[TrainSample]) -> tuple[dict[str, float], int]:
        return self._learner.update(samples), self._learner.policy_version

    def readings(self, samples: Sequence[TrainSample]) -> tuple[Reading, ...]:
        return self._learner.readings(samples)

    def publish_weights(self) -> WeightsRef | None:
        tensors, probe = self._learner.state_dict_for_rollout()
        return WeightsRef(self._learner.policy_version, ray.put(tensors), probe) if self._rank == 0 else None

    def save(self, directory: Path) -> None:
        self._learner.save(directory)

    def load(self, directory: Path) -> int:
        self._learner.load(directory)
        return self._learner.policy_version


class LearnerActors:
    """The Learner of train.py, spread over recipe.learner.num_ranks processes."""

    def __init__(self, recipe: Recipe, model: str, clips_dir: Path) -> None:
        num_ranks = recipe.learner.num_ranks
        # num_cpus=0: ranks and rollout workers take turns on the cores of a machine without GPUs.
        remote = ray.remote(num_cpus=0, num_gpus=gpus_per_process(recipe))(LearnerRank)
        self._ranks = [remote.remote(rank, recipe, model, clips_dir) for rank in range(num_ranks)]
        address = ray.get(self._ranks[0].address.remote()) if num_ranks > 1 else None
        self._policy_version: int = self._call("build", address)

    @property
    def policy_version(self) -> int:
        return self._policy_version

    def update(self, samples: Sequence[TrainSample]) -> dict[str, float]:
        metrics: dict[str, float]
        metrics, self._policy_version = self._call("update", samples)
        return metrics

    def readings(self, samples: Sequence[TrainSample]) -> tuple[Reading, ...]:
        """What the learner makes of each prompt, to compare with the engine."""
        readings: tuple[Reading, ...] = self._call("readings", samples)
        return readings

    def publish_weights(self) -> WeightsRef:
        weights: WeightsRef = self._call("publish_weights")
        return weights

    def save(self, directory: Path) -> None:
        self._call("save", directory)

    def load(self, directory: Path) -> None:
        self._policy_version = self._call("load", directory)

    def close(self) -> None:
        for rank in self._ranks:
            ray.kill(rank)

    def _call(self, method: str, *args: object) -> Any:
        """Call `method` on every rank at once, as their collectives require; returns rank 0's result.

        RftError as a rank raised it. CheckpointError: a rank's process ended.
        """
        try:
            return get([getattr(rank, method).remote(*args) for rank in self._ranks])[0]
        except RayActorError as error:
            raise CheckpointError(
                f"a learner process ended while it was asked to {method.replace('_', ' ')}: {error}\n"
                "Out of memory: lower learner.max_tokens_per_forward, set learner.gradient_checkpointing, or use more "
                "ranks. Then continue from the last checkpoint with --resume."
            ) from error


def get(refs: Any) -> Any:
    """What Ray holds; an RftError raised elsewhere is raised here as itself."""
    try:
        return ray.get(refs)
    except RayTaskError as error:
        if isinstance(error.cause, RftError):
            raise error.cause from None
        raise


def gpus_per_process(recipe: Recipe) -> float:
    if not ray.cluster_resources().get("GPU", 0):
        return 0
    return SHARED_GPU if recipe.rollout.share_gpu else 1


def learner_threads(recipe: Recipe, cores: int) -> int:
    """Of one learning process, on a machine without GPUs: all cores, over the processes.

    Engines that sample ahead run at the same time, so where they have their number of threads the learner takes the
    other cores.
    """
    rollout = recipe.rollout
    if rollout.ahead and rollout.threads_per_worker:
        cores -= rollout.num_workers * rollout.threads_per_worker
    return max(1, cores // recipe.learner.num_ranks)


def share_cores(num_threads: int) -> None:
    """Ray gives a process one thread; without GPUs it gets `num_threads`."""
    import torch

    if not torch.cuda.is_available():
        torch.set_num_threads(num_threads)
