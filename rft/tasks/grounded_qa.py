"""Which option is right, and when the video shows it: a question and its options in, a letter and time spans out."""

from collections.abc import Mapping, Sequence

from rewards import RewardFn
from rewards.types import GroundedChoiceTarget, Span
from rft.tasks.multiple_choice import MultipleChoiceRow
from rft.tasks.spans import best_constant_span, fractions_of_clip
from rft.tasks.types import Task, clip_problems, majority, option_lines, option_problems, recalls, write_number


class GroundedQARow(MultipleChoiceRow):
    """A multiple-choice row; its target also says when the video shows the answer."""


def _ask(row: GroundedQARow, _target: GroundedChoiceTarget) -> str:
    return (
        f"{row.question.strip()}\n{option_lines(row.options)}\n"
        "Give the letter of the right option, and when the video shows it: start and end in seconds of each such part."
    )


def _check(row: GroundedQARow, target: GroundedChoiceTarget) -> list[str]:
    ends = {f"spans[{i}]": end for i, (_, end) in enumerate(target.spans)}
    return clip_problems(row, ends) + option_problems(row.options, target.choice)


def _write(target: GroundedChoiceTarget) -> str:
    spans = ", ".join(f"({write_number(start)}, {write_number(end)})" for start, end in target.spans)
    return f"<answer>{target.choice}</answer><glue>[{spans}]</glue>"


def _judge(completion: str, target: GroundedChoiceTarget, rewards: Mapping[str, RewardFn]) -> dict[str, float]:
    right = rewards["choice_accuracy"](completion, target).value
    iou = rewards["union_iou"](completion, target).value
    return {"grounded_mIoU": right * iou, "accuracy": right, "mIoU": iou, **recalls(iou)}


def _baselines(
    train: Sequence[GroundedChoiceTarget], rows: Sequence[tuple[GroundedChoiceTarget, float | None]]
) -> dict[str, list[str]]:
    letter = majority([target.choice for target in train]) or "A"
    spans: dict[str, list[Span]] = fractions_of_clip([clip_s for _, clip_s in rows])
    constant = best_constant_span([target.spans for target in train])
    if constant:
        spans["best_constant"] = [constant] * len(rows)
    return {
        name: [_write(GroundedChoiceTarget(letter, (span,))) for span in answers] for name, answers in spans.items()
    }


GROUNDED_QA = Task(
    name="grounded_qa",
    row_type=GroundedQARow,
    target_type=GroundedChoiceTarget,
    example=GroundedQARow(
        id="example",
        task="grounded_qa",
        video="garden.mp4",
        duration_s=37.0,
        question="What does the boy do after he falls?",
        options=("He cries", "He gets up", "He runs away"),
        target={"choice": "B", "spans": [[1.5, 3.0], [20.0, 24.5]]},
    ),
    rewards=(("union_iou", 1.0), ("choice_accuracy", 1.0)),
    main_metric="grounded_mIoU",
    ask=_ask,
    form="<answer>letter</answer><glue>[(start, end), ...]</glue>",
    check=_check,
    write=_write,
    judge=_judge,
    baselines=_baselines,
)
