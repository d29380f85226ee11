"""GRPO's learner: one Ray actor per rank, seen as one Learner."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from rft.actors.cpu import gpu_process_threads, learner_threads, lower_priority, set_cpu_threads
from rft.actors.imports import large_imports
from rft.actors.joined import use_own_interface
from rft.actors.ranks import Ranks, free_address, set_allocator
from rft.parity.compare import PromptView
from rft.recipe import Recipe
from rft.types import Prompt, TokenRatio, TrainGroup
from rft.weights.ref import Address, StagedWeights, StoredWeights, WeightsRef, tensor_metadata
from rft.weights.transfer import LOAD_TIMEOUT_S, gpu_uuid, transfer_backend

if TYPE_CHECKING:
    from rft.weights.sender import WeightSender


class LearnerRank:
    """One rank. All ranks get the same calls; rank 0 alone returns weights and writes files."""

    def __init__(self, rank: int, recipe: Recipe, model: str, clips_dir: Path) -> None:
        set_allocator(recipe)
        use_own_interface()
        cores = len(os.sched_getaffinity(0))
        set_cpu_threads(learner_threads(recipe, cores), gpu_process_threads(recipe, cores))
        self._rank = rank
        self._prefetch_thread = ThreadPoolExecutor(1, "prefetch", lower_priority)
        self._is_due = threading.Event()
        self._prefetching: Future[None] = Future()
        self._prefetching.set_result(None)
        self._recipe = recipe
        self._model = model
        self._clips_dir = clips_dir
        self._sender: WeightSender | None = None
        self._all_send = False

    def address(self) -> tuple[str, int]:
        return free_address()

    def build(self, address: tuple[str, int] | None) -> int:
        """Load the policy, sharded over the ranks where there are several; returns the policy version."""
        with large_imports():
            import torch

            from rft.data.feature_store import features_in
            from rft.data.processor import PromptProcessor
            from rft.data.video import ClipCache
            from rft.learner.learner import Learner
            from rft.learner.sharding import init_distributed, own_device
            from rft.weights.sender import WeightSender

        self._device = device = own_device()
        backend = transfer_backend(self._recipe.rollout, device.type == "cuda")
        if backend != "object_store":
            self._sender = WeightSender()
            self._all_send = backend == "ipc"
        if address is not None:
            init_distributed(self._rank, self._recipe.learner.num_ranks, *address, device)
        self._learner = Learner(
            self._model,
            self._recipe,
            PromptProcessor.of(self._model, self._recipe),
            ClipCache.of(self._recipe, self._clips_dir),
            total_updates=self._recipe.total_updates,
            device=device,
            features_dir=features_in(self._clips_dir),
        )
        # PyTorch begins with another random state in each process. Nothing draws from it today.
        torch.manual_seed(self._recipe.seed)
        return self._learner.policy_version

    def prefetch(self, prompts: Sequence[Prompt]) -> None:
        self._is_due.clear()
        self._prefetching = self._prefetch_thread.submit(self._learner.prefetch, prompts, self._is_due.is_set)

    def update(self, groups: Sequence[TrainGroup]) -> tuple[dict[str, float], int, dict[int, tuple[TokenRatio, ...]]]:
        """Metrics, the new policy version, and the token ratios of this rank's groups."""
        self._is_due.set()
        wait([self._prefetching])
        if self._sender is not None and not self._recipe.rollout.ahead:
            self._sender.stage({})  # no engine asks for these weights any more, and the update needs the memory
        return self._learner.update(groups), self._learner.policy_version, self._learner.token_ratios

    def view_groups(self, groups: Sequence[TrainGroup]) -> tuple[PromptView, ...]:
        views = self._learner.view_groups(groups)
        self._release_cached_memory()
        return views

    def publish_weights(self) -> WeightsRef | None:
        """Where the weights lie, from rank 0 alone; staged ones without the ranks that hold them."""
        learner, sender = self._learner, self._sender
        device = self._device if sender else "cpu"
        tensors, probe = learner.state_dict_for_rollout(device, on_every_rank=self._all_send)
        if sender is not None:
            sender.stage(tensors)
        self._release_cached_memory()
        if self._rank != 0:
            return None
        new_group = free_address() if sender and not self._all_send else None
        return WeightsRef(
            learner.policy_version,
            StagedWeights((), tensor_metadata(tensors), new_group) if sender else StoredWeights(ray.put(tensors)),
            probe,
            model=None if learner.trains_all else self._model,
            num_bytes=sum(tensor.nbytes for tensor in tensors.values()),
            frozen_tower=learner.frozen_tower,
        )

    def gpu(self) -> str:
        """Its UUID."""
        return gpu_uuid()

    def export_weights(self) -> list[dict[str, tuple[Any, ...]]]:
        """Handles of the published weights for an engine on this GPU."""
        assert self._sender is not None
        return self._sender.export()

    def open_group(self, address: Address, size: int) -> None:
        """Meet engines at `address`, where this rank listens; returns once all `size` processes are there."""
        assert self._sender is not None
        self._sender.open_group(address, size)

    def send_weights(self) -> None:
        """Send the published weights to the engines that were met last."""
        assert self._sender is not None
        self._sender.send(min(LOAD_TIMEOUT_S, self._recipe.rollout.stall_timeout_s))

    def _release_cached_memory(self) -> None:
        """Give back memory that no tensor uses, where an engine wakes up on the same GPU."""
        if self._device.type == "cuda" and self._recipe.rollout.share_gpu:
            import torch

            torch.cuda.empty_cache()

    def save(self, directory: Path) -> None:
        self._learner.save(directory)

    def load(self, directory: Path) -> int:
        self._learner.load(directory)
        return self._learner.policy_version


class LearnerActors:
    """The Learner of train.py, spread over recipe.learner.num_ranks processes."""

    def __init__(
        self, recipe: Recipe, model: str, clips_dir: Path, should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        """`should_stop`: whether the user waits for the end; a call that hangs is then given up sooner."""
        self._ranks = Ranks(LearnerRank, recipe, model, clips_dir, should_stop)
        self._policy_version: int = self._ranks.built
        self._token_ratios: dict[int, tuple[TokenRatio, ...]] = {}
        on_gpus = transfer_backend(recipe.rollout, use_gpu=self._ranks.on_gpus) != "object_store"
        self._gpus: list[str] = ray.get([rank.gpu.remote() for rank in self._ranks.actors]) if on_gpus else []

    @property
    def policy_version(self) -> int:
        return self._policy_version

    @property
    def token_ratios(self) -> Mapping[int, Sequence[TokenRatio]]:
        return self._token_ratios

    def prefetch(self, prompts: Sequence[Prompt]) -> None:
        """Read these prompts next, before anything that is asked later; does not wait for it."""
        for rank in self._ranks.actors:
            rank.prefetch.remote(prompts)

    def update(self, groups: Sequence[TrainGroup]) -> dict[str, float]:
        answers = self._ranks.call_all("update", groups, num_groups=len(groups))
        self._token_ratios = {place: ratios for *_, of_rank in answers for place, ratios in of_rank.items()}
        metrics: dict[str, float]
        metrics, self._policy_version, _ = answers[0]
        return metrics

    def view_groups(self, groups: Sequence[TrainGroup]) -> tuple[PromptView, ...]:
        """The learner's view of each group's prompt, to compare with the engine's."""
        views: tuple[PromptView, ...] = self._ranks.call("view_groups", groups)
        return views

    def publish_weights(self) -> WeightsRef:
        """Where the current weights can be had: in the object store, or from the ranks themselves."""
        ref: WeightsRef = self._ranks.call("publish_weights")
        if isinstance(ref.source, StagedWeights):
            ranks = tuple(zip(self._gpus, self._ranks.actors, strict=True))
            ref = replace(ref, source=replace(ref.source, ranks=ranks))
        return ref

    def save(self, directory: Path) -> None:
        self._ranks.call("save", directory.absolute())

    def load(self, directory: Path) -> None:
        self._policy_version = self._ranks.call("load", directory.absolute())

    def close(self) -> None:
        self._ranks.close()
