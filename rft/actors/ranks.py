"""Learning processes that compute together, one Ray actor per rank, called all at once."""

import os
import socket
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayTaskError

from rft.actors.cluster import ENDED, cause_of, check_servers, end_actor, gpu_options
from rft.actors.rank_calls import RankCalls
from rft.errors import LearnerError, RftError
from rft.recipe import Recipe
from rft.weights.transfer import transfer_backend

ALLOCATOR_VARIABLES = {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"}
"""The name that torch has for its allocator's settings, and the earlier one."""


def free_address() -> tuple[str, int]:
    """Where this process can listen for others."""
    host = str(ray.util.get_node_ip_address())
    with socket.socket() as free:
        free.bind((host, 0))
        return host, int(free.getsockname()[1])


def set_allocator(recipe: Recipe, environment: MutableMapping[str, str] = os.environ) -> None:
    """Settings of torch's GPU memory, before torch is imported, where the user has none.

    Segments that grow leave no gaps behind forwards of changing length; memory in them cannot be handed to another
    process, as ipc does.
    """
    if transfer_backend(recipe.rollout, use_gpu=True) != "ipc" and not ALLOCATOR_VARIABLES & environment.keys():
        environment["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


class Ranks:
    """recipe.learner.num_ranks actors of one class."""

    def __init__(
        self,
        actor_class: type,
        recipe: Recipe,
        model: str,
        clips_dir: Path,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """`actor_class`: takes (rank, recipe, model, clips_dir); its `address` is `free_address`. Its `build`, given
        that of rank 0, or None for one rank, meets the others. `should_stop`: whether the user waits for the end."""
        num_ranks = recipe.learner.num_ranks
        self._calls = RankCalls(recipe.learner.stall_timeout_s, should_stop)
        # num_cpus=0: ranks and rollout workers take turns on the cores of a machine without GPUs.
        remote = ray.remote(num_cpus=0)(actor_class)
        gpus = [gpu_options(recipe, "rank", rank) for rank in range(num_ranks)]
        self.actors = [remote.options(**gpus[i]).remote(i, recipe, model, clips_dir) for i in range(num_ranks)]
        self.on_gpus: bool = gpus[0]["num_gpus"] > 0
        try:
            address = self.call("address") if num_ranks > 1 else None
            self.built: Any = self.call("build", address)
            """What rank 0's `build` returned."""
        except BaseException:
            self.close()
            raise

    def call(self, method: str, *args: object) -> Any:
        """Rank 0's result of `call_all`."""
        return self.call_all(method, *args)[0]

    def call_all(self, method: str, *args: object, num_groups: int = 0) -> list[Any]:
        """Call `method` on every rank at once, as their collectives require; returns their results.

        `num_groups`: that the ranks share. RftError as a rank raised it. LearnerError: a rank's process ended or hangs.
        ClusterError: so did Ray.
        """
        try:
            futures = [getattr(actor, method).remote(*args).future() for actor in self.actors]
            return self._calls.answers(method, futures, num_groups / len(self.actors))
        except RayTaskError as error:
            if isinstance(error.cause, RftError):
                raise error.cause from None
            raise
        except ENDED as error:
            check_servers()
            raise LearnerError(
                f"a learner process ended while it was asked to {method.replace('_', ' ')}: {cause_of(error)}\n"
                "If memory ran out, lower learner.max_tokens_per_forward, set learner.gradient_checkpointing or "
                "learner.offload_optimizer, or use more ranks."
            ) from error

    def close(self) -> None:
        for actor in self.actors:
            end_actor(actor)
