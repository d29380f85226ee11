"""How much does a packed group save? One learner update, packed against one copy of the prompt per completion.

Builds a Qwen2.5-VL of the asked size with random weights, runs `Learner.update` both ways on the same made-up
completions, prints a table and writes benchmarks/results/gpu_learner_<size>_<hardware>.json.

    python benchmarks/gpu_learner.py                                  one GPU with 80 GiB or more
    python benchmarks/gpu_learner.py --device cpu --model-size tiny   checks the script itself
"""

import argparse
import gc
import json
import platform
import re
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.utils import logging

from rewards.types import SpanTarget
from rft.data.processor import PromptInputs
from rft.learner.learner import Learner
from rft.recipe import Recipe
from rft.types import Completion, Prompt, TrainSample, Video, VideoSampling

VISION_START, VISION_END, IMAGE, VIDEO, END = 0, 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Size:
    text: dict[str, object]
    vision: dict[str, object]
    grid: tuple[int, int, int]
    """Frame pairs, rows and columns of patches; four patches are a token."""


def _qwen(hidden: int, mlp: int, layers: int, heads: int, kv_heads: int, *, tied: bool) -> dict[str, object]:
    return {
        "vocab_size": 151_936,
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 128_000,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        "tie_word_embeddings": tied,
    }


def _tower(out: int) -> dict[str, object]:
    return {"hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": out, "tokens_per_second": 2}


SIZES = {
    "tiny": Size(
        text=_qwen(64, 96, 2, 2, 1, tied=True)
        | {
            "vocab_size": 512,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [8, 4, 4]},
        },
        vision={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 64,
            "fullatt_block_indexes": [1],
            "tokens_per_second": 2,
        },
        grid=(4, 8, 12),
    ),
    "3b": Size(_qwen(2048, 11_008, 36, 16, 2, tied=True), _tower(2048), grid=(24, 22, 28)),
    "7b": Size(_qwen(3584, 18_944, 28, 28, 4, tied=False), _tower(3584), grid=(24, 22, 28)),
}
"""3b and 7b: the published shapes of Qwen2.5-VL; 24 * 22 * 28 / 4 = 3,696 visual tokens."""


def write_model(size: Size, directory: Path, device: torch.device) -> int:
    """Save a model with random weights in bfloat16; returns the number of parameters."""
    config = Qwen2_5_VLConfig(
        text_config=size.text | {"bos_token_id": None, "eos_token_id": END},
        vision_config=size.vision,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=size.text["tie_word_embeddings"],
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(directory)
    return sum(parameter.numel() for parameter in model.parameters())


class OneVideo:
    """Processor and clips in one: every prompt is the same video and the same few words."""

    banned_token_ids = (VISION_START, VISION_END, IMAGE, VIDEO)
    eos_token_id = END

    def __init__(self, grid: tuple[int, int, int], vocabulary: int) -> None:
        pairs, rows, columns = grid
        words = torch.randint(5, vocabulary, (40,)).tolist()
        self.inputs = PromptInputs(
            token_ids=(*words[:20], VISION_START, *[VIDEO] * (pairs * rows * columns // 4), VISION_END, *words[20:]),
            pixel_values_videos=torch.randn(pairs * rows * columns, 3 * 2 * 14 * 14),
            video_grid_thw=torch.tensor([grid]),
            second_per_grid_ts=torch.tensor([1.0]),
        )

    def encode(self, prompt: Prompt, frames: None) -> PromptInputs:
        return self.inputs

    def load(self, video: Video) -> None:
        return None


def make_samples(num_prompt_tokens: int, completions: Sequence[Sequence[int]], *, packed: bool) -> list[TrainSample]:
    """One group; or, so that nothing is shared, as many prompts as completions."""
    video = Video(Path("none.mp4"), VideoSampling(2.0, 4, 768, 784, 784, 784))
    samples = []
    for number, token_ids in enumerate(completions):
        prompt = Prompt("p" if packed else f"p{number}", "t", "", video, SpanTarget(0.0, 1.0))
        logprobs = (0.0,) * len(token_ids)
        completion = Completion("", tuple(token_ids), logprobs, num_prompt_tokens, "stop", 0)
        samples.append(TrainSample(prompt, completion, 1.0 if number % 2 else -1.0))
    return samples


def measure(arguments: argparse.Namespace, model_dir: Path, size: Size, *, packed: bool) -> dict[str, float]:
    device = torch.device(arguments.device)
    recipe = Recipe.model_validate(
        {
            "model": str(model_dir),
            "tasks": {},
            "data": {"train": ()},
            "steps": 100,
            "sampling": {"max_completion_length": arguments.completion_tokens},
            "learner": {
                "dtype": "float32" if device.type == "cpu" else "bfloat16",
                "gradient_checkpointing": arguments.gradient_checkpointing,
                "max_tokens_per_forward": arguments.max_tokens_per_forward,
                "lora": {} if arguments.lora else None,
            },
        }
    )
    torch.manual_seed(1)
    vocabulary = int(str(size.text["vocab_size"]))
    one = OneVideo(size.grid, vocabulary)
    completions = torch.randint(5, vocabulary, (arguments.group, arguments.completion_tokens)).tolist()
    samples = make_samples(len(one.inputs.token_ids), completions, packed=packed)
    learner = Learner(model_dir, recipe, one, one, total_updates=100, device=device)  # type: ignore[arg-type]
    metrics = learner.update(samples)
    gap = metrics["logprob_gap"]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(arguments.updates):
        start = time.perf_counter()
        metrics = learner.update(samples)
        seconds.append(time.perf_counter() - start)
    median = sorted(seconds)[len(seconds) // 2]
    return {
        "seconds": median,
        "seconds_min": min(seconds),
        "seconds_max": max(seconds),
        **{
            name.replace("seconds/learner_", "seconds_"): s
            for name, s in metrics.items()
            if name.startswith("seconds/")
        },
        "peak_gib": _peak_gib(device),
        "forwards": metrics["num_forwards"],
        "tokens": metrics["num_packed_tokens"],
        "tokens_per_second": metrics["num_packed_tokens"] / median,
        "completion_tokens_per_second": metrics["num_tokens"] / median,
        "mean_logprob": -gap,  # the made-up rollouts give every token log-probability 0
    }


def _peak_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model-size", choices=sorted(SIZES), default="3b")
    parser.add_argument("--group", type=int, default=8, help="G, completions of the prompt")
    parser.add_argument("--completion-tokens", type=int, default=256)
    parser.add_argument("--updates", type=int, default=5, help="measured, after one that warms up")
    parser.add_argument("--max-tokens-per-forward", type=int, default=16_384)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--lora", action="store_true")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args(argv)
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(
            "gpu_learner: no CUDA device here. Run on a GPU, or with --device cpu --model-size tiny.", file=sys.stderr
        )
        return 2
    logging.disable_progress_bar()
    size = SIZES[arguments.model_size]
    with tempfile.TemporaryDirectory() as folder:
        num_parameters = write_model(size, Path(folder), device)
        ways = {}
        for way in ("packed", "copies"):
            ways[way] = measure(arguments, Path(folder), size, packed=way == "packed")
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
    result = {
        "question": "one learner update: a packed group against one copy of the prompt per completion",
        "hardware": hardware(device),
        "torch": torch.__version__,
        "parameters": num_parameters,
        "arguments": {name: str(value) for name, value in vars(arguments).items() if name != "results"},
        **ways,
        "speed_up": ways["copies"]["seconds"] / ways["packed"]["seconds"],
    }
    report(result, ways)
    name = re.sub(r"[^a-z0-9]+", "-", hardware(device).lower())
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / f"gpu_learner_{arguments.model_size}_{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(path)
    return 0


def report(result: dict[str, object], ways: dict[str, dict[str, float]]) -> None:
    print(f"{result['hardware']}, {result['parameters']:,} parameters, torch {result['torch']}")
    print(f"{'':30}{'packed':>14}{'copies':>14}")
    for name in ways["packed"]:
        print(f"{name:30}{ways['packed'][name]:14.4g}{ways['copies'][name]:14.4g}")
    print(f"packed is {result['speed_up']:.2f} times as fast")


if __name__ == "__main__":
    sys.exit(main())
