"""Learning processes that compute together, one Ray actor per rank, called all at once."""

import socket
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError

from rft.actors.cluster import get, gpu_options
from rft.errors import CheckpointError
from rft.recipe import Recipe


def free_address() -> tuple[str, int]:
    """Where this process can listen for others."""
    host = str(ray.util.get_node_ip_address())
    with socket.socket() as free:
        free.bind((host, 0))
        return host, int(free.getsockname()[1])


class Ranks:
    """recipe.learner.num_ranks actors of one class."""

    def __init__(self, of: type, recipe: Recipe, model: str, clips_dir: Path) -> None:
        """`of`: takes (rank, recipe, model, clips_dir); its `address` is `free_address`, and its `build`, given that of
        rank 0, or None for one rank, meets the others."""
        num_ranks = recipe.learner.num_ranks
        # num_cpus=0: ranks and rollout workers take turns on the cores of a machine without GPUs.
        remote = ray.remote(num_cpus=0)(of)
        options = [gpu_options(recipe, rank, 1) for rank in range(num_ranks)]
        self.actors = [remote.options(**of).remote(i, recipe, model, clips_dir) for i, of in enumerate(options)]
        self.on_gpus: bool = options[0]["num_gpus"] > 0
        address = ray.get(self.actors[0].address.remote()) if num_ranks > 1 else None
        self.built: Any = self.call("build", address)
        """What rank 0's `build` returned."""

    def call(self, method: str, *args: object) -> Any:
        """Call `method` on every rank at once, as their collectives require; returns rank 0's result.

        RftError as a rank raised it. CheckpointError: a rank's process ended.
        """
        try:
            return get([getattr(actor, method).remote(*args) for actor in self.actors])[0]
        except RayActorError as error:
            raise CheckpointError(
                f"a learner process ended while it was asked to {method.replace('_', ' ')}: {error}\n"
                "Out of memory: lower learner.max_tokens_per_forward, set learner.gradient_checkpointing or "
                "learner.offload_optimizer, or use more ranks. Then continue from the last checkpoint with --resume."
            ) from error

    def close(self) -> None:
        for actor in self.actors:
            ray.kill(actor)
