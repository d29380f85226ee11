"""Two views of a prompt: what counts as a difference, what it is called, and what a run does about it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rewards.targets.choice import ChoiceTarget
from rewards.targets.span import SpanTarget
from rft.data.frames import ClipError
from rft.errors import ParityError
from rft.parity.check import compare_engine_and_learner, pick_prompts, report_or_raise, sampling
from rft.parity.compare import ParityReport, PromptView, compare, first_difference
from rft.recipe import ParityRecipe, Recipe
from rft.types import Completion, Image, Prompt, Sampling, TrainGroup, Video, VideoSampling

BOUNDS = ParityRecipe()
POSITIONS = ((0, 1, 1, 2, 2, 4), (0, 1, 1, 1, 1, 4), (0, 1, 2, 1, 2, 4))
SAME = PromptView(
    policy_version=3,
    text="<user>When?<answer>",
    token_ids=(7, 1, 1, 1, 1, 8),
    clip="abc",
    grid=(2, 2, 4),
    seconds_per_grid=(0.5,),
    position_ids=POSITIONS,
    logprobs=((-1.0, -2.0), (-0.5,)),
)


def prompt(name: str, task: str = "temporal_grounding", source_fps: float | None = None) -> Prompt:
    video = Video(Path(f"{name}.mp4"), VideoSampling(2.0, 4, 16, 1, 1, 1), source_fps=source_fps)
    return Prompt(name, task, "When?", video, SpanTarget(0.0, 1.0))


def recipe(**sections: dict[str, object]) -> Recipe:
    return Recipe.model_validate({"model": "m", "tasks": {}, "data": {"train": ()}, "steps": 1, **sections})


def moved(gap: float) -> PromptView:
    """The same view with log-probabilities that differ by `gap`."""
    return replace(SAME, logprobs=tuple(tuple(value + gap for value in values) for values in SAME.logprobs))


LATER = tuple(tuple(row) for row in ((0, 1, 1, 3, 3, 5), POSITIONS[1], POSITIONS[2]))
TURNED = (POSITIONS[0], POSITIONS[2], POSITIONS[1])
DIFFERENCES = [
    ({"grid": (4, 2, 4)}, "engine 2 x 2 x 4, learner 4 x 2 x 4", "video.fps"),
    ({"grid": (2, 4, 4)}, "engine 2 x 2 x 4, learner 2 x 4 x 4", "pixel limits"),
    ({"token_ids": (9, 1, 1, 1, 1, 8), "text": "<sys>When?<answer>"}, "from character 1", "chat templates"),
    ({"token_ids": (7, 1, 1, 1, 1, 9)}, "token 5", "two tokenizers"),
    ({"token_ids": (7, 1, 1, 1, 1, 8, 8), "text": "<user>When?<answer>!"}, "from character 19", "chat templates"),
    ({"seconds_per_grid": (1.0,)}, "engine 0.5, learner 1.", "time step"),
    ({"seconds_per_grid": (0.5, 2.0)}, "engine 0.5, learner 0.5, 2.", "time step"),
    ({"seconds_per_grid": ()}, "engine 0.5, learner none.", "time step"),
    ({"position_ids": LATER}, "token 3: engine (2, 1, 1), learner (3, 1, 1)", "learner.seconds_per_grid"),
    ({"position_ids": TURNED}, "token 2: engine (1, 1, 2), learner (1, 2, 1)", "M-RoPE rules"),
    ({"clip": "other"}, "frames", "replaced"),
    ({"policy_version": 4}, "engine 3, learner 4", "stale weights"),
]


@pytest.mark.parametrize(("change", "what", "cause"), DIFFERENCES, ids=[str(list(f[0])) for f in DIFFERENCES])
def test_a_difference_is_named_with_its_cause(change: dict, what: str, cause: str) -> None:
    difference = first_difference(SAME, replace(SAME, **change))
    assert difference is not None
    assert what in difference
    assert cause in difference.split("Likely cause")[1]


def test_the_difference_that_explains_the_others_comes_first() -> None:
    other = {name: value for change, _, _ in reversed(DIFFERENCES) for name, value in change.items()}
    difference = first_difference(SAME, replace(SAME, **other))
    assert difference is not None
    assert difference.startswith("video grid")


def test_equal_views_agree() -> None:
    assert first_difference(SAME, replace(SAME, seconds_per_grid=(0.5000001,))) is None
    row = compare("t", "video file", [(prompt("a"), SAME, SAME)], BOUNDS)
    assert (row.num_prompts, row.num_tokens, row.ratio, row.kl, row.difference) == (1, 3, 1.0, 0.0, None)


@pytest.mark.parametrize("sign", [1, -1])
def test_gaps_are_measured_token_by_token(sign: int) -> None:
    row = compare("t", "video file", [(prompt("a"), SAME, moved(sign * 0.04)), (prompt("b"), SAME, SAME)], BOUNDS)
    assert row.ratio == pytest.approx((math.exp(0.04) + 1) / 2)
    assert row.kl == pytest.approx((math.exp(sign * 0.04) - 1 - sign * 0.04) / 2)
    assert row.difference is None


@pytest.mark.parametrize("gap", [0.06, -0.06, 20.0, -math.inf, math.nan])
def test_a_gap_beyond_the_bounds_is_a_difference(gap: float) -> None:
    row = compare("t", "video file", [(prompt("a"), SAME, moved(gap))], BOUNDS)
    assert row.difference is not None
    assert "the same inputs, other log-probabilities over 3 tokens" in row.difference
    assert "prompt a, completion 0, token 0: engine -1.0000" in row.difference
    assert "other weights" in row.difference


def test_a_wide_gap_of_one_token_counts_by_its_kl() -> None:
    """One token of a hundred: its ratio is lost in the mean, its KL is not."""
    engine = replace(SAME, logprobs=((-1.0,) * 100,))
    learner = replace(SAME, logprobs=((-1.0,) * 99 + (-3.5,),))
    bounds = ParityRecipe(max_ratio=1.2, max_kl=0.015)
    row = compare("t", "video file", [(prompt("a"), engine, learner)], bounds)
    assert row.ratio < 1.2
    assert "token 99" in (row.difference or "")


class Sides:
    """A pool and a learner with given views; how the pool was to sample."""

    def __init__(self, engine: PromptView = SAME, learner: PromptView = SAME) -> None:
        self.engine, self.learner = engine, learner

    def view_prompts(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int
    ) -> list[tuple[PromptView, tuple[Completion, ...]]]:
        self.sampling = sampling
        drawn = tuple(Completion("", (1,) * len(t), t, 6, "stop", 3) for t in self.engine.logprobs)
        return [(self.engine, drawn)] * len(prompts)

    def view_groups(self, groups: Sequence[TrainGroup]) -> list[PromptView]:
        return [self.learner] * len(groups)


MIXED = (
    prompt("a"),
    prompt("b", "tracking", source_fps=10.0),
    prompt("c", "tracking"),
    prompt("d", "tracking", source_fps=10.0),
)


def test_every_task_and_kind_is_compared_separately() -> None:
    sides = Sides()
    question = Prompt("e", "multiple_choice", "Which?", None, ChoiceTarget("A"))
    image = replace(question, prompt_id="f", media=Image(Path("a.png"), 1, 1))
    report = compare_engine_and_learner((*MIXED, image, question), recipe(), sides, sides)
    assert [(row.task, row.kind, row.num_prompts) for row in report.rows] == [
        ("temporal_grounding", "video file", 1),
        ("tracking", "folder of frames", 2),
        ("tracking", "video file", 1),
        ("multiple_choice", "image", 1),
        ("multiple_choice", "text alone", 1),
    ]
    assert report.problems() == ()
    assert list(report.to_json()["tracking"]) == ["folder of frames", "video file"]
    assert [row[-1] for row in report.table().rows] == ["agree"] * 5


def test_completions_are_drawn_without_top_k_and_top_p() -> None:
    sides = Sides()
    training = recipe(sampling={"top_k": 50, "top_p": 0.9, "temperature": 0.7, "max_completion_length": 1024})
    compare_engine_and_learner(MIXED, training, sides, sides)
    assert sides.sampling == Sampling(4, 0.7, 1.0, 0, 64)
    assert sampling(recipe(sampling={"max_completion_length": 20})).max_completion_length == 20


def test_a_run_stops_or_warns() -> None:
    notes: list[str] = []
    report_or_raise(compare_engine_and_learner(MIXED, recipe(), Sides(), Sides()), recipe(), notes.append)
    assert "agree on 4 prompts of 3 kinds and 12 tokens" in notes.pop()
    sides = Sides(learner=replace(SAME, seconds_per_grid=(1.0,)))
    report = compare_engine_and_learner(MIXED, recipe(), sides, sides)
    with pytest.raises(ParityError) as stopped:
        report_or_raise(report, recipe(), notes.append)
    assert len(str(stopped.value).splitlines()) == 5
    assert "tracking, folder of frames: prompt b: seconds per grid" in str(stopped.value)
    assert notes == []
    report_or_raise(report, recipe(parity={"on_mismatch": "warn"}), notes.append)
    assert "prompt a: seconds per grid" in notes[0]


class SomeClips:
    def __init__(self, *bad: str) -> None:
        self.bad = bad

    def fingerprinted(self, video: Video) -> Video:
        return video

    def load(self, video: Video) -> None:
        if video.path.stem in self.bad:
            raise ClipError(f"{video.path}: damaged")


def test_prompts_are_picked_of_each_kind_and_damaged_clips_reported() -> None:
    prompts = [prompt(f"a{i}") for i in range(20)] + [prompt("b", "tracking", source_fps=10.0)]
    reported: list[str] = []
    picked = pick_prompts(prompts, SomeClips(), 3, 0, reported.append)
    assert [p.task for p in picked] == ["temporal_grounding"] * 3 + ["tracking"]
    assert picked == pick_prompts(prompts, SomeClips(), 3, 0, reported.append)
    assert reported == []
    assert picked != pick_prompts(prompts, SomeClips(), 3, 1, reported.append)
    gone = picked[1].prompt_id
    others = pick_prompts(prompts, SomeClips(gone), 3, 0, reported.append)
    assert gone not in {p.prompt_id for p in others}
    assert len(others) == 4
    assert reported == [f"row {gone} is not compared: {gone}.mp4: damaged"]


def test_nothing_compared_is_no_agreement() -> None:
    with pytest.raises(ParityError, match="no clip or image"):
        report_or_raise(ParityReport(()), recipe(), lambda text: None)
