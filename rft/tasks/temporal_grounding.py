"""Task temporal_grounding: find an event given as a sentence; the answer is its time span."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field

from rewards.targets.span import SpanTarget
from rft.tasks.spans import span_baselines
from rft.tasks.types import Answers, HeldOut, Rewards, Row, Task
from rft.types import View


class TemporalGroundingRow(Row):
    query: str = Field(min_length=1)
    """The event in words."""


class TemporalGrounding(Task):
    name = "temporal_grounding"
    row_type = TemporalGroundingRow
    target_type = SpanTarget
    example = TemporalGroundingRow(
        id="example",
        task="temporal_grounding",
        video="kitchen.mp4",
        duration_s=30.7,
        query="a person opens the fridge",
        target={"span": [12.5, 17.25]},
    )
    rewards = (("temporal_iou", 1.0),)
    main_metric = "mIoU"

    def question(self, row: TemporalGroundingRow, target: SpanTarget) -> str:
        return (
            f"When does this happen in the video: {row.query.strip().rstrip('.')}? "
            "Give start and end in seconds, with one or two decimals."
        )

    def metrics(self, completion: str, target: SpanTarget, rewards: Rewards) -> dict[str, float]:
        iou = rewards["temporal_iou"](completion, target).value
        return {"mIoU": iou, **{f"R@{threshold}": float(iou >= threshold) for threshold in (0.3, 0.5, 0.7)}}

    def target_in_view(self, target: SpanTarget, row: Mapping[str, Any], view: View) -> SpanTarget | None:
        if view == "mirrored":
            return target
        if target.duration_s is None:
            return None
        start_s, end_s = (max(0.0, target.duration_s - time_s) for time_s in (target.end_s, target.start_s))
        return replace(target, start_s=start_s, end_s=end_s)

    def claim(self, row: TemporalGroundingRow, target: SpanTarget) -> str:
        span = f"{target.start_s:.2f} to {target.end_s:.2f} seconds"
        return f'does this happen from {span}: "{row.query.strip()}"'

    def baselines(self, train: Sequence[SpanTarget], rows: HeldOut[SpanTarget]) -> Answers:
        targets = [((target.start_s, target.end_s),) for target in train]
        spans = span_baselines(targets, [clip_s for _, clip_s in rows])
        return {name: [SpanTarget(*span).written() for span in answers] for name, answers in spans.items()}
