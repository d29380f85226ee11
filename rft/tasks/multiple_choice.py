"""Task multiple_choice: choose the right option; the answer is its letter."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from rewards.parsing import parse_words
from rewards.targets.choice import LETTERS, ChoiceTarget
from rft.tasks.types import Answers, HeldOut, Rewards, Row, Task, majority, option_lines, option_problems
from rft.types import View

SIDES = {"left": "right", "right": "left"}
"""Words that change places in a mirror."""


class MultipleChoiceRow(Row):
    question: str = Field(min_length=1)
    options: tuple[str, ...] = Field(min_length=2, max_length=len(LETTERS))
    """Texts of the options in the order A, B, ..."""

    @property
    def num_options(self) -> int:
        return len(self.options)


class MultipleChoice(Task):
    name = "multiple_choice"
    row_type = MultipleChoiceRow
    target_type: ClassVar[type[ChoiceTarget]] = ChoiceTarget
    example = MultipleChoiceRow(
        id="example",
        task="multiple_choice",
        video="garden.mp4",
        question="What does the boy do after he falls?",
        options=("He cries", "He gets up", "He runs away"),
        target={"choice": "B"},
    )
    rewards = (("choice_accuracy", 1.0),)
    main_metric = "accuracy"

    def question(self, row: MultipleChoiceRow, target: ChoiceTarget) -> str:
        return f"{row.question.strip()}\n{option_lines(row.options)}\nGive the letter of the right option."

    def row_problems(self, row: MultipleChoiceRow, target: ChoiceTarget) -> list[str]:
        return option_problems(row.options, target.choice)

    def metrics(self, completion: str, target: ChoiceTarget, rewards: Rewards) -> dict[str, float]:
        return {"accuracy": rewards["choice_accuracy"](completion, target).value}

    def target_in_view(self, target: ChoiceTarget, row: Mapping[str, Any], view: View) -> ChoiceTarget | None:
        """In the mirror the option with left and right exchanged; not known where the question names a side."""
        options = [parse_words(option) for option in row.get("options", ())]
        if view != "mirrored" or not options or SIDES.keys() & set(parse_words(row["question"])):
            return None
        right = tuple(SIDES.get(word, word) for word in options[LETTERS.index(target.choice)])
        return replace(target, choice=LETTERS[options.index(right)]) if right in options else None

    def claim(self, row: MultipleChoiceRow, target: ChoiceTarget) -> str:
        return f'is "{row.options[LETTERS.index(target.choice)]}" the right answer to "{row.question.strip()}"'

    def baselines(self, train: Sequence[ChoiceTarget], rows: HeldOut[ChoiceTarget]) -> Answers:
        letter = majority([target.choice for target in train or [target for target, _ in rows]])
        return {"majority": [ChoiceTarget(letter).written()] * len(rows)} if letter else {}
