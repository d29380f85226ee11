"""When does an event happen: one sentence in, one time span out."""

from collections.abc import Mapping, Sequence

from pydantic import Field

from rewards import RewardFn
from rewards.types import SpanTarget
from rft.tasks.spans import best_constant_span, fractions_of_clip
from rft.tasks.types import Row, Task, clip_problems, recalls, write_number


class TemporalGroundingRow(Row):
    query: str = Field(min_length=1)
    """The event in words."""


def _ask(row: TemporalGroundingRow, _target: SpanTarget) -> str:
    return (
        f"When does this happen in the video: {row.query.strip().rstrip('.')}? "
        "Give start and end in seconds, with one or two decimals."
    )


def _check(row: TemporalGroundingRow, target: SpanTarget) -> list[str]:
    return clip_problems(row, {"span": target.end_s})


def _write(target: SpanTarget) -> str:
    return f"<answer>{write_number(target.start_s)} to {write_number(target.end_s)}</answer>"


def _judge(completion: str, target: SpanTarget, rewards: Mapping[str, RewardFn]) -> dict[str, float]:
    iou = rewards["temporal_iou"](completion, target).value
    return {"mIoU": iou, **recalls(iou)}


def _baselines(train: Sequence[SpanTarget], rows: Sequence[tuple[SpanTarget, float | None]]) -> dict[str, list[str]]:
    spans = fractions_of_clip([clip_s for _, clip_s in rows])
    constant = best_constant_span([((target.start_s, target.end_s),) for target in train])
    if constant:
        spans["best_constant"] = [constant] * len(rows)
    return {name: [_write(SpanTarget(*span)) for span in answers] for name, answers in spans.items()}


TEMPORAL_GROUNDING = Task(
    name="temporal_grounding",
    row_type=TemporalGroundingRow,
    target_type=SpanTarget,
    example=TemporalGroundingRow(
        id="example",
        task="temporal_grounding",
        video="kitchen.mp4",
        duration_s=30.7,
        query="a person opens the fridge",
        target={"span": [12.5, 17.25]},
    ),
    rewards=(("temporal_iou", 1.0),),
    main_metric="mIoU",
    ask=_ask,
    form="<answer>start to end</answer>",
    check=_check,
    write=_write,
    judge=_judge,
    baselines=_baselines,
)
