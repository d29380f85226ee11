"""Task caption: describe the clip; the metrics are recall, precision and F1 of the events that the caption states."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from rewards.caption import harmonic_mean, published_event_precision
from rewards.statements import sentences
from rewards.targets.caption import CaptionTarget, as_sentences
from rewards.types import Target
from rft.tasks.types import Answers, HeldOut, Rewards, Row, Task

QUERY = "Describe what happens in the video, event by event, in the order of time."
"""Question for rows without a `query`."""


FREQUENT = 0.01
"""Share of the training targets in which an event occurs that the baseline "frequent_events" states."""


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
    published_rewards: ClassVar[Rewards] = {"event_precision": published_event_precision}
    main_metric = "event_recall"

    def question(self, row: CaptionRow, target: CaptionTarget) -> str:
        return (row.query or QUERY).strip()

    def row_problems(self, row: CaptionRow, target: CaptionTarget) -> list[str]:
        texts = {f"events[{i}]": event for i, event in enumerate(target.events)} or {"text": target.text}
        return [f"{name}: {text!r} holds no words" for name, text in texts.items() if not sentences(text)]

    def metrics(self, completion: str, target: CaptionTarget, rewards: Rewards) -> dict[str, float]:
        names = ("event_recall", "event_precision", "event_f1")
        return {name: rewards[name](completion, target).value for name in names}

    def corpus_metrics(self, judged: Sequence[tuple[CaptionTarget, Mapping[str, float]]]) -> dict[str, float]:
        return f1_of_means(judged, "event")

    def baselines(self, train: Sequence[CaptionTarget], rows: HeldOut[CaptionTarget]) -> Answers:
        return caption_baselines(train, rows)


def f1_of_means(judged: Sequence[tuple[Target, Mapping[str, float]]], kind: str) -> dict[str, float]:
    """AutoDQ's F1 of a corpus: that of mean recall and mean precision, not the mean of F1; in [0, 1]."""
    recall, precision = (sum(values[f"{kind}_{of}"] for _, values in judged) for of in ("recall", "precision"))
    return {f"{kind}_f1_of_means": harmonic_mean(recall / len(judged), precision / len(judged))} if judged else {}


def caption_baselines(train: Sequence[Target], rows: HeldOut[Target]) -> Answers:
    """Captions that are the same for every clip, made of the training targets, or of the rows' own without any.

    "majority" is the most frequent caption; "frequent_events" states every event that occurs in FREQUENT of the
    targets or more, the most frequent first: high recall at low precision.
    """
    targets = train or [target for target, _ in rows]
    captions = Counter(target.written() for target in targets)
    events = Counter(event for target in targets for event in set(getattr(target, "events", ())))
    frequent = [event for event, count in _by_count(events) if count > 1 and count >= FREQUENT * len(targets)]
    constants = {"majority": _by_count(captions)[0][0]} if captions else {}
    if frequent:
        constants["frequent_events"] = f"<answer>{as_sentences(frequent)}</answer>"
    return {name: [caption] * len(rows) for name, caption in constants.items()}


def _by_count(counts: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent first, of equals the first in the alphabet."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
