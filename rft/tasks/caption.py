"""Task caption: describe the clip; the metric is the share of the target's events that the caption states."""

from pydantic import Field

from rewards.caption import sentences
from rewards.targets.caption import CaptionTarget
from rft.tasks.types import Rewards, Row, Task

QUERY = "Describe what happens in the video, event by event, in the order of time."
"""Question for rows without a `query`."""


class CaptionRow(Row):
    query: str | None = Field(None, min_length=1)
    """The instruction; default: QUERY of rft/tasks/caption.py."""


class Caption(Task):
    name = "caption"
    row_type = CaptionRow
    target_type = CaptionTarget
    example = CaptionRow(
        id="example",
        task="caption",
        video="garden.mp4",
        target={"events": ["A boy runs across the grass", "He falls", "A woman helps him up"]},
    )
    rewards = (("event_recall", 1.0),)
    main_metric = "event_recall"

    def question(self, row: CaptionRow, target: CaptionTarget) -> str:
        return (row.query or QUERY).strip()

    def row_problems(self, row: CaptionRow, target: CaptionTarget) -> list[str]:
        texts = {f"events[{i}]": event for i, event in enumerate(target.events)} or {"text": target.text}
        return [f"{name}: {text!r} holds no words" for name, text in texts.items() if not sentences(text)]

    def metrics(self, completion: str, target: CaptionTarget, rewards: Rewards) -> dict[str, float]:
        return {"event_recall": rewards["event_recall"](completion, target).value}
