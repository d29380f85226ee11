"""What the parts of a step cost on GPUs that are not here: arithmetic of a model's shape, on assumptions."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.step_model import Batch, Costs, Layout, SampledGroup
from rft.commands.check.cost import (
    GroupCost,
    ModelShape,
    decode_bytes,
    prompt_flops,
    tower_flops,
    update_flops,
)
from rft.commands.check.estimate import SHARE_OF_BANDWIDTH, SHARE_OF_PEAK, Gpu, Work, fits
from rft.recipe import Recipe

NODE = 8
"""GPUs of a node."""

NVLINK = 360e9
"""Bytes per second and GPU inside a node, as assumed: 80 % of 450e9."""

NIC = 45e9
"""Bytes per second from one GPU to another node, as assumed: 90 % of 400 Gbit/s. Each GPU has a NIC of its own, so a
collective over all GPUs moves 8 times as much per node."""

HOP_S = 10e-6
"""Seconds from one GPU of a collective to the next, as assumed."""

SLEEP_AND_WAKE_S = 0.5
"""Of an engine whose GPU the learner takes in turns, as assumed: it drops its weights and its cache."""

VISION_7B = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "fullatt_block_indexes": [7, 15, 23, 31]}
CONFIGS: Mapping[str, dict[str, Any]] = {
    "7b": {
        "text_config": {
            "hidden_size": 3584,
            "intermediate_size": 18_944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152_064,
        },
        "vision_config": VISION_7B,
    },
    "72b": {
        "text_config": {
            "hidden_size": 8192,
            "intermediate_size": 29_568,
            "num_hidden_layers": 80,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
            "vocab_size": 152_064,
        },
        "vision_config": VISION_7B | {"intermediate_size": 3456},
    },
}
"""The published shapes of Qwen2.5-VL."""

TENSOR_PARALLEL = {"7b": 1, "72b": 8}
"""GPUs of an engine."""


@dataclass(frozen=True, slots=True)
class Job:
    """Steps of a model on so many GPUs."""

    model: str
    """A key of CONFIGS."""
    gpu: Gpu
    num_gpus: int
    prompts_per_gpu: int = 1
    """At least 8 prompts a step in all."""
    num_completions: int = 8
    prompt_tokens: int = 3700
    frame_pairs: int = 32
    mean_tokens: int = 256
    max_tokens: int = 1024
    steps: int = 14

    @property
    def shape(self) -> ModelShape:
        return ModelShape.from_config(CONFIGS[self.model])

    @property
    def engine_gpus(self) -> int:
        return TENSOR_PARALLEL[self.model]

    @property
    def weight_bytes(self) -> float:
        """In bfloat16."""
        return 2.0 * (self.shape.text_weights + self.shape.tower_weights)

    @property
    def prompts(self) -> int:
        """Of a step."""
        return max(8, self.prompts_per_gpu * self.num_gpus)

    @property
    def group(self) -> GroupCost:
        """About 3,600 visual tokens of four patches, completions of mean length."""
        grid = self.frame_pairs, 1, 4 * (self.prompt_tokens - 100) // self.frame_pairs
        return GroupCost(self.prompt_tokens, grid, (self.mean_tokens,) * self.num_completions)

    def batches(self) -> list[Batch]:
        """Lengths are log-normal, half of them within a factor of 1.5 of the median, and cut at `max_tokens`."""
        drawn = random.Random(0)

        def length() -> int:
            return min(self.max_tokens, max(1, round(self.mean_tokens * drawn.lognormvariate(-0.18, 0.6))))

        def group() -> SampledGroup:
            return SampledGroup(tuple(length() for _ in range(self.num_completions)))

        return [[group() for _ in range(self.prompts)] for _ in range(self.steps)]


@dataclass(frozen=True, slots=True)
class Way:
    """How the GPUs are shared out."""

    name: str
    shared: bool
    """Engines and ranks take the same GPUs in turns; False: each has its own."""
    ahead: int = 0
    partial: bool = False
    broadcast: bool = False
    """All engines receive weights at the same time; False: one after the other."""


def paper_costs(job: Job, way: Way, layout: Layout) -> Costs:
    shape, group, width = job.shape, job.group, job.engine_gpus
    flops, bandwidth = job.gpu.tflops * 1e12 * SHARE_OF_PEAK, job.gpu.gb_per_s * 1e9 * SHARE_OF_BANDWIDTH
    tower = tower_flops(shape, group.grid, 1.0)
    reading = decode_bytes(shape, 2, 0, 0.0)
    context = group.num_prompt_tokens + job.mean_tokens / 2
    learned = update_flops(shape, [group], checkpointing=True)
    prompt = update_flops(shape, [replace(group, completion_lengths=(0,) * job.num_completions)], checkpointing=True)
    return Costs(
        vision=tower / width / flops,
        prefill=(prompt_flops(shape, group) - tower) / width / flops,
        decode_step=reading / width / bandwidth + 2 * shape.layers * (width - 1) * HOP_S,  # two all-reduces a layer
        decode_token=(decode_bytes(shape, 2, 1, context) - reading) / width / bandwidth,
        # In float32, gradient, weight and two moments are read, and all but the gradient written.
        update=14 * job.weight_bytes / layout.ranks / bandwidth,
        update_prompt=prompt / flops,
        update_token=(learned - prompt) / sum(group.completion_lengths) / flops,
        # Weights come together for forward and backward pass, gradients are added up in float32.
        update_floor=4 * gather_s(job, layout.ranks),
        hand_over=hand_over_s(job, way, layout),
    )


def gather_s(job: Job, ranks: int) -> float:
    """Every rank's share of the bfloat16 weights to all other ranks, a layer at a time."""
    bytes_per_s = NVLINK if ranks <= NODE else NODE * NIC
    return job.weight_bytes * (ranks - 1) / ranks / bytes_per_s + job.shape.layers * (ranks - 1) * HOP_S


def hand_over_s(job: Job, way: Way, layout: Layout) -> float:
    if way.shared:
        return gather_s(job, layout.ranks) + SLEEP_AND_WAKE_S
    sending = job.weight_bytes / (NVLINK if job.num_gpus <= NODE else NIC)
    return gather_s(job, layout.ranks) + sending * (1 if way.broadcast else layout.engines)


def states_that_fit(job: Job, way: Way, layout: Layout) -> str | None:
    """The widest data type of the learner's states with which engine and learner fit; None: not even bfloat16."""
    of_engine = 0.35 if way.shared else 0.9
    if job.weight_bytes / job.engine_gpus > of_engine * job.gpu.gib * 2**30:
        return None
    recipe = {
        "model": "on paper",
        "tasks": {},
        "data": {"train": []},
        "steps": 1,
        "prompts_per_step": job.prompts,
        "sampling": {"num_generations": job.num_completions, "max_completion_length": job.mean_tokens},
        "algorithm": {"beta": 0.0},
        "rollout": {
            "num_workers": layout.engines,
            "gpus_per_worker": job.engine_gpus,
            "share_gpu": way.shared,
            "gpu_memory_utilization": of_engine,
        },
    }
    for states in ("float32", "bfloat16"):
        dtypes = {"master_dtype": states, "optimizer_dtype": states}
        learner = {"num_ranks": layout.ranks, "gradient_checkpointing": True, **dtypes}
        work = Work(Recipe.model_validate(recipe | {"learner": learner}), job.shape, job.group, packed=True)
        if fits(work, job.gpu):
            return states
    return None
