"""What does packing save? One update of the learner on a group, packed against a copy of the prompt per completion.

Builds a Qwen2.5-VL of the asked size with random weights and runs `Learner.update` both ways on the same made-up
completions. The copies are the usual way: every completion with the whole prompt, transformers' own causal attention,
the vision tower once per copy. Memory is measured in a process of its own for each way.

    python benchmarks/learner.py --prompt-tokens 600 --completion-tokens 64 --group 8 --model-size 1m
    python benchmarks/learner.py --prompt-tokens 3700 --completion-tokens 256 --model-size 7b --gradient-checkpointing \
        --learner '{"master_dtype": "bfloat16", "optimizer_dtype": "bfloat16"}'        all weights on a GPU of 80 GB
"""

import argparse
import gc
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from types import MethodType
from typing import Any

import torch
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl
from transformers.utils import logging

from benchmarks.random_policy import SIZES, OneVideo, make_group, write_model
from benchmarks.report import add_output_arguments, finish
from rft.commands.check.cost import GroupCost, ModelShape, update_bytes, update_flops
from rft.learner.batch import token_groups
from rft.learner.learner import Learner
from rft.learner.sharding import full
from rft.recipe import LearnerRecipe, Recipe
from rft.tables import TextTable

WAYS = ("packed", "copies")


def learner_section(arguments: argparse.Namespace) -> dict[str, object]:
    """The recipe's section `learner`. Whoever asks for float64 gets the estimates of float32."""
    return {
        "dtype": "bfloat16" if arguments.dtype == "bfloat16" else "float32",
        "gradient_checkpointing": arguments.gradient_checkpointing,
        "max_tokens_per_forward": arguments.max_tokens_per_forward,
        "freeze_vision": arguments.freeze_vision,
        "lora": {} if arguments.lora else None,
        **arguments.learner,
    }


class Way:
    """A learner and the group that it trains on, again and again."""

    def __init__(self, arguments: argparse.Namespace, model_dir: Path, *, packed: bool) -> None:
        self.device = torch.device(arguments.device)
        recipe = Recipe.model_validate(
            {
                "model": str(model_dir),
                "tasks": {},
                "data": {"train": ()},
                "steps": 100_000,
                "sampling": {"max_completion_length": arguments.completion_tokens},
                "learner": learner_section(arguments),
            }
        )
        torch.manual_seed(1)
        vocabulary = int(str(SIZES[arguments.model_size].text["vocab_size"]))
        one = OneVideo(arguments.prompt_tokens, vocabulary, text_only=arguments.text_only)
        self.grid = one.grid
        completions = torch.randint(5, vocabulary, (arguments.group, arguments.completion_tokens)).tolist()
        self.group = make_group(len(one.inputs.token_ids), completions)
        self.learner = Learner(
            model_dir,
            recipe,
            one,  # type: ignore[arg-type]
            one,  # type: ignore[arg-type]
            total_updates=100_000,
            device=self.device,
            dtype=getattr(torch, arguments.dtype),
            packed=packed,
        )
        if arguments.dtype == "float64":
            keep_float64(self.learner._model)

    def update(self) -> tuple[float, dict[str, float]]:
        """Seconds and metrics of one update."""
        start = time.perf_counter()
        metrics = self.learner.update([self.group])
        return time.perf_counter() - start, metrics

    def logprobs_and_gradients(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Of the completion tokens; and of their mean, by parameter. On the CPU."""
        learner, found = self.learner, []
        for batch in learner._micro_batches(token_groups([self.group], learner.processor)):
            logprobs = learner._policy(batch.packed.to(self.device)).logprobs
            (logprobs.sum() / sum(len(completion.token_ids) for completion in self.group.completions)).backward()
            found.append(logprobs.detach().cpu())
        trained = {name: p.grad for name, p in learner._model.named_parameters() if p.grad is not None}
        named = {name: full(gradient).to("cpu", copy=True) for name, gradient in trained.items()}
        learner._optimizer.zero_grad(set_to_none=True)
        return torch.cat(found), named


def keep_float64(model: torch.nn.Module) -> None:
    """Take out what transformers rounds to float32 on the way: the text's norms and the tower's rotary embedding."""

    def norm(self: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        return self.weight * hidden * (hidden.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()

    def rotate(tensor: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        first, second = tensor.chunk(2, dim=-1)
        return tensor * cos.unsqueeze(-2) + torch.cat([-second, first], dim=-1) * sin.unsqueeze(-2)

    modeling_qwen2_5_vl.apply_rotary_pos_emb_vision = lambda q, k, cos, sin: (rotate(q, cos, sin), rotate(k, cos, sin))
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = MethodType(norm, module)


@dataclass(frozen=True, slots=True)
class Timed:
    """What one way took, and what it found before its first update."""

    grid: tuple[int, int, int]
    seconds: tuple[float, ...]
    metrics: dict[str, float]
    logprobs: torch.Tensor
    gradients: dict[str, torch.Tensor]


def timed(arguments: argparse.Namespace, model_dir: Path, names: Sequence[str]) -> dict[str, Timed]:
    """The updates of the ways in turn, after one of each that warms up."""
    ways = {name: Way(arguments, model_dir, packed=name == "packed") for name in names}
    found = {name: way.logprobs_and_gradients() for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    metrics: dict[str, dict[str, float]] = {}
    for repeat in range(arguments.repeats + 1):
        for name, way in ways.items():
            duration, metrics[name] = way.update()
            if repeat:
                seconds[name].append(duration)
    return {name: Timed(way.grid, tuple(seconds[name]), metrics[name], *found[name]) for name, way in ways.items()}


def time_ways(arguments: argparse.Namespace, model_dir: Path) -> dict[str, Timed]:
    """Both ways: in turn on the CPU, whose speed drifts; one after the other on a GPU, where two would not fit."""
    if arguments.device != "cuda":
        return timed(arguments, model_dir, WAYS)
    found: dict[str, Timed] = {}
    for name in WAYS:
        found |= timed(arguments, model_dir, (name,))
        gc.collect()
        torch.cuda.empty_cache()
    return found


def differences(ways: dict[str, Timed]) -> dict[str, float]:
    """Between the two ways, under the same weights: in nats, and over the largest gradient of each parameter."""
    one, other = ways["packed"], ways["copies"]
    relative = [
        ((gradient - other.gradients[name]).abs().max() / other.gradients[name].abs().max().clamp(min=1e-12)).item()
        for name, gradient in one.gradients.items()
    ]
    return {
        "logprob_difference": (one.logprobs - other.logprobs).abs().max().item(),
        "gradient_difference": max(relative),
    }


def peak_mib(arguments: argparse.Namespace, model_dir: Path, way: str) -> float:
    """What the second update adds to the memory that was in use before it, at its peak; in a process of its own."""
    command = [sys.executable, __file__, *arguments.own, "--peak-of", way, "--model-dir", str(model_dir)]
    # What is freed leaves the process at once. Nothing is timed: threads that wait need not spin beside other programs.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.splitlines()[-1])


def print_peak(arguments: argparse.Namespace) -> None:
    way = Way(arguments, arguments.model_dir, packed=arguments.peak_of == "packed")
    way.update()
    gc.collect()
    if way.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        way.update()
        print((torch.cuda.max_memory_allocated() - before) / 2**20)
        return
    Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the highest resident size so far
    before = status_kib("VmRSS")
    way.update()
    print((status_kib("VmHWM") - before) / 2**10)


def status_kib(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found is not None
    return int(found[1])


def matrix_gflop_per_second(device: torch.device, dtype: torch.dtype) -> float:
    """What products of large square matrices reach: the best of five rounds."""
    side = 8192 if device.type == "cuda" else 1024
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(one, other)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e9


def _share(group: GroupCost, num_forwards: float) -> GroupCost:
    """Of the largest forward pass."""
    return replace(
        group, completion_lengths=group.completion_lengths[: math.ceil(len(group.completion_lengths) / num_forwards)]
    )


def measure(arguments: argparse.Namespace, model_dir: Path) -> dict[str, Any]:
    device = torch.device(arguments.device)
    num_parameters = write_model(SIZES[arguments.model_size], model_dir, device)
    peaks = {name: peak_mib(arguments, model_dir, name) for name in WAYS}
    ways = time_ways(arguments, model_dir)
    seconds = {name: median(way.seconds) for name, way in ways.items()}
    peak = matrix_gflop_per_second(device, getattr(torch, arguments.dtype))
    shape = ModelShape.from_config(json.loads((model_dir / "config.json").read_text(encoding="utf-8")))
    group = GroupCost(arguments.prompt_tokens, ways["packed"].grid, (arguments.completion_tokens,) * arguments.group)
    learner = LearnerRecipe.model_validate(learner_section(arguments))

    def flops_of(name: str, *, checkpointing: bool) -> float:
        packed, vision = name == "packed", not learner.freezes_tower
        return update_flops(shape, [group], packed=packed, train_vision=vision, checkpointing=checkpointing)

    flops = {name: flops_of(name, checkpointing=learner.gradient_checkpointing) for name in WAYS}
    return {
        "question": "one learner update: a packed group against one copy of the prompt per completion",
        "parameters": num_parameters,
        "arguments": {
            name: value
            for name, value in vars(arguments).items()
            if name not in ("results", "json", "own", "peak_of", "model_dir")
        },
        **{
            name: {
                "seconds": seconds[name],
                "seconds_all": way.seconds,
                "peak_mib": peaks[name],
                "expected_mib": update_bytes(
                    shape, [_share(group, way.metrics["num_forwards"])], learner, packed=name == "packed"
                )
                / 2**20,
                "tokens": way.metrics["num_packed_tokens"],
                "encoded_videos": way.metrics["num_encoded_videos"],
                "forwards": way.metrics["num_forwards"],
                "gflop": flops[name] / 1e9,
                "gflop_per_second": flops[name] / 1e9 / seconds[name],
                "share_of_matrix_peak": flops[name] / 1e9 / seconds[name] / peak,
                # Without what checkpointing computes again; of an update that trains all weights.
                "mfu": flops_of(name, checkpointing=False) / 1e9 / seconds[name] / peak,
            }
            for name, way in ways.items()
        },
        **differences(ways),
        "matrix_gflop_per_second": peak,
        "ratio": seconds["copies"] / seconds["packed"],
        "bound": flops["copies"] / flops["packed"],
        "token_bound": ways["copies"].metrics["num_packed_tokens"] / ways["packed"].metrics["num_packed_tokens"],
    }


def table(result: dict[str, Any]) -> TextTable:
    packed, copies = (result[way] for way in WAYS)
    return TextTable(
        f"One update, {result['parameters']:,} parameters",
        ("", *WAYS),
        tuple((name, f"{packed[name]:.4g}", f"{copies[name]:.4g}") for name in packed if name != "seconds_all"),
        f"largest difference: log-probability {result['logprob_difference']:.2g}, gradient (relative) "
        f"{result['gradient_difference']:.2g}\n"
        f"packed is {result['ratio']:.2f} times as fast; by arithmetic {result['bound']:.2f}, by tokens "
        f"{result['token_bound']:.2f}",
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--prompt-tokens", type=int, default=600)
    parser.add_argument("--completion-tokens", type=int, default=64)
    parser.add_argument("--group", type=int, default=8, help="G, completions of the prompt")
    parser.add_argument("--model-size", type=str.lower, choices=tuple(SIZES), default="1m")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--dtype", choices=("float64", "float32", "bfloat16"), help="default: float32, on a GPU bfloat16"
    )
    parser.add_argument("--repeats", type=int, default=5, help="updates of each way, after one that warms up")
    parser.add_argument("--max-tokens-per-forward", type=int, default=16_384)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--freeze-vision", action="store_true")
    parser.add_argument("--lora", action="store_true")
    parser.add_argument(
        "--learner",
        metavar="JSON",
        type=json.loads,
        default={},
        help='other learner keys, such as \'{"optimizer_dtype": "bfloat16"}\'',
    )
    parser.add_argument("--text-only", action="store_true", help="a prompt without a video")
    add_output_arguments(parser)
    parser.add_argument("--peak-of", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--model-dir", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    arguments.own = list(argv)
    arguments.dtype = arguments.dtype or ("bfloat16" if arguments.device == "cuda" else "float32")
    return arguments


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("learner: no CUDA device here. Run on a GPU, or with --device cpu.", file=sys.stderr)
        return 2
    logging.disable_progress_bar()
    if arguments.peak_of:
        print_peak(arguments)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    of = (arguments.model_size, f"p{arguments.prompt_tokens}", f"c{arguments.completion_tokens}")
    return finish("learner", result, [table(result)], arguments, *of)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
