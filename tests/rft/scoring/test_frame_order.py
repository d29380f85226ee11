"""The bonus for answers that need the frames in order."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rewards.targets.choice import ChoiceTarget
from rewards.targets.span import SpanTarget
from rewards.types import Target
from rft.recipe import Recipe
from rft.scoring.frame_order import SCORE_NAME, with_order_bonus
from rft.scoring.group import score_by_recipe
from rft.types import Completion, FinishReason, Group, Prompt, Sampling, Video, VideoSampling

VIDEO = Video(Path("v.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840))


def recipe(**order_bonus: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "model": "m",
            "tasks": {
                "multiple_choice": {"rewards": {"choice_accuracy": 1.0}},
                "temporal_grounding": {"rewards": {"temporal_iou": 1.0}},
            },
            "data": {"train": ["rows.jsonl"]},
            "steps": 1,
            "sampling": {"num_generations": 4},
            "scoring": {"order_bonus": {"reward": "choice_accuracy", **order_bonus}},
        }
    )


def prompt(prompt_id: str, task: str = "multiple_choice", target: Target | None = None) -> Prompt:
    return Prompt(prompt_id, task, "which?", VIDEO, target or ChoiceTarget("A"))


def drawn(letters: str, reason: FinishReason = "stop") -> tuple[Completion, ...]:
    return tuple(Completion(f"<answer>{letter}</answer>", (1,), (0.0,), 5, reason, 0) for letter in letters)


class Engine:
    """Answers shuffled clips with the letters given for a prompt; "" where it fails."""

    def __init__(self, **letters: str) -> None:
        self.letters = letters
        self.requests: list[tuple[str, int | None, int]] = []

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int, *, may_stop: bool = True
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        for index in reversed(range(len(prompts))):
            video = prompts[index].media
            self.requests.append((prompts[index].prompt_id, video.shuffle_seed, sampling.num_generations))
            letters = self.letters[prompts[index].prompt_id]
            yield index, drawn(letters) if letters else drawn("A", "error")


def compared(engine: Engine, groups: list[Group], **order_bonus: Any) -> list[Group]:
    return with_order_bonus(groups, recipe(**order_bonus), engine, 17, lambda phase, done, total: None)


def rewards_of(group: Group) -> list[float]:
    return [rollout.reward for rollout in group.rollouts]


@pytest.mark.parametrize(
    ("shuffled", "rewards", "score"),
    [
        ("AB", [1.3, 0.0, 1.3, 0.0], 0.5),  # as good shuffled as in order
        ("BB", [1.3, 0.0, 1.3, 0.0], 0.0),
        ("AA", [1.0, 0.0, 1.0, 0.0], 1.0),
        ("", [1.0, 0.0, 1.0, 0.0], None),  # nothing to compare with
    ],
)
def test_right_answers_earn_more_unless_shuffled_frames_do_better(
    shuffled: str, rewards: list[float], score: float | None
) -> None:
    engine = Engine(p=shuffled)
    (group,) = compared(engine, [score_by_recipe(prompt("p"), drawn("ABAC"), recipe())])
    assert rewards_of(group) == pytest.approx(rewards)
    assert group.shuffled_score == score
    assert engine.requests == [("p", 17, 2)]
    if score is not None:
        score_of_order = group.rollouts[0].scores[SCORE_NAME]
        assert score_of_order.value == float(rewards[0] > 1)
        assert score_of_order.note == f"choice_accuracy: 0.500 in order, {score:.3f} on shuffled frames"


def test_only_tasks_with_the_reward_are_sampled_twice() -> None:
    other = score_by_recipe(prompt("g", "temporal_grounding", SpanTarget(1.0, 2.0)), drawn("ABCD"), recipe())
    engine = Engine(p="B", q="C")
    groups = [score_by_recipe(prompt(name), drawn("AB"), recipe()) for name in "pq"]
    groups_with_bonus = compared(engine, [groups[0], other, groups[1]], num_generations=1, bonus=0.5)
    assert [group.prompt.prompt_id for group in groups_with_bonus] == ["p", "g", "q"]
    assert groups_with_bonus[1] is other
    assert [rewards_of(groups_with_bonus[i]) for i in (0, 2)] == [[1.5, 0.0], [1.5, 0.0]]
    assert engine.requests == [("q", 17, 1), ("p", 17, 1)]


def test_a_cut_answer_earns_no_bonus() -> None:
    group = score_by_recipe(prompt("p"), (*drawn("A", "length"), *drawn("A")), recipe())
    assert rewards_of(compared(Engine(p="B"), [group])[0]) == [1.0, 1.3]


def test_answers_are_right_from_least_on() -> None:
    order_bonus = {"reward": "temporal_iou", "least": 0.5}
    texts = ("<answer>0 to 4</answer>", "<answer>0 to 2</answer>", "<answer>0 to 1</answer>")
    completions = [Completion(text, (1,), (0.0,), 5, "stop", 0) for text in texts]
    group = score_by_recipe(prompt("g", "temporal_grounding", SpanTarget(0.0, 4.0)), completions, recipe(**order_bonus))
    (with_bonus,) = compared(Engine(g="Z"), [group], **order_bonus)
    assert rewards_of(with_bonus) == pytest.approx([1.3, 0.8, 0.25])
