"""Is the memory that `rft check --gpu` tells what an update takes? Its estimate against tensors without data.

An update of several forward passes runs on torch's fake tensors, which have shapes but no data, in a process group that
only says how many ranks there are: this measures every tensor of a rank, and needs neither a GPU nor the memory. It
does not see what lies outside of tensors (CUDA's context, NCCL's buffers, fragmentation). The vision tower is frozen
and shows nothing, because it looks at values.

    python -m benchmarks.memory_estimate --model-size 7b --num-ranks 1 8
"""

import argparse
import gc
import itertools
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel, Qwen2_5_VLForConditionalGeneration

from benchmarks.random_policy import SIZES, model_config
from benchmarks.report import add_output_arguments, finish
from rft.commands.check.cost import GroupCost, ModelShape, state_bytes, update_bytes
from rft.learner import sharding
from rft.learner.attention import pack_text_attention
from rft.learner.context import Context
from rft.learner.model import Policy, add_lora
from rft.learner.packing import PackedBatch, join_groups, pack_group, share_groups
from rft.learner.sharding import shard
from rft.learner.weights import trainable
from rft.recipe import LearnerRecipe
from rft.tables import TextTable

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Case:
    """An update of `num_forwards` forward and backward passes over `num_groups` groups each."""

    size: str
    """A key of SIZES."""
    learner: LearnerRecipe
    num_forwards: int = 1
    num_groups: int = 2
    prompt_tokens: int = 3700
    completion_tokens: int = 256
    num_completions: int = 8

    @property
    def name(self) -> str:
        what = "LoRA" if self.learner.lora else f"all weights, {self.learner.master_dtype} states"
        ranks = f"{self.learner.num_ranks} rank(s)"
        if self.learner.context_parallel > 1:
            ranks += f", {self.learner.context_parallel} to a prompt"
        prompts = f"{self.num_groups} x {self.prompt_tokens} tokens"
        return f"{self.size}, {what}, {ranks}, {self.num_forwards} forward(s) of {prompts}"

    @property
    def shape(self) -> ModelShape:
        """Of the text model alone."""
        config = model_config(SIZES[self.size]).to_dict()
        return replace(ModelShape.from_config(config), tower_depth=0, tower_hidden=0, merge=0)


class PeakBytes(TorchDispatchMode):
    """Bytes of all storages that tensors made inside this mode hold, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}
        self._resize = torch.UntypedStorage.resize_

    def __enter__(self) -> "PeakBytes":
        def resize(storage: torch.UntypedStorage, size: int) -> object:
            done = self._resize(storage, size)
            self._note(storage)
            return done

        torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign]
        super().__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        found = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor):
                own = leaf._local_tensor if isinstance(leaf, DTensor) else leaf
                self._note(own.untyped_storage())
        return found

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:
            weakref.finalize(storage, self._forget, key)
            self._sizes[key] = 0
        self.now += storage.size() - self._sizes[key]
        self._sizes[key] = storage.size()
        self.peak = max(self.peak, self.now)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def peak_bytes(case: Case) -> int:
    """Most bytes that a rank's tensors take in an update, with the optimizer's moments from an earlier one."""
    recipe, model = case.learner, build(case)
    with group_of(recipe):
        return _peak_bytes(case, text_batch(case), model)


def _peak_bytes(case: Case, batch: PackedBatch, model: PreTrainedModel) -> int:
    recipe = case.learner
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, PeakBytes() as memory:
        fill(model)
        policy = Policy(model, temperature=1.0, banned=(), chunk=recipe.logprob_chunk)
        if dist.is_initialized():
            shard(policy, tuple(model._no_split_modules), CPU, torch.bfloat16)
        moments = [zeros for parameter in trainable(model).values() for zeros in moments_of(parameter, recipe)]
        gc.collect()
        memory.peak = memory.now
        for _ in range(case.num_forwards):
            policy(to_fake(batch, mode)).logprobs.sum().backward()
        del moments
        return memory.peak


def moments_of(parameter: Tensor, recipe: LearnerRecipe) -> tuple[Tensor, Tensor]:
    """As AdamW keeps them, of this rank's share."""
    own = parameter.to_local() if isinstance(parameter, DTensor) else parameter
    dtype = torch.bfloat16 if recipe.optimizer_dtype == "bfloat16" else torch.float32
    return torch.zeros_like(own, dtype=dtype), torch.zeros_like(own, dtype=dtype)


def build(case: Case) -> PreTrainedModel:
    """The text model alone, as the learner trains it, on the meta device."""
    size, recipe = SIZES[case.size], case.learner
    wide = recipe.lora is None and recipe.master_dtype == "float32"
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration._from_config(
            model_config(size), dtype=torch.float32 if wide else torch.bfloat16
        )
        del model.model.visual
        pack_text_attention(model)
        if recipe.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if recipe.lora is not None:
            add_lora(model, recipe.lora, 0, torch.float32)
    return model.train()


def fill(model: PreTrainedModel) -> None:
    """Put parameters and buffers on the CPU, whatever is on the meta device."""
    filled: dict[Tensor, Tensor] = {}  # tied ones stay tied
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                if parameter not in filled:
                    empty = torch.empty(parameter.shape, dtype=parameter.dtype)
                    filled[parameter] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
                module._parameters[name] = filled[parameter]
        for name, buffer in module._buffers.items():
            module._buffers[name] = buffer if buffer is None else torch.empty(buffer.shape, dtype=buffer.dtype)


@contextmanager
def group_of(recipe: LearnerRecipe) -> Iterator[None]:
    """A process group of as many ranks, of which this is the first and the others are made up; none where one rank
    keeps its weights as they are."""
    if recipe.num_ranks == 1 and (recipe.lora is not None or recipe.master_dtype == recipe.dtype):
        yield
        return
    make_mesh = sharding.init_device_mesh

    def make_real_mesh(*shape: Any) -> DeviceMesh:
        with unset_fake_temporarily():  # a mesh looks at its ranks
            return make_mesh(*shape)

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=recipe.num_ranks)
    sharding.init_device_mesh = make_real_mesh
    try:
        yield
    finally:
        sharding.init_device_mesh = make_mesh
        dist.destroy_process_group()


def text_batch(case: Case) -> PackedBatch:
    """What the first rank computes; with all ranks to a prompt, or one."""
    positions, size = torch.arange(case.prompt_tokens).expand(3, -1), case.learner.context_parallel
    completions = [[5] * case.completion_tokens] * (case.num_completions // size)
    groups = [pack_group([5] * case.prompt_tokens, positions, completions)] * case.num_groups
    if size == 1:
        return join_groups(groups)
    assert size == case.learner.num_ranks
    assert dist.group.WORLD is not None
    return share_groups(groups, Context(0, size, dist.group.WORLD), visual_ids=(), merge=1)


def to_fake(batch: PackedBatch, mode: FakeTensorMode) -> PackedBatch:
    names = ("token_ids", "position_ids", "scored", "labels")
    share = batch.share
    if share is not None:
        share = replace(share, sent=mode.from_tensor(share.sent), order=mode.from_tensor(share.order))
    return replace(batch, **{name: mode.from_tensor(getattr(batch, name)) for name in names}, share=share)


def estimate_bytes(case: Case) -> float:
    """What `rft check` says of the same, without its allowance for what lies outside of tensors."""
    group = GroupCost(case.prompt_tokens, (0, 0, 0), (case.completion_tokens,) * case.num_completions)
    groups = [group] * case.num_groups
    added = update_bytes(case.shape, groups, case.learner, accumulates=case.num_forwards > 1)
    return state_bytes(case.shape, case.learner) + added


def cases(sizes: Sequence[str], ranks: Sequence[int]) -> Iterator[Case]:
    """All weights with float32 and with bfloat16 states, and LoRA; one forward and two."""
    ways: tuple[dict[str, Any], ...] = ({}, {"master_dtype": "bfloat16", "optimizer_dtype": "bfloat16"}, {"lora": {}})
    for size, num_ranks, way, num_forwards in itertools.product(sizes, ranks, ways, (1, 2)):
        keys = {"num_ranks": num_ranks, "gradient_checkpointing": True, "freeze_vision": True, **way}
        yield Case(size, LearnerRecipe.model_validate(keys), num_forwards)


def long_cases(size: str, prompt_tokens: Sequence[int], ranks: Sequence[int]) -> Iterator[Case]:
    """One long prompt on one rank of so many, or on all of them."""
    for tokens, num_ranks, context in itertools.product(prompt_tokens, ranks, (False, True)):
        keys = {"num_ranks": num_ranks, "context_parallel": num_ranks if context else 1}
        learner = LearnerRecipe.model_validate(keys | {"gradient_checkpointing": True, "freeze_vision": True})
        yield Case(size, learner, num_groups=1, prompt_tokens=tokens)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model-size", choices=tuple(SIZES), nargs="+", default=("3b", "7b"))
    parser.add_argument("--num-ranks", type=int, nargs="+", default=(1, 8))
    parser.add_argument("--long-prompts", type=int, nargs="+", help="tokens of prompts, on one rank or shared by all")
    add_output_arguments(parser)
    arguments = parser.parse_args()
    chosen = cases(arguments.model_size, arguments.num_ranks)
    if arguments.long_prompts:
        sizes, prompts = arguments.model_size, arguments.long_prompts
        chosen = itertools.chain.from_iterable(long_cases(size, prompts, arguments.num_ranks) for size in sizes)
    found = {
        case.name: {"measured_gib": peak_bytes(case) / 2**30, "estimated_gib": estimate_bytes(case) / 2**30}
        for case in chosen
    }
    rows = tuple(
        (name, f"{measured:.2f}", f"{estimated:.2f}", f"{estimated / measured:.2f}")
        for name, (measured, estimated) in ((name, of.values()) for name, of in found.items())
    )
    columns = ("case", "measured, GiB", "estimated, GiB", "estimated / measured")
    return finish("memory_estimate", {"cases": found}, [TextTable("Memory of an update", columns, rows)], arguments)


if __name__ == "__main__":
    sys.exit(main())
