"""A frozen tower looks once at a clip: real vLLM and learner over one folder of features.

A whole run: tests/e2e/test_images_and_text.py.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest
import torch
from engine_process import engine_process
from family_policies import build_qwen3_policy
from PIL import Image as Picture
from safetensors.torch import load_file, save_file

from rewards.targets.choice import ChoiceTarget
from rft.data.feature_store import FeatureFolder, features_in
from rft.data.processor import PromptProcessor
from rft.data.video import ClipCache
from rft.learner.learner import Learner
from rft.recipe import Recipe
from rft.synthetic.clips import Scene, Shape, write_clip
from rft.synthetic.policy import build_policy
from rft.types import Completion, Image, Prompt, TrainGroup, Video
from rft.weights.ref import StoredWeights, WeightsRef

pytestmark = pytest.mark.slow

FAMILIES = {"2.5": (build_policy, 84), "3": (build_qwen3_policy, 64)}
"""Builds the policy; side of its frames."""

NUM_SHOWN = 3
"""Two clips and an image."""


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features") / request.param
    for name, factor in (("policy", 3.0), ("other", 2.5)):
        FAMILIES[request.param][0](folder / name)
        path = folder / name / "model.safetensors"
        # Away from the flat start, so that pixels move the probabilities.
        peaked = {
            key: tensor * factor if tensor.ndim > 1 else tensor.clone() for key, tensor in load_file(path).items()
        }
        save_file(peaked, path, metadata={"format": "pt"})
    Picture.effect_noise((90, 140), 60).convert("RGB").save(folder / "tall.png")
    for number in range(NUM_SHOWN - 1):
        shape = Shape("red", "circle", 0.15, (0.1, 0.1), (0.9, 0.5), (0.5, 3.0))
        write_clip(Scene((shape,), Fraction(8), 4.0, texture_seed=number), folder / f"clip{number}.mp4")
    return folder


class Sides:
    """An engine and a learner with one policy and its frozen tower, in one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pixels = FAMILIES[folder.name][1] ** 2
        self.recipe = Recipe.model_validate(
            {
                "model": str(folder / "policy"),
                "tasks": {},
                "data": {"train": ()},
                "steps": 1,
                "video": {"min_frames": 8, "max_frames": 8, "min_pixels": pixels, "max_pixels": pixels},
                "sampling": {"num_generations": 4, "max_completion_length": 8},
                "rollout": {"max_model_len": 256, "kv_cache_gib": 0.25},
                "learner": {"dtype": "float32", "freeze_vision": True},
            }
        )
        from rft.rollout.engine import Engine

        self.features_dir = features_in(folder / "clips")
        self.clips = ClipCache.of(self.recipe, folder / "clips")
        self.engine = Engine(self.recipe.model, self.recipe, use_gpu=False, features_dir=self.features_dir)

    def learner(self, policy: str = "policy", **keys: object) -> Learner:
        settings = self.recipe.learner.model_copy(update=keys)
        recipe = self.recipe.model_copy(update={"learner": settings})
        model = self.folder / policy
        processor = PromptProcessor(str(model))
        return Learner(model, recipe, processor, self.clips, 4, features_dir=self.features_dir)

    def load(self, learner: Learner) -> None:
        tensors, probe = learner.state_dict_for_rollout()
        ref = WeightsRef(learner.policy_version, StoredWeights(tensors), probe, frozen_tower=learner.frozen_tower)
        assert self.engine.load_weights(ref).result() < 1e-3

    def prompt(self, number: int) -> Prompt:
        video = self.recipe.video
        media: Video | Image = Video(self.folder / f"clip{number}.mp4", video.sampling())
        if number == NUM_SHOWN - 1:
            media = Image(self.folder / "tall.png", video.min_pixels, video.max_pixels)
        return Prompt(f"p{number}", "multiple_choice", "What?", media, ChoiceTarget("A"))

    def ask(self, number: int) -> tuple[Completion, ...]:
        prompt = self.prompt(number)
        rendered = self.engine.render(prompt, self.clips.load(prompt.media))
        return self.engine.submit(rendered, self.recipe.sampling.sampling(), seed=number).result()

    def groups(self) -> tuple[TrainGroup, ...]:
        asked = [(self.prompt(number), self.ask(number)) for number in range(NUM_SHOWN)]
        return tuple(TrainGroup(prompt, drawn, tuple(1.0 - i for i in range(len(drawn)))) for prompt, drawn in asked)

    def counted(self) -> tuple[float, float]:
        """Passes of the engine's tower, and features found, since the last call."""
        counters = self.engine.counters().result()
        return counters["clips/encodes"], counters["clips/feature_hits"]

    def files(self) -> list[Path]:
        return sorted(self.features_dir.rglob("*.feat"))


@pytest.fixture(scope="module")
def process(folder: Path) -> Iterator[ProcessPoolExecutor]:
    """One per family."""
    with engine_process() as process:
        yield process


@cache
def sides_of(folder: Path) -> Sides:
    """One for all tests of a family, in its process."""
    return Sides(folder)


def engine_and_learner(folder: Path) -> None:
    sides = sides_of(folder)
    learner = sides.learner()

    first = sides.ask(0)
    assert sides.counted() == (1, 0)
    assert sides.files() == [], "the tower of an engine's own folder is nobody's"

    sides.load(learner)
    groups = sides.groups()
    assert sides.counted() == (NUM_SHOWN, 0)
    assert len(sides.files()) == NUM_SHOWN
    assert [c.token_ids for c in first] == [c.token_ids for c in groups[0].completions]

    for reading, group in zip(learner.view_groups(groups), groups, strict=True):
        for ours, theirs in zip(reading.logprobs, group.completions, strict=True):
            assert torch.tensor(ours).sub(torch.tensor(theirs.logprobs)).abs().max() < 1e-3
    metrics = learner.update(groups)
    assert metrics["num_encoded_videos"] == 0
    assert metrics["logprob_gap"] < 1e-4

    sides.load(learner)
    again = sides.groups()
    assert sides.counted() == (0, NUM_SHOWN)
    assert learner.update(again)["logprob_gap"] < 1e-4

    tower_of_another = sides.learner("other")
    sides.load(tower_of_another)
    sides.ask(0)
    assert sides.counted() == (1, 0)
    sides.load(sides.learner(freeze_vision=False))
    sides.ask(1)
    assert sides.counted() == (1, 0)
    assert len(sides.files()) == NUM_SHOWN + 1


def test_the_engine_encodes_and_the_learner_reads(folder: Path, process: ProcessPoolExecutor) -> None:
    process.submit(engine_and_learner, folder).result(timeout=300)


def features_that_go(folder: Path) -> None:
    sides = sides_of(folder)
    learner = sides.learner()
    sides.load(learner)
    for path in sides.files():
        path.unlink()
    known = sides.ask(0)
    sides.counted()

    look_up = FeatureFolder.load

    def then_lost(self: FeatureFolder, tower: str, key: str) -> torch.Tensor | None:
        found = look_up(self, tower, key)
        for path in sides.files():
            path.unlink()
        return found

    sides.load(learner)
    FeatureFolder.load = then_lost  # type: ignore[method-assign]
    assert sides.ask(0) == known
    assert sides.counted() == (0, 1), "they were read when they were looked up"
    FeatureFolder.load = look_up  # type: ignore[method-assign]

    sides.load(learner)
    assert sides.ask(0) == known
    assert sides.counted() == (1, 0)
    (path,) = sides.files()
    os.truncate(path, 9)
    sides.load(learner)
    assert sides.ask(0) == known
    assert sides.counted() == (1, 0)
    sides.load(learner)
    assert sides.ask(0) == known
    assert sides.counted() == (0, 1)

    # A prompt that waits for room is looked up in every step, and read in the first.
    connector = sides.engine._engine.engine_core.engine_core.scheduler.get_ec_connector()
    name = f"{learner.frozen_tower}/{sides.clips.load(sides.prompt(0).media).key}"
    for path in (*sides.files(), None):
        assert connector.has_cache_item(name)
        assert connector.build_connector_meta(None).features == {}
        if path:
            path.unlink()
    connector.build_connector_meta(None)
    assert not connector.has_cache_item(name)


def test_features_that_are_gone_or_damaged_are_encoded_again(folder: Path, process: ProcessPoolExecutor) -> None:
    process.submit(features_that_go, folder).result(timeout=300)
