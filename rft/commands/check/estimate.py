"""Estimate of a step's largest cost: tokens, memory, seconds. benchmarks/learner.py measures updates."""

import math
import re
from dataclasses import dataclass, replace

from rft.actors.gpu_count import gpu_problem, gpus_needed
from rft.commands.check.cost import (
    BYTES,
    GroupCost,
    ModelShape,
    checkpoint_bytes,
    decode_bytes,
    host_bytes,
    prompt_flops,
    state_bytes,
    update_bytes,
    update_flops,
)
from rft.errors import RecipeError
from rft.recipe import LoraRecipe, Recipe
from rft.recipe.model_folder import config_size_factor, local_config, packing_obstacle

SHARE_OF_PEAK = 0.4
"""Share of peak FLOP/s that is assumed in a learner, and in an engine during prefill."""

SHARE_OF_BANDWIDTH = 0.6
"""Share of peak memory bandwidth that is assumed in an engine during decoding."""

HOST_BYTES_PER_S = 25e9
"""Bytes per second between CPU and GPU, each way, as assumed: PCIe 4.0 x16 has 32e9."""

USABLE = 0.92
"""Usable share of a GPU's memory; the rest is for libraries and fragmentation."""

CUDA_GIB = 0.5
"""Memory of a process's CUDA context and kernels, as assumed."""

NCCL_GIB = 1.0
"""Memory of a process's NCCL buffers, as assumed."""

SLEEPING_ENGINE_GIB = 3.0
"""Memory that a sleeping engine keeps, as assumed: its context, CUDA graphs and buffers."""


@dataclass(frozen=True, slots=True)
class Gpu:
    gib: float
    """Memory, as the name says it."""
    tflops: float
    """Peak of dense bfloat16 matrix products."""
    gb_per_s: float
    """Peak of memory bandwidth."""


GPUS = {
    "A100-40GB": Gpu(40, 312, 1555),
    "A100-80GB": Gpu(80, 312, 2039),
    "H100-PCIe": Gpu(80, 756, 2000),
    "H100-SXM": Gpu(80, 989, 3350),
    "H200": Gpu(141, 989, 4800),
    "B200": Gpu(180, 2250, 7700),
    "L40S": Gpu(48, 362, 864),
    "RTX-4090": Gpu(24, 165, 1008),
}
"""From NVIDIA's public data sheets (A100 SXM, H100, H200 SXM, HGX B200, L40S, the Ada architecture's paper). Dense, not
sparse: half of what is printed where the sheet counts with sparsity; on the RTX-4090 with float32 accumulation."""

DEFAULT_GPUS = ("A100-80GB", "H100-SXM")
"""GPUs of a plan that asks for none."""


def parse_gpus(text: str) -> tuple[str, tuple[int, ...]]:
    """(name in GPUS, number on each node) of `8xH200`, or of `4x8xH200`, 4 nodes with 8 each; () of a name alone.

    RecipeError: as `find_gpu`.
    """
    num_nodes, number, name = re.fullmatch(r"(?:(?:(\d+)x)?(\d+)x)?(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    return find_gpu(name), (int(number),) * int(num_nodes or 1) if number else ()


def find_gpu(name: str) -> str:
    """The name in GPUS that `name` is a part of, whatever its case, spaces and dashes. RecipeError: none or several."""
    matches = [known for known in GPUS if _plain(name) in _plain(known)]
    if len(matches) != 1:
        what = f"is there more than once ({', '.join(matches)})" if matches else "is not in the table"
        raise RecipeError(f"--gpu {name}: {what}. Known: {', '.join(GPUS)}.")
    return matches[0]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


@dataclass(frozen=True, slots=True)
class Work:
    """A step whose prompts are all as long as the longest, and whose completions are as long as allowed."""

    recipe: Recipe
    shape: ModelShape
    group: GroupCost
    packed: bool

    @property
    def has_reference(self) -> bool:
        """Whether the KL term takes a second model."""
        return self.recipe.algorithm.beta > 0 and self.recipe.learner.lora is None

    @property
    def group_tokens(self) -> int:
        """Tokens that the learner computes for a group."""
        prefix, lengths = self.group.num_prompt_tokens - 1, self.group.completion_lengths
        return (1 if self.packed else len(lengths)) * prefix + sum(lengths)

    def flops(self) -> float:
        """Floating-point operations of the updates of a step, all ranks together."""
        algorithm, learner = self.recipe.algorithm, self.recipe.learner
        iteration = update_flops(
            self.shape,
            [self.group] * self.recipe.prompts_per_step,
            packed=self.packed,
            train_vision=not learner.freezes_tower,
            checkpointing=learner.gradient_checkpointing,
        )
        forward = iteration / (4 if learner.gradient_checkpointing else 3)
        # Forward passes besides: of the reference, and of the policy before the mini-batches that follow an update.
        forwards = (algorithm.beta > 0) + 1 - 1 / algorithm.num_mini_batches
        return algorithm.num_iterations * iteration + forwards * forward

    def held_bytes(self) -> float:
        """GPU memory that a learner rank holds between updates, in bytes."""
        return state_bytes(self.shape, self.recipe.learner, has_reference=self.has_reference)

    def rank_bytes(self) -> float:
        """Peak GPU memory of a learner rank, in bytes."""
        learner = self.recipe.learner
        fit = max(1, learner.max_tokens_per_forward // self.group_tokens)
        mini_batch = -(-self.recipe.prompts_per_step // self.recipe.algorithm.num_mini_batches)
        groups = -(-mini_batch * learner.context_parallel // learner.num_ranks)
        more = update_bytes(
            self.shape,
            [self.group] * min(groups, fit),
            learner,
            packed=self.packed,
            has_reference=self.has_reference,
            accumulates=groups > fit,
        )
        return self.held_bytes() + more

    def update_s(self, gpu: Gpu) -> float:
        computing = self.flops() / self.recipe.learner.num_ranks / (gpu.tflops * 1e12 * SHARE_OF_PEAK)
        moved = 2 * self.recipe.algorithm.updates_per_step * host_bytes(self.shape, self.recipe.learner)
        return computing + moved / HOST_BYTES_PER_S

    def sampling_s(self, gpu: Gpu) -> float:
        """Seconds to sample a step: one prefill per group, then all completions of an engine at the same time."""
        rollout = self.recipe.rollout
        num_gpus = rollout.num_workers * rollout.gpus_per_worker
        groups = self.recipe.prompts_per_step
        prefill_s = groups * prompt_flops(self.shape, self.group) / num_gpus / (gpu.tflops * 1e12 * SHARE_OF_PEAK)
        completions = math.ceil(groups / rollout.num_workers) * len(self.group.completion_lengths)
        together = min(completions, rollout.max_num_seqs)
        length = self.group.completion_lengths[0]
        token = decode_bytes(
            self.shape, BYTES[self.recipe.learner.dtype], together, self.group.num_prompt_tokens + length / 2
        )
        rounds = math.ceil(completions / together)
        bandwidth = rollout.gpus_per_worker * gpu.gb_per_s * 1e9 * SHARE_OF_BANDWIDTH
        return prefill_s + rounds * length * token / bandwidth


def step_work(recipe: Recipe, num_prompt_tokens: int, num_visual_tokens: int) -> Work | None:
    """Work of a step, with the token counts of the longest prompt; None where the model's sizes are not known."""
    config = local_config(recipe.model)
    try:
        shape = ModelShape.from_config(config)
    except (KeyError, TypeError, AttributeError):
        return None
    lengths = (recipe.sampling.max_completion_length,) * recipe.sampling.num_generations
    # As few and large frames as the recipe allows: they cost the tower most.
    patches = num_visual_tokens * shape.merge**2
    frame = max(1, min(patches, recipe.video.max_pixels * shape.merge**2 // config_size_factor(config) ** 2))
    group = GroupCost(num_prompt_tokens, (-(-patches // frame), 1, frame), lengths)
    return Work(recipe, shape, group, packing_obstacle(config) is None)


def cost_lines(
    recipe: Recipe,
    num_prompt_tokens: int,
    num_visual_tokens: int,
    gpu_name: str | None = None,
    num_gpus: int | None = None,
) -> list[tuple[str, str]]:
    """Lines of the plan of `rft check`: (what, value). `gpu_name`: a name in GPUS; `num_gpus`: how many there are."""
    work = step_work(recipe, num_prompt_tokens, num_visual_tokens)
    if work is None:
        missing = f"{recipe.model} is no folder with the config.json of a Qwen-VL model. Set model to one"
        return [(gpu_name, f"no estimate: {missing}.")] if gpu_name else []
    tokens = recipe.prompts_per_step * work.group_tokens
    update = f"at most {tokens:,} tokens, {work.flops() / 1e12:,.3g} TFLOP, {work.rank_bytes() / 2**30:,.3g} GiB a rank"
    if gpu_name is not None:
        problem = gpu_problem(recipe, recipe.learner.num_ranks, num_gpus, ()) if num_gpus else None
        short = [(gpu_name, f"too few: {problem}")] if problem else []
        return [("update", update), *_gpu_lines(work, gpu_name), *short]
    seconds = ", ".join(f"{work.update_s(GPUS[name]):,.3g} s on {name}" for name in DEFAULT_GPUS)
    return [("update", f"{update}; {seconds} at {SHARE_OF_PEAK:.0%} of its peak")]


def _gpu_lines(work: Work, name: str) -> list[tuple[str, str]]:
    learner, rollout, gpu = work.recipe.learner, work.recipe.rollout, GPUS[name]
    update_s, sampling_s = work.update_s(gpu), work.sampling_s(gpu)
    at_once = rollout.ahead > 0 and not rollout.share_gpu
    step_s = max(update_s, sampling_s) if at_once else update_s + sampling_s
    num_gpus = gpus_needed(work.recipe, learner.num_ranks)
    return [
        (
            name,
            f"{num_gpus} of them; a step at most {step_s:,.3g} s: update {update_s:,.3g}, sampling {sampling_s:,.3g}"
            f"{' at the same time' if at_once else ''}, without decoding, rewards and transfers",
        ),
        (
            name,
            f"assumed, not measured: learners reach {SHARE_OF_PEAK:.0%} of {gpu.tflops:g} TFLOP/s (MFU), engines "
            f"{SHARE_OF_BANDWIDTH:.0%} of {gpu.gb_per_s:,.0f} GB/s",
        ),
        (name, _learner_memory(work, gpu)),
        (name, _engine_memory(work, gpu)),
        (name, _checkpoint_size(work)),
    ]


def _learner_memory(work: Work, gpu: Gpu) -> str:
    demands = _demands(work, gpu)
    line = "a learner needs " + ", ".join(f"{needed:,.3g} of {room:,.3g} GiB{when}" for needed, room, when in demands)
    line += ": it fits" if fits(work, gpu) else f": it does not fit. {_ways_out(work, gpu)}"
    host = host_bytes(work.shape, work.recipe.learner) / 2**30
    return f"{line}; {host:,.3g} GiB of CPU memory" if host else line


def _demands(work: Work, gpu: Gpu) -> list[tuple[float, float, str]]:
    """(GiB needed, GiB there, when) of a learner on its GPU."""
    rollout = work.recipe.rollout
    outside = CUDA_GIB + (0.0 if work.recipe.learner.num_ranks == 1 and rollout.share_gpu else NCCL_GIB)
    peak, room = work.rank_bytes() / 2**30 + outside, gpu.gib * USABLE
    left = max(0.0, room - gpu.gib * rollout.gpu_memory_utilization)
    if not rollout.share_gpu:
        return [(peak, room, "")]
    if not rollout.sleeps_during_update:
        return [(peak, left, " beside its engine")]
    held, learner = work.held_bytes(), work.recipe.learner
    if rollout.weight_transfer != "object_store":  # what is published stays on the GPU until the next update
        tower_weights = 0 if learner.freezes_tower else work.shape.tower_weights
        held += BYTES[learner.dtype] * (work.shape.text_weights + tower_weights)
    asleep = room - SLEEPING_ENGINE_GIB
    return [(peak, asleep, " while its engine sleeps"), (held / 2**30 + outside, left, " while it samples")]


def fits(work: Work, gpu: Gpu) -> bool:
    """Whether a learner has the memory it needs, at all times."""
    return all(needed <= room for needed, room, _ in _demands(work, gpu))


def _engine_memory(work: Work, gpu: Gpu) -> str:
    rollout = work.recipe.rollout
    weights = BYTES[work.recipe.learner.dtype] * (work.shape.text_weights + work.shape.tower_weights)
    needed, room = weights / rollout.gpus_per_worker / 2**30, gpu.gib * rollout.gpu_memory_utilization
    line = f"an engine's weights need {needed:,.3g} of {room:,.3g} GiB: "
    return line + ("they fit" if needed < room else "they do not fit. Raise rollout.gpus_per_worker")


def _checkpoint_size(work: Work) -> str:
    gib, kept = checkpoint_bytes(work.shape, work.recipe.learner) / 2**30, work.recipe.keep_checkpoints
    return f"a checkpoint takes {gib:,.3g} GiB; while one is written {kept + 1} are there: {(kept + 1) * gib:,.3g} GiB"


def _ways_out(work: Work, gpu: Gpu) -> str:
    """Single changes of the recipe with which a learner fits, as the command line takes them."""
    recipe, learner = work.recipe, work.recipe.learner
    tokens = min(work.group_tokens, learner.max_tokens_per_forward)
    num_ranks = min(2 * learner.num_ranks, recipe.prompts_per_step * learner.context_parallel)
    changes: dict[str, dict[str, object]] = {
        f"max_tokens_per_forward={tokens}": {"max_tokens_per_forward": tokens},
        "gradient_checkpointing=true": {"gradient_checkpointing": True},
        f"num_ranks={num_ranks}": {"num_ranks": num_ranks},
        "offload_optimizer=true": {"offload_optimizer": True},
        "optimizer_dtype=bfloat16": {"optimizer_dtype": "bfloat16"},
        "master_dtype=bfloat16": {"master_dtype": learner.dtype},
        "lora={}": {"lora": LoraRecipe()},
    }
    fitting = []
    for name, change in changes.items():
        changed = recipe.model_copy(update={"learner": learner.model_copy(update=change)})
        if fits(replace(work, recipe=changed), gpu):
            fitting.append(f"learner.{name}")
    return f"It would with one of {', '.join(fitting)}" if fitting else "No key of learner alone changes that"
