"""One vLLM engine without Ray, given more at one time than it runs in one forward."""

import multiprocessing
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from rewards.targets.span import SpanTarget
from rft.actors.rollout import engine_environment
from rft.data.video import ClipCache
from rft.recipe import Recipe
from rft.synthetic.clips import Scene, Shape, write_clip
from rft.synthetic.policy import build_policy
from rft.types import Prompt, Video

pytestmark = pytest.mark.slow

NUM_PROMPTS = 12
PROMPT_TOKENS = 500
"""At least; twelve of them are more than the 4096 tokens of a forward on the CPU."""


def lengths(folder: Path) -> list[tuple[int, int]]:
    """Prompt and completion tokens, of prompts that all wait when the engine begins. Runs in a process of its own."""
    recipe = Recipe.model_validate(
        {
            "model": str(folder / "policy"),
            "tasks": {},
            "data": {"train": ()},
            "steps": 1,
            "video": {"min_frames": 16, "max_frames": 16, "min_pixels": 224**2, "max_pixels": 224**2},
            "sampling": {"max_completion_length": 4},
            "rollout": {"max_model_len": 1024, "kv_cache_gib": 0.25},
            "learner": {"dtype": "float32"},
        }
    )
    from rft.rollout.engine import Engine

    engine = Engine(recipe.model, recipe, use_gpu=False)
    video = Video(folder / "clip.mp4", recipe.video.sampling())
    prompt = Prompt("p", "temporal_grounding", "When does the shape move?", video, SpanTarget(1.0, 2.0))
    frames = ClipCache(folder / "clips", 1.0).load(video)
    rendered = [engine.render(prompt, replace(frames, key=f"clip {i}")) for i in range(NUM_PROMPTS)]
    all_wait = threading.Event()

    def hold(future: Future[None]) -> None:
        future.set_result(all_wait.wait(60) and None)

    held = engine._command(hold)
    sampling = replace(recipe.sampling.sampling(), num_generations=1)
    asked = [engine.submit(one, sampling, seed) for seed, one in enumerate(rendered)]
    all_wait.set()
    held.result()
    completions = [future.result()[0] for future in asked]
    return [(one.num_prompt_tokens, len(one.token_ids)) for one in completions]


def test_prompts_that_do_not_fit_in_one_forward_are_not_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM fails over a split prompt with a seed on the CPU."""
    shape = Shape("red", "circle", 0.15, (0.1, 0.1), (0.9, 0.5), (0.5, 3.0))
    write_clip(Scene((shape,), Fraction(8), 4.0, texture_seed=0), tmp_path / "clip.mp4")
    build_policy(tmp_path / "policy")
    recipe = Recipe.model_validate({"model": "none", "tasks": {}, "data": {"train": ()}, "steps": 1})
    for name, value in engine_environment(recipe.rollout, use_gpu=False, offline=True).items():
        monkeypatch.setenv(name, value)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        found = process.submit(lengths, tmp_path).result(timeout=300)
    assert len(found) == NUM_PROMPTS
    assert all(num_prompt >= PROMPT_TOKENS for num_prompt, _ in found)
    assert all(1 <= num_tokens <= 4 for _, num_tokens in found)
