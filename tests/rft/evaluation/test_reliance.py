"""The held-out rows seen otherwise: what changes, what is left out, and how much answers rely on it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from rewards.targets.choice import ChoiceTarget
from rewards.targets.span import SpanTarget
from rft.data.frames import Frames
from rft.evaluation.baselines import Baselines
from rft.evaluation.comparison import Comparison
from rft.evaluation.evaluate import evaluate
from rft.evaluation.views import in_view, measured, reliance, reliance_table, split_view
from rft.types import Completion, Image, Media, Prompt, Sampling, Several, Video, VideoSampling

FRAMES = VideoSampling(2.0, 4, 8, 784, 784, 7840)
SAMPLING = Sampling(1, 1.0, 1.0, 0, 32)


def clip(name: str) -> Video:
    return Video(Path(name), FRAMES)


def choice(name: str, letter: str, options: Sequence[str], question: str = "Which way?") -> Prompt:
    row = {"options": options, "question": question, "video": f"{name}.mp4"}
    return Prompt(name, "multiple_choice", question, clip(f"{name}.mp4"), ChoiceTarget(letter), None, row)


def grounding(name: str, start_s: float, end_s: float, duration_s: float | None = 10.0) -> Prompt:
    target = SpanTarget(start_s, end_s, duration_s=duration_s)
    return Prompt(name, "temporal_grounding", "When?", clip(f"{name}.mp4"), target, "charades_sta/test")


def test_a_view_changes_the_clip_and_the_names_alone() -> None:
    prompt = grounding("g1", 1, 4)
    for view in ("blank", "reversed", "mirrored"):
        (shown,) = in_view([prompt], view, seed=0)
        assert (shown.prompt_id, shown.dataset) == (f"g1 ({view})", f"charades_sta/test ({view})")
        assert shown.media == Video(Path("g1.mp4"), FRAMES, view=view)
        assert shown.text == prompt.text
    (shuffled,) = in_view([prompt], "shuffled", seed=7)
    assert shuffled.media == Video(Path("g1.mp4"), FRAMES, shuffle_seed=7)


def test_answers_change_with_the_view_or_the_row_is_left_out() -> None:
    (backwards,) = in_view([grounding("g1", 1, 4)], "reversed", 0)
    assert (backwards.target.start_s, backwards.target.end_s) == (6, 9)
    assert in_view([grounding("g1", 1, 4, None)], "reversed", 0) == []
    (mirrored,) = in_view([grounding("g1", 1, 4)], "mirrored", 0)
    assert in_view([mirrored], "reversed", 0) == []
    assert [shown.media.view for shown in in_view([mirrored], "blank", 0)] == ["blank"]
    sides = ["left", "right", "up"]
    prompts = [choice("a", "A", sides), choice("b", "C", sides), choice("c", "A", sides, "What does the left man do?"),
               choice("d", "A", ["left", "up"])]  # fmt: skip
    answers = {shown.prompt_id: shown.target.choice for shown in in_view(prompts, "mirrored", 0)}
    assert answers == {"a (mirrored)": "B", "b (mirrored)": "C"}
    assert in_view(prompts, "reversed", 0) == []


def test_swapped_rows_get_the_clip_of_another_file_of_their_task() -> None:
    prompts = [choice(name, "A", ["x", "y"]) for name in "abcd"] + [grounding("g1", 1, 4)]
    shown = in_view(prompts, "swapped", seed=3)
    assert sorted(one.prompt_id for one in shown) == [f"{name} (swapped)" for name in "abcd"]
    assert {str(one.media.path) for one in shown} == {f"{name}.mp4" for name in "abcd"}
    assert all(not str(one.media.path).startswith(one.prompt_id[0]) for one in shown)


def test_all_clips_of_a_row_are_in_the_view() -> None:
    def showing(name: str, media: Media) -> Prompt:
        return replace(choice(name, "A", ["left", "right"]), media=media)

    def clips(*names: str) -> Several:
        return Several(tuple(clip(f"{name}.mp4") for name in names))

    pairs = [showing("ab", clips("a", "b")), showing("bc", clips("b", "c")), showing("cd", clips("c", "d"))]
    for view in ("blank", "mirrored"):
        shown = in_view(pairs, view, 0)
        assert [one.media for one in shown] == [
            Several(tuple(replace(part, view=view) for part in prompt.media.parts)) for prompt in pairs
        ]
    (shuffled,) = in_view(pairs[:1], "shuffled", 7)
    assert [part.shuffle_seed for part in shuffled.media.parts] == [7, 7]
    # Only ab and cd share no file; a row of one clip is no other for a row of two, nor the reverse.
    swapped = in_view([*pairs, showing("e", clip("e.mp4"))], "swapped", 0)
    assert {one.prompt_id: one.media for one in swapped} == {
        "ab (swapped)": pairs[2].media,
        "cd (swapped)": pairs[0].media,
    }
    beside_an_image = showing("f", Several((clip("f.mp4"), Image(Path("f.png"), 784, 784))))
    for view in ("blank", "shuffled", "swapped"):
        assert in_view([beside_an_image, showing("g", Image(Path("g.png"), 784, 784))], view, 0) == []


def test_pixels_of_a_view() -> None:
    pixels = np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3)
    frames = Frames(pixels, (0.0, 0.5), (0, 1), 2.0, 2, 1.0, "k")
    assert (frames.seen("blank").pixels == 128).all()
    assert (frames.seen("reversed").pixels == pixels[::-1]).all()
    assert (frames.seen("mirrored").pixels[:, :, 0] == pixels[:, :, 2]).all()
    assert frames.seen("mirrored").timestamps_s == (0.0, 0.5)
    assert len({frames.seen(view).key for view in ("blank", "reversed", "mirrored")} | {"k"}) == 4


@dataclass
class Sampler:
    """Answers A about blank clips, and rightly about others but those of the last row."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        for index, prompt in enumerate(prompts):
            is_blank = prompt.media.view == "blank"
            letter = "A" if is_blank or prompt.prompt_id.startswith("d") else prompt.target.choice
            yield index, (Completion(f"<answer>{letter}</answer>", (1,), (-0.1,), 10, "stop", 0),)


def test_reliance_is_paired_by_row() -> None:
    prompts = [choice(name, letter, ["x", "y"]) for name, letter in zip("abcd", "ABBB", strict=True)]
    result = evaluate(Sampler(), [*prompts, *in_view(prompts, "blank", 0)], SAMPLING, 0, seed=0)
    assert list(result.sets) == ["multiple_choice", "multiple_choice (blank)"]
    (found,) = reliance(result, "multiple_choice", "greedy").values()
    # Rows b and c are right only with the picture.
    assert found.value == pytest.approx(0.5)
    assert found.low <= 0.25 <= found.high <= 1.0
    assert measured(result)["eval/multiple_choice/reliance/blank"] == pytest.approx(0.5)
    table = reliance_table(result)
    assert table is not None
    assert table.rows[0][:3] == ("multiple_choice", "accuracy", "blank")
    # What was learned is told of the rows as filmed alone.
    overview = Comparison(result, result, Baselines({}, {})).overview()
    assert [row[0] for row in overview.rows] == ["multiple_choice"]
    assert reliance_table(evaluate(Sampler(), prompts, SAMPLING, 0, seed=0)) is None


def test_names_of_rows_in_a_view() -> None:
    assert split_view("q7 (blank)") == ("q7", "blank")
    assert split_view("q7") == ("q7", None)
    assert split_view("why (so)") == ("why (so)", None)
