"""What an update of a recipe takes at most, on paper: tokens, memory, seconds. `benchmarks/learner.py` measures it."""

import json
from pathlib import Path

from rft.checks.cost import GroupCost, ModelShape, Training, state_bytes, update_bytes, update_flops
from rft.model_folder import packing_obstacle
from rft.recipe import PATCH_PIXELS, Recipe

GPU_TFLOPS = {"A100": 312.0, "H100 or H200": 989.0}
"""Published dense bfloat16 peaks."""

SHARE_OF_PEAK = 0.4
"""Assumed of a GPU."""


def update_line(recipe: Recipe, num_prompt_tokens: int, num_visual_tokens: int) -> str | None:
    """For `rft check`; None where the model's sizes are not at hand. The tokens are those of the longest prompt."""
    try:
        config = json.loads((Path(recipe.model).expanduser() / "config.json").read_text(encoding="utf-8"))
        shape = ModelShape.from_config(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    learner, beta = recipe.learner, recipe.algorithm.beta
    packed = packing_obstacle(config) is None
    lengths = (recipe.sampling.max_completion_length,) * recipe.sampling.num_generations
    # As few and large frames as the recipe allows: they cost the tower most.
    patches = num_visual_tokens * shape.merge**2
    frame = max(1, min(patches, recipe.video.max_pixels * shape.merge**2 // PATCH_PIXELS))
    group = GroupCost(num_prompt_tokens, (-(-patches // frame), 1, frame), lengths)
    tokens = num_prompt_tokens - 1 + sum(lengths) if packed else len(lengths) * (num_prompt_tokens - 1) + sum(lengths)
    training = Training(
        compute_bytes=2 if learner.dtype == "bfloat16" else 4,
        train_text=learner.lora is None,
        train_vision=learner.lora is None and not learner.freeze_vision,
        has_reference=beta > 0 and learner.lora is None,
        checkpointing=learner.gradient_checkpointing,
        logprob_chunk=learner.logprob_chunk,
        num_ranks=learner.num_ranks,
    )
    together = [group] * min(recipe.prompts_per_step, max(1, learner.max_tokens_per_forward // tokens))
    gib = (state_bytes(shape, training) + update_bytes(shape, together, training, packed=packed)) / 2**30
    flops = recipe.algorithm.num_iterations * update_flops(
        shape,
        [group] * recipe.prompts_per_step,
        packed=packed,
        train_vision=training.train_vision,
        checkpointing=training.checkpointing,
    )
    if beta > 0:
        flops *= 1 + 1 / (4 if training.checkpointing else 3) / recipe.algorithm.num_iterations
    seconds = ", ".join(
        f"{flops / 1e12 / learner.num_ranks / (tflops * SHARE_OF_PEAK):,.3g} s on an {name}"
        for name, tflops in GPU_TFLOPS.items()
    )
    return (
        f"at most {recipe.prompts_per_step * tokens:,} tokens, {flops / 1e12:,.3g} TFLOP, {gib:,.3g} GiB a rank; "
        f"{seconds} at {SHARE_OF_PEAK:.0%} of its peak"
    )
