"""Tasks about events that ask with options: the letter alone, or with the span that shows it."""

from collections.abc import Sequence
from typing import ClassVar

from rft.packs.events import published
from rft.packs.events.matching import recalls
from rft.packs.events.rewards import option_iou, option_letter
from rft.packs.events.targets import LetterAndSpanTarget
from rft.tasks.multiple_choice import MultipleChoice, MultipleChoiceRow
from rft.tasks.spans import span_baselines
from rft.tasks.types import Answers, HeldOut, Rewards, Task, majority, option_lines, option_problems


class EventChoice(MultipleChoice):
    """A multiple choice whose strict reading is that of E.T. Bench."""

    name = "event_choice"
    example = MultipleChoiceRow(
        id="example",
        task="event_choice",
        video="match.mp4",
        question="What does the player do after the throw?",
        options=("He falls", "He waves", "He runs"),
        target={"choice": "B"},
    )
    published_rewards: ClassVar[Rewards] = {"choice_accuracy": published.choice_accuracy}


class EventQuestion(Task):
    name = "event_question"
    row_type = MultipleChoiceRow
    target_type = LetterAndSpanTarget
    example = MultipleChoiceRow(
        id="example",
        task="event_question",
        video="match.mp4",
        duration_s=30.0,
        question="Where does the ball land?",
        options=("In the goal", "In the crowd"),
        target={"choice": "B", "any_of": [[20.0, 24.5]]},
    )
    rewards = (("option_letter", 0.5), ("option_iou", 0.5))
    own_rewards: ClassVar[Rewards] = {"option_letter": option_letter, "option_iou": option_iou}
    published_rewards: ClassVar[Rewards] = {
        "option_letter": published.option_letter,
        "option_iou": published.option_iou,
    }
    main_metric = "grounded_mIoU"

    def question(self, row: MultipleChoiceRow, target: LetterAndSpanTarget) -> str:
        return (
            f"{row.question.strip()}\n{option_lines(row.options)}\nGive the letter of the right option, and start and "
            "end in seconds of the part of the video that shows it."
        )

    def row_problems(self, row: MultipleChoiceRow, target: LetterAndSpanTarget) -> list[str]:
        return option_problems(row.options, target.choice)

    def metrics(self, completion: str, target: LetterAndSpanTarget, rewards: Rewards) -> dict[str, float]:
        iou = rewards["option_iou"](completion, target).value
        return {"grounded_mIoU": iou, "accuracy": rewards["option_letter"](completion, target).value, **recalls(iou)}

    def baselines(self, train: Sequence[LetterAndSpanTarget], rows: HeldOut[LetterAndSpanTarget]) -> Answers:
        letter = majority([target.choice for target in train or [target for target, _ in rows]]) or "A"
        spans = span_baselines([target.spans for target in train], [clip_s for _, clip_s in rows])
        return {name: [LetterAndSpanTarget(letter, (span,)).written() for span in spans[name]] for name in spans}
