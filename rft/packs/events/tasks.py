"""Tasks about events: all spans, one span, one moment, captions with times, order, what stands out; questions."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import ClassVar

from pydantic import Field

from rewards.caption import harmonic_mean
from rewards.parsing import answer_text, parse_timed_texts, parse_words
from rewards.types import Span
from rft.packs.events import published
from rft.packs.events.coco_scores import coco_scores
from rft.packs.events.matching import DENSE_THRESHOLDS, THRESHOLDS, average_precision, pair_f1, recalls, word_f1
from rft.packs.events.questions import EventChoice as EventChoice
from rft.packs.events.questions import EventQuestion as EventQuestion
from rft.packs.events.reading import MOST_EVENTS, answered_order, answered_saliency, answered_spans
from rft.packs.events.rewards import (
    any_to_any_f1,
    best_iou,
    caption_chrf,
    event_captions,
    event_chrf,
    event_judged,
    event_times,
    moment_nearness,
    order_agreement,
    paired_giou,
    saliency_ap,
    seconds_overlap_f1,
    span_precision,
    span_recall,
    span_set_f1,
)
from rft.packs.events.targets import (
    AnyOfTarget,
    MomentTarget,
    OrderTarget,
    SaliencyTarget,
    SpansTarget,
    TimedCaptionsTarget,
    write_span,
)
from rft.tasks.spans import span_baselines
from rft.tasks.temporal_grounding import TemporalGroundingRow
from rft.tasks.types import Answers, HeldOut, MoreMetrics, Rewards, Row, Task, majority

SALIENCY_LEVELS = {"Fair": 2, "Good": 3, "VeryGood": 4}
"""Name -> least score of a highlight. Source: QVHighlights."""

ALL_THRESHOLDS = tuple(sorted({*THRESHOLDS, *DENSE_THRESHOLDS}))
"""IoU thresholds of events with captions: those of dense captioning and of E.T. Bench."""
SHARES = tuple(f"{of}@{t}" for of in "PR" for t in ALL_THRESHOLDS)
"""Metrics of events with captions: precision and recall at each threshold."""
_shares = itemgetter(*SHARES)

SPLITS = (1, 2, 3, 5, 8, 10)
"""Numbers of equal parts of the clip that the blind baselines answer."""


class EventSpans(Task):
    name = "event_spans"
    row_type = TemporalGroundingRow
    target_type = SpansTarget
    example = TemporalGroundingRow(
        id="example",
        task="event_spans",
        video="match.mp4",
        duration_s=30.0,
        query="a player throws the ball",
        target={"spans": [[1.5, 3.0], [20.0, 24.5]]},
    )
    rewards = (("span_set_f1", 1.0),)
    own_rewards: ClassVar[Rewards] = {
        "span_set_f1": span_set_f1,
        "any_to_any_f1": any_to_any_f1,
        "seconds_overlap_f1": seconds_overlap_f1,
        "paired_giou": paired_giou,
    }
    published_rewards: ClassVar[Rewards] = {
        "span_set_f1": published.span_set_f1,
        "any_to_any_f1": published.span_set_f1,
        "seconds_overlap_f1": published.seconds_overlap_f1,
    }
    main_metric = "span_f1"

    def question(self, row: TemporalGroundingRow, target: SpansTarget) -> str:
        return (
            f"When does this happen in the video: {row.query.strip().rstrip('.')}? It may happen several times. "
            "Give start and end of each time in seconds."
        )

    def metrics(self, completion: str, target: SpansTarget, rewards: Rewards) -> dict[str, float]:
        spans = answered_spans(answer_text(completion) or "") or ()
        return {
            "span_f1": rewards["span_set_f1"](completion, target).value,
            "seconds_f1": rewards["seconds_overlap_f1"](completion, target).value,
            "any_to_any_F1": rewards["any_to_any_f1"](completion, target).value,
            "right_count": float(len(spans) == len(target.spans)),
        }

    def baselines(self, train: Sequence[SpansTarget], rows: HeldOut[SpansTarget]) -> Answers:
        clips_s = [clip_s for _, clip_s in rows]
        spans = span_baselines([target.spans for target in train], clips_s)
        answers = {name: [_answer([span]) for span in of_name] for name, of_name in spans.items()}
        return answers | {f"{n} equal parts": _split_answers(clips_s, n, every_other=True) for n in (2, 3) if clips_s}


class EventMatching(Task):
    name = "event_matching"
    row_type = TemporalGroundingRow
    target_type = AnyOfTarget
    example = TemporalGroundingRow(
        id="example",
        task="event_matching",
        video="match.mp4",
        duration_s=30.0,
        query="an event like that from 1.5 to 3.0 seconds, at another time",
        target={"any_of": [[20.0, 24.5]]},
    )
    rewards = (("best_iou", 1.0),)
    own_rewards: ClassVar[Rewards] = {"best_iou": best_iou}
    published_rewards: ClassVar[Rewards] = {"best_iou": published.best_iou}
    main_metric = "mIoU"

    def question(self, row: TemporalGroundingRow, target: AnyOfTarget) -> str:
        return (
            f"Find one part of the video that shows this: {row.query.strip().rstrip('.')}. "
            "Give its start and end in seconds."
        )

    def metrics(self, completion: str, target: AnyOfTarget, rewards: Rewards) -> dict[str, float]:
        iou = rewards["best_iou"](completion, target).value
        return {"mIoU": iou, **recalls(iou)}

    def baselines(self, train: Sequence[AnyOfTarget], rows: HeldOut[AnyOfTarget]) -> Answers:
        spans = span_baselines([target.spans for target in train], [clip_s for _, clip_s in rows])
        return {name: [_answer([span]) for span in of_name] for name, of_name in spans.items()}


class EventMoment(Task):
    name = "event_moment"
    row_type = TemporalGroundingRow
    target_type = MomentTarget
    example = TemporalGroundingRow(
        id="example",
        task="event_moment",
        video="match.mp4",
        duration_s=30.0,
        query="the most exciting moment of the match",
        target={"moments": [[20.0, 24.5]]},
    )
    rewards = (("moment_nearness", 1.0),)
    own_rewards: ClassVar[Rewards] = {"moment_nearness": moment_nearness}
    published_rewards: ClassVar[Rewards] = {"moment_nearness": published.moment_nearness}
    main_metric = "hit"

    def question(self, row: TemporalGroundingRow, target: MomentTarget) -> str:
        return f"Give one time in seconds at which the video shows this: {row.query.strip().rstrip('.')}."

    def metrics(self, completion: str, target: MomentTarget, rewards: Rewards) -> dict[str, float]:
        nearness = rewards["moment_nearness"](completion, target).value
        return {"hit": float(nearness == 1.0), "nearness": nearness}

    def baselines(self, train: Sequence[MomentTarget], rows: HeldOut[MomentTarget]) -> Answers:
        clips_s = [clip_s for _, clip_s in rows if clip_s is not None]
        if len(clips_s) < len(rows):
            return {}
        parts = {"quarter": 0.25, "middle": 0.5, "three_quarters": 0.75}
        return {name: [f"<answer>{round(s * part, 2)}</answer>" for s in clips_s] for name, part in parts.items()}


class DenseRow(Row):
    query: str | None = Field(None, min_length=1)
    """The instruction; default: what happens, in the order of time."""


class TimedCaptions(Task):
    name = "timed_captions"
    row_type = DenseRow
    target_type = TimedCaptionsTarget
    example = DenseRow(
        id="example",
        task="timed_captions",
        video="kitchen.mp4",
        duration_s=30.0,
        target={
            "captions": [
                {"span": [0.0, 13.0], "text": "a man cuts onions"},
                {"span": [13.0, 29.5], "text": "he fries them in a pan"},
            ]
        },
    )
    rewards = (("event_times", 1.0), ("event_captions", 1.0))
    own_rewards: ClassVar[Rewards] = {
        "event_times": event_times,
        "event_captions": event_captions,
        "span_precision": span_precision,
        "span_recall": span_recall,
        "event_judged": event_judged,
        "event_chrf": event_chrf,
        "caption_chrf": caption_chrf,
    }
    published_rewards: ClassVar[Rewards] = {
        "event_times": published.event_times,
        "event_captions": published.event_captions,
        "span_precision": published.span_precision,
        "span_recall": published.span_recall,
    }
    more_metrics: ClassVar[MoreMetrics] = {"coco_scores": coco_scores}
    main_metric = "SODA_words"

    def question(self, row: DenseRow, target: TimedCaptionsTarget) -> str:
        asked = (row.query or "Describe what happens in the video, event by event, in the order of time").strip()
        return f"{asked.rstrip('.')}. Give start and end in seconds of each event, and what happens."

    def metrics(self, completion: str, target: TimedCaptionsTarget, rewards: Rewards) -> dict[str, float]:
        words = " ".join(text for _, text in parse_timed_texts(answer_text(completion) or "") or ())
        precision = {t: rewards["span_precision"](completion, target, iou=t).value for t in ALL_THRESHOLDS}
        recall = {t: rewards["span_recall"](completion, target, iou=t).value for t in ALL_THRESHOLDS}
        means = (sum(of[t] for t in DENSE_THRESHOLDS) / len(DENSE_THRESHOLDS) for of in (precision, recall))
        return {
            "SODA_words": rewards["event_captions"](completion, target).value,
            "SODA_d": rewards["event_times"](completion, target).value,
            "F1_of_video": harmonic_mean(*means),
            **{f"P@{t}": value for t, value in precision.items()},
            **{f"R@{t}": value for t, value in recall.items()},
            "word_F1": word_f1(words, " ".join(text for _, text in target.events)),
        }

    def corpus_metrics(self, judged: Sequence[tuple[TimedCaptionsTarget, Mapping[str, float]]]) -> dict[str, float]:
        """F1 of mean precision and mean recall, mean over thresholds: those of VidChapters, and of E.T. Bench."""
        columns = zip(*(_shares(values) for _, values in judged), strict=True)
        means = dict(zip(SHARES, (sum(column) / len(judged) for column in columns), strict=True))
        f1 = {t: harmonic_mean(means[f"P@{t}"], means[f"R@{t}"]) for t in ALL_THRESHOLDS}
        named = {"F1": DENSE_THRESHOLDS, "F1@0.1:0.7": THRESHOLDS}
        return {name: sum(f1[t] for t in thresholds) / len(thresholds) for name, thresholds in named.items()}

    def baselines(self, train: Sequence[TimedCaptionsTarget], rows: HeldOut[TimedCaptionsTarget]) -> Answers:
        words = Counter(text for target in train for _, text in target.events).most_common(1)
        text = f", {words[0][0].rstrip('.')}." if words else ""
        clips_s = [clip_s for _, clip_s in rows]
        return {f"{n} equal parts": _split_answers(clips_s, n, text) for n in SPLITS if None not in clips_s}


class OrderRow(Row):
    question: str = Field("In which order does this happen in the video?", min_length=1)
    names: tuple[str, ...] = ()
    """Names to put in order, listed in the question; default: the answer names what it finds."""
    captions: tuple[str, ...] = ()
    """What each name stands for, such as "cut the onion" for "A"; default: the names say it."""


class EventOrder(Task):
    name = "event_order"
    row_type = OrderRow
    target_type = OrderTarget
    example = OrderRow(
        id="example",
        task="event_order",
        video="kitchen.mp4",
        names=("A", "B", "C"),
        captions=("he fries the onion", "he adds salt", "a man cuts an onion"),
        target={"order": ["C", "A", "B"]},
    )
    rewards = (("order_agreement", 1.0),)
    own_rewards: ClassVar[Rewards] = {"order_agreement": order_agreement}
    published_rewards: ClassVar[Rewards] = {"order_agreement": published.order_agreement}
    main_metric = "exact"

    def question(self, row: OrderRow, target: OrderTarget) -> str:
        asked = row.question.strip()
        if not row.names:
            return f"{asked}\nGive the names in the order in which they happen."
        named = zip(row.names, row.captions, strict=False)
        listed = "\n".join(f"{name}: {caption.strip()}" for name, caption in named) or ", ".join(row.names)
        return f"{asked}\n{listed}\nGive all {len(row.names)} in the order in which they happen."

    def row_problems(self, row: OrderRow, target: OrderTarget) -> list[str]:
        problems = []
        if row.names and sorted(row.names) != sorted(target.order):
            problems.append("order: holds other names than `names`; write the same ones in the order of the video")
        if row.captions and len(row.captions) != len(row.names):
            problems.append(f"captions: {len(row.captions)} for {len(row.names)} names; write one for each")
        words = {parse_words(caption) for caption in row.captions}
        if len(words) < len(row.captions):
            problems.append("captions: two are the same but for capitals, blanks or punctuation; their order is chance")
        return problems

    def metrics(self, completion: str, target: OrderTarget, rewards: Rewards) -> dict[str, float]:
        names = answered_order(answer_text(completion) or "")[:MOST_EVENTS]
        return {
            "exact": float(rewards["order_agreement"](completion, target).value == 1.0),
            "pair_f1": pair_f1(names, target.names),
            "right_names": float(sorted(names) == sorted(target.names)),
        }

    def baselines(self, train: Sequence[OrderTarget], rows: HeldOut[OrderTarget]) -> Answers:
        """The true names in the order of the alphabet, as if every question listed them; the most frequent order."""
        targets = [target for target, _ in rows]
        usual = majority([target.written() for target in train or targets])
        alphabetical = [OrderTarget(tuple(sorted(target.order))).written() for target in targets]
        return {"alphabetical": alphabetical} | ({"majority": [usual] * len(rows)} if usual else {})


class Saliency(Task):
    name = "saliency"
    row_type = TemporalGroundingRow
    target_type = SaliencyTarget
    example = TemporalGroundingRow(
        id="example",
        task="saliency",
        video="match.mp4",
        duration_s=8.0,
        query="a player scores",
        target={"part_s": 2.0, "saliency": [[0, 0], [1, 1], [4, 4], [3, 3]]},
    )
    rewards = (("saliency_ap", 1.0),)
    own_rewards: ClassVar[Rewards] = {"saliency_ap": saliency_ap}
    main_metric = "mAP_Good"

    def question(self, row: TemporalGroundingRow, target: SaliencyTarget) -> str:
        return (
            f"Which parts of the video stand out for this: {row.query.strip().rstrip('.')}? "
            f"Give the start in seconds of each such part of {target.part_s:g} seconds, and its score from 1 to 4."
        )

    def row_problems(self, row: TemporalGroundingRow, target: SaliencyTarget) -> list[str]:
        last_s = (len(target.saliency) - 1) * target.part_s
        past = row.clip_s is not None and last_s >= row.clip_s
        return [f"saliency: its last part starts at {last_s:g} s, after the clip"] if past else []

    def metrics(self, completion: str, target: SaliencyTarget, rewards: Rewards) -> dict[str, float]:
        scores = answered_saliency(answer_text(completion) or "", target.part_s, len(target.saliency))
        values = {"reward": rewards["saliency_ap"](completion, target).value}
        for level, least in SALIENCY_LEVELS.items():
            relevant = [[score >= least for score in annotator] for annotator in zip(*target.saliency, strict=True)]
            ap = [average_precision(of_one, scores) for of_one in relevant] if scores else [0.0]
            best = max(range(len(scores)), key=scores.__getitem__) if scores else None
            values[f"mAP_{level}"] = sum(ap) / len(ap)
            values[f"Hit@1_{level}"] = float(best is not None and any(of_one[best] for of_one in relevant))
        return values

    def baselines(self, train: Sequence[SaliencyTarget], rows: HeldOut[SaliencyTarget]) -> Answers:
        shapes: dict[str, Callable[[int, int], float]] = {
            "all equal": lambda i, n: 1.0,
            "earlier is better": lambda i, n: float(n - i),
            "middle is better": lambda i, n: float(n - abs(2 * i - n + 1)),
        }
        return {
            name: [_scored_parts([of(i, len(t.saliency)) for i in range(len(t.saliency))], t.part_s) for t, _ in rows]
            for name, of in shapes.items()
        }


def _answer(spans: Sequence[Span], text: str = "") -> str:
    joined = " ".join(f"{write_span(span)}{text}" for span in spans) if text else ", ".join(map(write_span, spans))
    return f"<answer>{joined}</answer>"


def _split_answers(clips_s: Sequence[float | None], n: int, text: str = "", every_other: bool = False) -> list[str]:
    """The clips cut into equal parts, with the same caption each; `every_other`: 2 n parts, of which every second."""
    answers = []
    for clip_s in clips_s:
        if clip_s is None:
            return []
        parts = 2 * n if every_other else n
        edges = [round(clip_s * i / parts, 2) for i in range(parts + 1)]
        spans = [(edges[i], edges[i + 1]) for i in range(0, parts, 2 if every_other else 1)]
        answers.append(_answer(spans, text))
    return answers


def _scored_parts(scores: Sequence[float], part_s: float) -> str:
    return f"<answer>{', '.join(f'{round(i * part_s, 3)}: {score:g}' for i, score in enumerate(scores))}</answer>"
