"""One vLLM engine without Ray: it reads what the learner reads, and may be given more than fits in one forward."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from engine_process import engine_process
from PIL import Image
from transformers import AutoModelForImageTextToText, GenerationConfig, PreTrainedModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from rewards.targets.span import SpanTarget
from rft.data.patches import scaled
from rft.data.video import decode
from rft.learner.batch import prompt_positions
from rft.recipe import Recipe
from rft.synthetic.clips import Scene, Shape, write_clip
from rft.synthetic.policy import build_policy
from rft.types import Completion, Prompt, Sampling, Video, VideoSampling

if TYPE_CHECKING:
    from rft.rollout.engine import Engine

pytestmark = pytest.mark.slow

NUM_PROMPTS = 12
PROMPT_TOKENS = 500
"""At least; twelve of them are more than the 4096 tokens of a forward on the CPU."""


MORE_ENDS = range(300, 800)
"""Tokens that the model's generation_config.json names as ends too, so that one is met soon."""


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    with engine_process() as process:
        yield process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    build_policy(folder / "policy")
    config = GenerationConfig.from_pretrained(folder / "policy")
    config.eos_token_id = sorted({config.eos_token_id, config.pad_token_id, *MORE_ENDS})
    config.save_pretrained(folder / "policy")
    shape = Shape("red", "circle", 0.15, (0.1, 0.1), (0.9, 0.5), (0.5, 1.5))
    write_clip(Scene((shape,), Fraction(10), 4.0, texture_seed=0), folder / "slow.mp4")
    (folder / "fast").mkdir()
    draw = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(draw.integers(0, 256, (60, 90, 3), np.uint8)).save(folder / "fast" / f"{number:02}.png")
    noise = draw.integers(0, 256, (88, 60, 90, 3), np.uint8)
    for name in ("long", "other"):
        (folder / name).mkdir()
        for number, frame in enumerate(noise):
            pixels = frame if number <= 40 or name == "long" else 255 - frame
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")
    return folder


@cache
def engine(folder: Path, most_batched: int | None = None) -> "Engine":
    """One for all tests of this file, in the engine's process, but for one that runs at most so many tokens a step."""
    from rft.rollout.engine import Engine

    chunked = {"enable_chunked_prefill": True, "max_num_batched_tokens": most_batched}
    recipe = Recipe.model_validate(
        {
            "model": str(folder / "policy"),
            "tasks": {},
            "data": {"train": ()},
            "steps": 1,
            "video": {"stream": True},
            "rollout": {"max_model_len": 1024, "kv_cache_gib": 0.25, "engine": chunked if most_batched else {}},
            "learner": {"dtype": "bfloat16"},
        }
    )
    return Engine(recipe.model, recipe, use_gpu=False)


@dataclass(frozen=True)
class Read:
    """One prompt as learner and engine read it, in this order."""

    token_ids: tuple[list[int], list[int]]
    seconds: tuple[float, float]
    """Between frame pairs."""
    grid: tuple[list[int], list[int]]
    pixel_gap: float
    num_prompt_tokens: int


def read_by_both(folder: Path, name: str, source_fps: float | None, fps: float) -> Read:
    sampling = VideoSampling(fps, 4, 32, 56 * 56, 84 * 84, 10**6)
    video = Video(folder / name, sampling, source_fps=source_fps)
    prompt, frames = Prompt(name, "temporal_grounding", "When does it move?", video, SpanTarget(0, 1)), decode(video)
    inputs = engine(folder)._processor.encode(prompt, frames)
    rendered = engine(folder).render(prompt, frames)
    stretches = rendered["mm_kwargs"]["video"]
    item = stretches[0]
    grids = torch.stack([one["video_grid_thw"].data for one in stretches])
    assert (grids[:, 1:] == grids[0, 1:]).all()
    (completion,) = engine(folder).submit(rendered, Sampling(1, 1.0, 1.0, 0, 4), 0).result()
    return Read(
        (list(inputs.token_ids), list(rendered["prompt_token_ids"])),
        (inputs.seconds_per_grid.item(), item["second_per_grid_ts"].data.item()),
        (inputs.grid[0].tolist(), [int(grids[:, 0].sum()), *grids[0, 1:].tolist()]),
        pixel_gap(
            scaled(inputs.patches, inputs.scale), torch.cat([one["pixel_values_videos"].data for one in stretches])
        ),
        completion.num_prompt_tokens,
    )


def pixel_gap(learner: torch.Tensor, engine: torch.Tensor) -> float:
    # The engine may keep pixels as they are and normalise them on its device.
    if engine.dtype == torch.uint8:
        mean, std = (torch.tensor(values)[:, None] for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
        engine = ((engine.reshape(len(engine), 3, -1) / 255 - mean) / std).reshape(len(engine), -1)
    return float((learner - engine).abs().max())


@pytest.mark.parametrize(
    ("name", "source_fps", "fps", "seconds"),
    [
        ("slow.mp4", None, 2.0, 1.0),
        ("slow.mp4", None, 4.0, 0.5),
        ("fast", 25.0, 2.0, 2 / (4 / 1.6)),
        ("fast", 25.0, 7.0, 2 / (10 / 1.6)),
    ],
)
def test_engine_reads_what_the_learner_reads(
    process: ProcessPoolExecutor, folder: Path, name: str, source_fps: float | None, fps: float, seconds: float
) -> None:
    read = process.submit(read_by_both, folder, name, source_fps, fps).result(timeout=300)
    assert read.token_ids[0] == read.token_ids[1]
    assert read.seconds[0] == read.seconds[1] == pytest.approx(seconds, rel=1e-5)
    assert read.grid[0] == read.grid[1]
    assert read.pixel_gap < 0.01  # bfloat16, as the model reads them
    assert read.num_prompt_tokens == len(read.token_ids[0])


def lengths(folder: Path) -> list[tuple[int, int]]:
    """Prompt and completion tokens, of prompts that all wait when the engine begins."""
    video = Video(folder / "slow.mp4", VideoSampling(4.0, 16, 16, 224 * 224, 224 * 224, 10**6))
    prompt = Prompt("p", "temporal_grounding", "When does the shape move?", video, SpanTarget(1.0, 2.0))
    frames = decode(video)
    rendered = [engine(folder).render(prompt, replace(frames, key=f"clip {i}")) for i in range(NUM_PROMPTS)]
    all_wait = threading.Event()

    def hold(future: Future[None]) -> None:
        future.set_result(all_wait.wait(60) and None)

    held = engine(folder)._command(hold)
    asked = [engine(folder).submit(one, Sampling(1, 1.0, 1.0, 0, 4), seed) for seed, one in enumerate(rendered)]
    all_wait.set()
    held.result()
    completions = [future.result()[0] for future in asked]
    return [(one.num_prompt_tokens, len(one.token_ids)) for one in completions]


def test_prompts_that_do_not_fit_in_one_forward_are_not_split(process: ProcessPoolExecutor, folder: Path) -> None:
    """vLLM fails over a split prompt with a seed on the CPU."""
    found = process.submit(lengths, folder).result(timeout=300)
    assert len(found) == NUM_PROMPTS
    assert all(num_prompt >= PROMPT_TOKENS for num_prompt, _ in found)
    assert all(1 <= num_tokens <= 4 for _, num_tokens in found)


def drawn(folder: Path) -> tuple[Completion, ...]:
    video = Video(folder / "slow.mp4", VideoSampling(2.0, 4, 32, 56 * 56, 84 * 84, 10**6))
    prompt = Prompt("p", "temporal_grounding", "When does the shape move?", video, SpanTarget(1.0, 2.0))
    return engine(folder).submit(engine(folder).render(prompt, decode(video)), Sampling(8, 1.0, 1.0, 0, 64), 0).result()


def test_completions_end_at_every_end_token_of_the_model(process: ProcessPoolExecutor, folder: Path) -> None:
    """Qwen's models name two, the tokenizer's <|im_end|> and <|endoftext|>; here there are more."""
    found = process.submit(drawn, folder).result(timeout=300)
    ends = set(GenerationConfig.from_pretrained(folder / "policy").eos_token_id)
    assert len(found) == 8
    assert {one.finish_reason for one in found} == {"stop"}
    assert all([token for token in one.token_ids if token in ends] == [one.token_ids[-1]] for one in found)


@dataclass(frozen=True)
class Asked:
    """One question along a clip."""

    num_prompt_tokens: int
    num_found: int
    """Of them, what was found computed."""
    agrees: bool
    """Whether engine and learner have the same tokens and positions."""
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


def asked(folder: Path, name: str, end_s: float, *most_batched: int) -> Asked:
    one = engine(folder, *most_batched)
    sampling = VideoSampling(4.0, 4, 64, 56 * 56, 84 * 84, 10**6, pick="stream")
    video = Video(folder / name, sampling, end_s=end_s, source_fps=8.0)
    prompt, frames = Prompt("q", "temporal_grounding", "When does it move?", video, SpanTarget(0, 1)), decode(video)
    rendered, inputs = one.render(prompt, frames), one._processor.encode(prompt, frames)
    view = one.view_prompt(rendered, frames.key).result()
    positions = prompt_positions(policy(folder), inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
    one.counters().result()
    (completion,) = one.submit(rendered, Sampling(1, 0.0, 1.0, 0, 8), 0).result()
    return Asked(
        completion.num_prompt_tokens,
        int(one.counters().result()["prefix_cache_hits"]),
        (view.token_ids, [*map(list, view.position_ids)]) == (inputs.token_ids, positions.tolist()),
        completion.token_ids,
        completion.logprobs,
    )


@cache
def policy(folder: Path) -> PreTrainedModel:
    return AutoModelForImageTextToText.from_pretrained(folder / "policy")


def forget(one: "Engine", future: Future[None]) -> None:
    assert one._engine.reset_prefix_cache()
    one._engine.reset_mm_cache(), one._engine.reset_encoder_cache()
    future.set_result(None)


def asked_along(folder: Path, questions: Sequence[tuple[str, float]], *, forgets: bool) -> list[Asked]:
    """`forgets`: with empty caches for each."""
    found = []
    for number, question in enumerate(questions):
        if forgets or not number:
            engine(folder)._command(partial(forget, engine(folder))).result()
        found.append(asked(folder, *question))
    return found


def test_a_question_finds_the_stretches_of_earlier_ones(process: ProcessPoolExecutor, folder: Path) -> None:
    """Whole stretches of 24 tokens behind 11 of text, in whole blocks of 32; "other" differs from 5 s on."""
    questions = [("long", 8.0), ("long", 5.0), ("long", 10.0), ("long", 10.0), ("other", 5.0), ("other", 10.0)]
    shared, alone = (
        process.submit(asked_along, folder, questions, forgets=forgets).result(timeout=300) for forgets in (False, True)
    )
    assert [one.num_found for one in shared] == [0, 32, 96, 128, 64, 32]
    assert [one.num_found for one in alone] == [0] * 6
    assert [one.num_prompt_tokens for one in shared] == [122, 86, 146, 146, 86, 146]
    assert all(one.agrees for one in (*shared, *alone))
    for one, again in zip(shared, alone, strict=True):
        assert one.token_ids == again.token_ids
        assert one.logprobs == pytest.approx(again.logprobs, abs=0.02)
    assert shared[1] == replace(shared[4], num_found=32)
    assert shared[3].logprobs != pytest.approx(shared[5].logprobs, abs=0.02)


def largest_step(folder: Path, most_batched: int) -> int:
    """Tokens that the engine runs at one time."""
    return engine(folder, most_batched)._engine.vllm_config.scheduler_config.max_num_batched_tokens


def test_a_prompt_in_parts_has_the_answers_of_one_in_a_piece(process: ProcessPoolExecutor, folder: Path) -> None:
    """Greedy: a draw after each part but the last cannot be taken back from a seeded generator of the CPU."""
    whole = process.submit(asked, folder, "long", 10.0).result(timeout=300)
    parts = process.submit(asked, folder, "long", 10.0, 64).result(timeout=300)
    assert process.submit(largest_step, folder, 64).result() == 64
    assert (parts.num_prompt_tokens, parts.num_found, parts.agrees) == (146, 0, True)
    assert parts.token_ids == whole.token_ids
    assert parts.logprobs == pytest.approx(whole.logprobs, abs=0.02)
