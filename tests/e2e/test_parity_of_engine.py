"""A real engine against learners that see or compute something else."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import pytest
import ray
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from rewards.targets.boxes import BoxesTarget
from rewards.targets.choice import ChoiceTarget
from rewards.targets.span import SpanTarget
from rft.actors.cluster import cluster
from rft.actors.rollout import start_pool
from rft.data.processor import PromptProcessor
from rft.data.video import ClipCache, decode
from rft.learner import batch
from rft.learner.learner import Learner
from rft.parity.check import compare_engine_and_learner
from rft.parity.compare import ParityReport, PromptView
from rft.recipe import Recipe
from rft.rollout.pool import WorkerPool
from rft.synthetic.clips import Scene, Shape, write_clip
from rft.synthetic.policy import build_policy
from rft.types import Image as StillImage
from rft.types import Prompt, Several, TrainGroup, Video, VideoSampling
from rft.weights.ref import StoredWeights, WeightsRef

pytestmark = pytest.mark.slow

SAMPLING = VideoSampling(4.0, min_frames=4, max_frames=32, min_pixels=84 * 84, max_pixels=84 * 84, total_pixels=10**6)
FOLDER = "folder of frames"


def peaked_policy(folder: Path, seed: int) -> Path:
    """Random weights away from the flat start, so that pixels and positions move the probabilities."""
    build_policy(folder, seed)
    path = folder / "model.safetensors"
    tensors = {name: tensor * 3.0 if tensor.ndim > 1 else tensor.clone() for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


@dataclass
class Sides:
    """An engine with policy `a`, prompts on a file and on a folder of frames, and what builds a learner."""

    pool: WorkerPool
    recipe: Recipe
    clips: ClipCache
    policies: dict[str, Path]
    prompts: tuple[Prompt, ...]

    def learner(self, policy: str = "a", system_prompt: str | None = None, **learner: object) -> Learner:
        recipe = self.recipe.model_copy(update={"learner": self.recipe.learner.model_copy(update=learner)})
        folder = self.policies[policy]
        return Learner(folder, recipe, PromptProcessor(str(folder), system_prompt), self.clips, total_updates=1)

    def measure(self, learner: object) -> ParityReport:
        return compare_engine_and_learner(self.prompts, self.recipe, self.pool, learner)

    def difference(self, learner: object) -> str:
        """What is said of the folder of frames, whose time between frame pairs is not 1 s."""
        (text,) = [problem for problem in self.measure(learner).problems() if FOLDER in problem]
        return text


@dataclass
class OtherPrompts:
    """A learner that is given prompts of another recipe."""

    learner: Learner
    change: dict[str, object]

    def view_groups(self, groups: Sequence[TrainGroup]) -> tuple[PromptView, ...]:
        return self.learner.view_groups([replace(group, prompt=self.other(group.prompt)) for group in groups])

    def other(self, prompt: Prompt) -> Prompt:
        sampling = {name: value for name, value in self.change.items() if name in VideoSampling.__slots__}
        outer = {name: value for name, value in self.change.items() if name not in sampling}
        video = replace(prompt.media, sampling=replace(prompt.media.sampling, **sampling))
        return replace(prompt, media=replace(video, **(outer if prompt.media.source_fps else {})))


def draw_prompts(folder: Path) -> tuple[Prompt, ...]:
    shape = Shape("red", "circle", 0.15, (0.1, 0.3), (0.9, 0.5), (0.5, 3.0))
    clip, frames = folder / "clip.mp4", folder / "frames"
    write_clip(Scene((shape,), Fraction(8), 4.0, texture_seed=1), clip)
    frames.mkdir()
    for number, pixels in enumerate(decode(Video(clip, replace(SAMPLING, num_frames=24))).pixels):
        Image.fromarray(pixels).save(frames / f"{number:04}.png")
    boxes = BoxesTarget(((0.1, 0.1, 0.4, 0.4),) * 8)
    return (
        Prompt("f1", "temporal_grounding", "When does it move?", Video(clip, SAMPLING), SpanTarget(1.0, 2.0)),
        Prompt("f2", "temporal_grounding", "When?", Video(clip, SAMPLING, 0.5, 3.0), SpanTarget(1.0, 2.0)),
        Prompt("d1", "tracking", "Where is it?", Video(frames, SAMPLING, source_fps=9.0), boxes),
    )


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    folder = tmp_path_factory.mktemp("parity")
    policies = {"a": peaked_policy(folder / "a", 0), "b": peaked_policy(folder / "b", 1)}
    policies["other chat"] = shutil.copytree(policies["a"], folder / "chat")
    template = folder / "chat" / "chat_template.jinja"
    template.write_text("{{ 'Answer briefly. ' }}" + template.read_text())
    recipe = Recipe.model_validate(
        {
            "model": str(policies["a"]),
            "tasks": {"temporal_grounding": {}, "tracking": {}},
            "data": {"train": ["rows.jsonl"]},
            "steps": 1,
            "sampling": {"temperature": 0.9, "top_k": 50},
            "rollout": {"max_model_len": 256, "kv_cache_gib": 0.25, "max_num_seqs": 16, "max_media": 2},
            "learner": {"dtype": "float32"},
        }
    )
    with cluster(), closing(ClipCache(folder / "cache", 1.0)) as clips:
        pool = start_pool(str(policies["a"]), recipe, folder / "cache")
        yield Sides(pool, recipe, clips, policies, draw_prompts(folder))
        pool.close()


def test_engine_and_learner_agree(sides: Sides) -> None:
    found = sides.measure(sides.learner())
    assert found.problems() == ()
    assert [(row.kind, row.num_prompts) for row in found.rows] == [("video file", 2), (FOLDER, 1)]
    print(found.summary())
    for row in found.rows:
        assert row.num_tokens > 50
        assert row.ratio < 1.0005
        assert row.kl < 1e-6


def test_they_agree_on_frames_that_are_left_out_or_given(sides: Sides) -> None:
    changes = ({"drop_still": 1.0}, {"num_frames": 3, "times_s": (0.6, 1.9, 2.4)})
    clip = sides.prompts[0].media
    prompts = tuple(
        replace(sides.prompts[0], prompt_id=f"c{i}", media=replace(clip, sampling=replace(clip.sampling, **change)))
        for i, change in enumerate(changes)
    )
    counts = [len(sides.clips.load(one.media).pixels) for one in (sides.prompts[0], *prompts)]
    assert counts == [16, 6, 4]
    assert compare_engine_and_learner(prompts, sides.recipe, sides.pool, sides.learner()).problems() == ()
    seeing_all = OtherPrompts(sides.learner(), {"drop_still": 0.0})
    (problem,) = compare_engine_and_learner(prompts[:1], sides.recipe, sides.pool, seeing_all).problems()
    assert "another number of frames" in problem


def test_they_agree_on_several_clips_and_images_with_text_between(sides: Sides) -> None:
    """A clip twice, of which an engine knows the second one, an image between, and clips of two time steps."""
    clip, frames = sides.prompts[0].media, sides.prompts[2].media
    image = StillImage(frames.path / "0000.png", 84 * 84, 84 * 84)
    shown = {"First <media> then <media> and <media>?": (clip, image, frames), "Which?": (clip, clip)}
    prompts = tuple(
        Prompt(f"s{i}", "multiple_choice", text, Several(parts), ChoiceTarget("A"))
        for i, (text, parts) in enumerate(shown.items())
    )
    found = compare_engine_and_learner(prompts, sides.recipe, sides.pool, sides.learner())
    assert found.problems() == ()
    assert [(row.kind, row.num_prompts) for row in found.rows] == [("several media", 2)]
    turned = [replace(prompt, media=Several(prompt.media.parts[::-1])) for prompt in prompts]

    class Turned:
        def view_groups(self, groups: Sequence[TrainGroup]) -> tuple[PromptView, ...]:
            return sides.learner().view_groups(
                [replace(group, prompt=prompt) for group, prompt in zip(groups, turned, strict=True)]
            )

    (problem,) = compare_engine_and_learner(prompts, sides.recipe, sides.pool, Turned()).problems()
    assert "grid" in problem or "prompt text" in problem


def test_another_frame_rate(sides: Sides) -> None:
    text = sides.difference(OtherPrompts(sides.learner(), {"fps": 2.0}))
    assert "video grid" in text
    assert "video.fps" in text


def test_another_rate_of_a_folder_with_as_many_frames(sides: Sides) -> None:
    """Twice the rate over half the time: grid and tokens are the same."""
    text = sides.difference(OtherPrompts(sides.learner(), {"fps": 8.0, "source_fps": 18.0}))
    assert "seconds per grid: engine 0.5" in text
    assert "source_fps" in text


def test_other_frames_of_the_same_clip(sides: Sides) -> None:
    text = sides.difference(OtherPrompts(sides.learner(), {"num_frames": 10, "pick": "start_then_even"}))
    assert "not the same ones" in text


def test_another_pixel_limit(sides: Sides) -> None:
    text = sides.difference(OtherPrompts(sides.learner(), {"min_pixels": 56 * 56, "max_pixels": 56 * 56}))
    assert "engine 5 x 6 x 6, learner 5 x 4 x 4" in text
    assert "other pixel limits" in text


def test_a_learner_without_the_time_step(sides: Sides) -> None:
    text = sides.difference(sides.learner(seconds_per_grid="one"))
    assert "seconds per grid" in text
    assert "learner 1." in text


def test_positions_that_leave_the_time_step_out(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    right = batch.prompt_positions
    monkeypatch.setattr(batch, "prompt_positions", lambda *args: right(*args[:3], torch.ones_like(args[3])))
    text = sides.difference(sides.learner())
    assert "position ids (time, row, column)" in text
    assert "time between frame pairs" in text


@pytest.mark.parametrize(("policy", "system_prompt"), [("other chat", None), ("a", "You see a video.")])
def test_another_chat(sides: Sides, policy: str, system_prompt: str | None) -> None:
    text = sides.difference(sides.learner(policy, system_prompt))
    assert "prompt text" in text
    assert "chat templates" in text


def test_stale_weights(sides: Sides) -> None:
    text = sides.difference(sides.learner("b"))
    assert "the same inputs, other log-probabilities" in text
    assert "stale" in text
    trained = sides.learner()
    trained.policy_version = 1
    assert "policy version: engine 0, learner 1" in sides.difference(trained)
    tensors, probe = trained.state_dict_for_rollout()
    sides.pool.load_weights(WeightsRef(1, StoredWeights(ray.put(tensors)), probe))
    assert sides.measure(trained).problems() == ()
