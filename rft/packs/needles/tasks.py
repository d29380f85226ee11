"""Task needle: a question about images that were put into a long video, by length and depth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from rewards.parsing import answer_text
from rewards.targets.choice import ChoiceTarget, read_choice
from rewards.targets.values import read_numbers, shown
from rewards.types import Score
from rft.tasks.multiple_choice import MultipleChoiceRow
from rft.tasks.types import Answers, HeldOut, Rewards, Task, majority, option_lines, option_problems


@dataclass(frozen=True, slots=True)
class NeedleTarget(ChoiceTarget):
    """The right letter, the frames of the video, the needle's depth and hops: NeedleTarget("C", 1000, 0.5, 1)."""

    json_form = '{"choice": "C", "frames": 1000, "depth": 0.5, "hops": 1}'
    json_keys: ClassVar[tuple[tuple[str, ...], ...]] = (("choice", "frames", "depth", "hops"),)

    frames: int
    depth: float
    """Place of the first needle: 0 at the start of the video, 1 at its end."""
    hops: int
    """Number of images that lead to the answer."""

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        depth = (read_numbers("depth", [data["depth"]], 1, problems) or (0.0,))[0]
        if not 0 <= depth <= 1:
            problems.append(f"depth: {depth:g} is not from 0 (start) to 1 (end)")
        counts = {key: data[key] for key in ("frames", "hops")}
        wrong = [key for key, value in counts.items() if type(value) is not int or not 0 < value < 10**9]
        problems += [f"{key}: {shown(counts[key])} is no whole number above 0" for key in wrong]
        frames, hops = (1 if key in wrong else int(str(value)) for key, value in counts.items())
        return cls(read_choice(data["choice"], problems), frames, depth, hops)

    def to_json(self) -> dict[str, object]:
        return {"choice": self.choice, "frames": self.frames, "depth": self.depth, "hops": self.hops}

    def subsets(self) -> tuple[str, ...]:
        length = f"{self.frames:,} frames"
        if self.hops > 1:
            return (f"{self.hops} hops", f"several hops, {length}")
        return (length, f"depth {self.depth:.2f}", f"{length}, depth {self.depth:.2f}")


def released_answer(completion: str, target: NeedleTarget) -> Score:
    """1 if the answer without round brackets, lower-cased, is the letter; a blank makes it wrong (VideoChat-Flash)."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    right = answer.lower().replace("(", "").replace(")", "") == target.choice.lower()
    return Score(float(right), answer, "the letter alone" if right else "not the letter alone")


class Needle(Task):
    name = "needle"
    row_type = MultipleChoiceRow
    target_type = NeedleTarget
    example = MultipleChoiceRow(
        id="example",
        task="needle",
        video="film_with_needle",
        source_fps=1.0,
        question="Find the frame of a plate with salad. What is the colour of the plate?",
        options=("white", "purple", "green", "orange"),
        target={"choice": "A", "frames": 1000, "depth": 0.5, "hops": 1},
    )
    rewards = (("choice_accuracy", 1.0),)
    published_rewards: ClassVar[Rewards] = {"choice_accuracy": released_answer}
    main_metric = "accuracy"

    def question(self, row: MultipleChoiceRow, target: NeedleTarget) -> str:
        return f"{row.question.strip()}\n{option_lines(row.options)}\nGive the letter of the right option."

    def row_problems(self, row: MultipleChoiceRow, target: NeedleTarget) -> list[str]:
        return option_problems(row.options, target.choice)

    def metrics(self, completion: str, target: NeedleTarget, rewards: Rewards) -> dict[str, float]:
        return {
            "accuracy": rewards["choice_accuracy"](completion, target).value,
        }

    def corpus_metrics(self, judged: Sequence[tuple[NeedleTarget, Mapping[str, float]]]) -> dict[str, float]:
        """Mean over the cells of length and depth, as VideoChat-Flash's heat map counts."""
        cells: dict[tuple[int, float], list[float]] = {}
        for target, values in judged:
            cells.setdefault((target.frames, target.depth), []).append(values["accuracy"])
        return {"mean_over_cells": sum(sum(cell) / len(cell) for cell in cells.values()) / len(cells)}

    def baselines(self, train: Sequence[NeedleTarget], rows: HeldOut[NeedleTarget]) -> Answers:
        letter = majority([target.choice for target in train or [target for target, _ in rows]])
        return {"majority": [f"<answer>{letter}</answer>"] * len(rows)} if letter else {}
