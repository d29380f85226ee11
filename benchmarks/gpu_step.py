"""How many GPU-seconds does a whole GRPO step take per prompt, for a model and prompts of real size?

    python -m benchmarks.gpu_step --model-size 7b                                           (on one GPU)
    python -m benchmarks.gpu_step --model-size 1m --prompt-tokens 200 --completion-tokens 8 --group 2   (on the CPU)

`rft train` with random weights in the published shape: a real vLLM engine and a learner that share one GPU in turns
(rollout.share_gpu), decoding, a KL term, weight hand-over with its probe, records on disk. Random weights hardly ever
end a completion, so all have C tokens. What is trained is the first of TRAINED that fits into the GPU's memory by
rft/commands/check/estimate.py, unless --train names one. Clips are drawn, and cheaper to decode than filmed ones.
The folder for temporary files holds the model and, after the last step, a checkpoint.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from benchmarks.random_policy import SIZES, write_policy
from benchmarks.report import add_output_arguments, finish, gpu_name
from benchmarks.tiny import WARM_UP, TimedStep, Workload, recipe_keys, run_training, write_data
from rft.commands.check.estimate import Gpu, fits, step_work
from rft.recipe import Recipe
from rft.tables import TextTable

GOAL = 2.9
"""GPU-seconds per prompt for a 7B model at P 3,700, C 256, G 8."""

RELEASED = 28.8
"""Of the released VideoChat-R1 code with the 7B model, G 8 and up to 3,584 visual tokens: 17,000 prompts in 17 hours on
8 H100, as a user reported (modelscope/ms-swift, issue 4376). Computed from that, not measured here."""

SIDE = 308
"""Pixels of a frame's width and height: 121 tokens per frame pair; 60 frames make prompts of about 3,700 tokens."""

PAIR_TOKENS = (SIDE // 28) ** 2
TEXT_TOKENS = 68
"""Of a prompt, about."""

GPU_SHARE = 0.35
"""Of the memory, for the engine while it samples."""

TRAINED: dict[str, dict[str, Any]] = {
    "all weights": {},
    "all weights, bfloat16 states": {"master_dtype": "bfloat16", "optimizer_dtype": "bfloat16"},
    "adapters": {"lora": {}},
}
"""What is trained -> keys of the recipe's section learner."""


def training_keys(folder: Path, work: Workload, trained: str) -> dict[str, Any]:
    """The recipe."""
    on_gpu = gpu_name() is not None
    prompt_tokens = TEXT_TOKENS + work.frames // 2 * PAIR_TOKENS
    rollout: dict[str, Any] = {"max_model_len": prompt_tokens + work.completion_tokens + 64}
    if on_gpu:
        rollout |= {"share_gpu": True, "gpu_memory_utilization": GPU_SHARE}
    keys = recipe_keys(folder, work, **rollout, max_num_seqs=work.prompts * work.group)
    keys["video"]["total_pixels"] = work.frames * SIDE**2
    keys["learner"] |= {"dtype": "bfloat16", "gradient_checkpointing": True} if on_gpu else {}
    keys["learner"] |= TRAINED[trained]
    # Whether engine and learner agree is reported; random weights are no reason to stop.
    return keys | {"parity": {"on_mismatch": "warn"}}


def what_fits(folder: Path, work: Workload, gib: float) -> str:
    """The first of TRAINED that leaves room on a GPU of so much memory, or the last."""
    visual = work.frames // 2 * PAIR_TOKENS
    for trained in TRAINED:
        asked = step_work(Recipe.model_validate(training_keys(folder, work, trained)), TEXT_TOKENS + visual, visual)
        if asked is not None and fits(asked, Gpu(gib, tflops=1.0, gb_per_s=1.0)):
            break
    return trained


def gpu_gib() -> float:
    """Memory of the first GPU; without one no bound."""
    if not torch.cuda.is_available():
        return math.inf
    return torch.cuda.get_device_properties(0).total_memory / 2**30


def figures(steps: Sequence[TimedStep], work: Workload) -> dict[str, Any]:
    """Per prompt, over the counted steps."""

    def per_prompt(name: str) -> float:
        return mean(step.metrics[name] for step in steps) / work.prompts

    def total(name: str) -> float:
        return sum(step.metrics[name] for step in steps)

    seconds = [step.seconds / work.prompts for step in steps]
    return {
        "seconds_per_prompt": median(seconds),
        "seconds_per_prompt_all": seconds,
        "phases": {
            name.removeprefix("seconds/"): per_prompt(name) for name in steps[0].metrics if name.startswith("seconds/")
        },
        # Packed, a group is its prompt without the last token, and its completions.
        "prompt_tokens": (total("num_packed_tokens") - total("num_tokens")) / total("num_groups_trained") + 1,
        "completion_tokens": total("num_tokens") / total("num_completions"),
        "logprob_gap": mean(step.metrics["logprob_gap"] for step in steps),
    }


def tables(result: dict[str, Any]) -> list[TextTable]:
    found = result["step"]
    unit = "GPU-seconds" if result["hardware"] != "CPU" else "seconds"
    phases = sorted(found["phases"].items(), key=lambda item: -item[1])
    lines = [
        ("whole step, median", f"{found['seconds_per_prompt']:.3f}"),
        *((f"  {name.replace('learner_', 'of update: ')}", f"{s:.3f}") for name, s in phases if s >= 5e-4),
        ("goal, for 7b at P 3,700, C 256, G 8", f"{GOAL}"),
        ("released code on H100, computed", f"{RELEASED}"),
    ]
    title = (
        f"{result['hardware']}, {result['model_size']} ({result['parameters'] / 1e6:,.0f} M), {result['trained']}: "
        f"P {found['prompt_tokens']:.0f}, C {found['completion_tokens']:.1f}, G {result['group']}"
    )
    return [TextTable(title, ("what", f"{unit} per prompt"), tuple(lines))]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model-size", type=str.lower, choices=tuple(SIZES), default="7b")
    parser.add_argument("--prompt-tokens", type=int, default=3700, help="P, about")
    parser.add_argument("--completion-tokens", type=int, default=256)
    parser.add_argument("--group", type=int, default=8, help="G, completions per prompt")
    parser.add_argument("--prompts", type=int, default=8, help="P, prompts per step")
    parser.add_argument("--steps", type=int, default=3, help=f"counted, after {WARM_UP} that warms up")
    parser.add_argument("--train", choices=tuple(TRAINED), help="default: the first of these that fits")
    add_output_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv)
    pairs = max(1, round((arguments.prompt_tokens - TEXT_TOKENS) / PAIR_TOKENS))
    work = Workload(
        arguments.prompts, arguments.group, arguments.completion_tokens, 2 * pairs, arguments.steps, side=SIDE
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, work.num_clips)
        num_parameters = write_policy(folder / "policy", arguments.model_size)
        trained = arguments.train or what_fits(folder, work, gpu_gib())
        steps = run_training(folder, "run", training_keys(folder, work, trained))
    result = {
        "question": "GPU-seconds of a whole step per prompt, for a model and prompts of real size",
        "hardware": gpu_name() or "CPU",
        "model_size": arguments.model_size,
        "parameters": num_parameters,
        "trained": trained,
        "prompts": work.prompts,
        "group": work.group,
        "max_completion_tokens": work.completion_tokens,
        "frames": work.frames,
        "beta": work.beta,
        "step": figures(steps, work),
        "goal": GOAL,
        "released": RELEASED,
    }
    return finish("gpu_step", result, tables(result), arguments, arguments.model_size)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
