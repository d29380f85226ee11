"""Rewards for answers about events, each in [0, 1]; every true event counts for one answered event at most."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from rewards.choice import choice_accuracy
from rewards.geometry import interval_giou, interval_iou
from rewards.parsing import answer_text, parse_timed_texts
from rewards.reply_cache import Usage
from rewards.statements import StatementJudge, cost_note, judged
from rewards.targets.choice import ChoiceTarget
from rewards.types import Score, Span
from rft.packs.events.matching import (
    THRESHOLDS,
    Event,
    average_precision,
    caption_score,
    covered_share,
    iou_of,
    iou_times,
    mean_f1,
    ordered_f1,
    pair_f1,
    seconds_f1,
    word_f1,
)
from rft.packs.events.reading import MOST_EVENTS, answered_order, answered_saliency, answered_spans, answered_time
from rft.packs.events.targets import (
    AnyOfTarget,
    LetterAndSpanTarget,
    MomentTarget,
    OrderTarget,
    SaliencyTarget,
    SpansTarget,
    TimedCaptionsTarget,
    order_problem,
)
from rft.packs.events.text_scores import chrf

GOOD = 3
"""Least score of a part that counts as highlight in `saliency_ap`: "good" of QVHighlights."""


def span_set_f1(completion: str, target: SpansTarget) -> Score:
    """F1 of answered and true spans under the best matching in order of time, by IoU, in [0, 1].

    Reads the last <answer> as "start - end, start - end". Each true span is matched once, so repeated spans cost.
    Source: SODA_d, Fujita et al., ECCV 2020.
    """
    spans = _spans_of(completion)
    if isinstance(spans, Score):
        return spans
    value = ordered_f1(_events(spans), _events(target.spans), iou_of)
    return _scored(value, completion, spans, target.duration_s, f"{len(spans)} spans for {len(target.spans)}")


def any_to_any_f1(completion: str, target: SpansTarget) -> Score:
    """F1 of precision and recall at IoU .1, .3, .5 and .7, mean over them, in [0, 1]; any span may cover any other.

    A metric rather than a reward: repeats cost nothing. Source: E.T. Bench (arXiv:2409.18111).
    """
    spans = _spans_of(completion)
    if isinstance(spans, Score):
        return spans
    value = mean_f1(spans, target.spans, THRESHOLDS)
    return _scored(value, completion, spans, target.duration_s, f"{len(spans)} spans for {len(target.spans)}")


def seconds_overlap_f1(completion: str, target: SpansTarget) -> Score:
    """F1 of the answered and the true seconds, in [0, 1]; seconds that are named twice count once.

    Source: E.T. Bench (arXiv:2409.18111), video summarisation, there in bins of a second.
    """
    spans = _spans_of(completion)
    if isinstance(spans, Score):
        return spans
    value = seconds_f1(spans, target.spans)
    return _scored(value, completion, spans, target.duration_s, f"{len(spans)} spans for {len(target.spans)}")


def paired_giou(completion: str, target: SpansTarget) -> Score:
    """Mean of (1 + GIoU) / 2 over the pairs of answered and true spans in written order, in [0, 1].

    A span without partner, answered or true, counts as a pair of 0: one that is left out shifts all later ones.
    Source: MUSEG (arXiv:2505.20715), local matching.
    """
    spans = _spans_of(completion)
    if isinstance(spans, Score):
        return spans
    values = [(1 + interval_giou(*pair)) / 2 for pair in zip(spans, target.spans, strict=False)]
    value = sum(values) / max(len(spans), len(target.spans)) if spans or target.spans else 1.0
    return _scored(value, completion, spans, target.duration_s, f"{len(spans)} spans for {len(target.spans)}")


def best_iou(completion: str, target: AnyOfTarget | LetterAndSpanTarget) -> Score:
    """IoU of the one answered span with the true span that it fits best, in [0, 1].

    Several answered spans earn 0. Source: E.T. Bench (arXiv:2409.18111), temporal event matching.
    """
    spans = _spans_of(completion)
    if isinstance(spans, Score):
        return spans
    answer = answer_text(completion)
    if len(spans) != 1:
        return Score(0.0, answer, f"{len(spans)} spans, one was asked for", "wrong_count")
    value = max(interval_iou(spans[0], true) for true in target.spans)
    return _scored(value, completion, spans, target.duration_s, f"best of {len(target.spans)} true spans")


def option_letter(completion: str, target: LetterAndSpanTarget) -> Score:
    """1 if the last <answer> names the right option's letter and no other, else 0."""
    return choice_accuracy(completion, ChoiceTarget(target.choice))


def option_iou(completion: str, target: LetterAndSpanTarget) -> Score:
    """`best_iou` where the letter is right, else 0. Source: E.T. Bench (arXiv:2409.18111), grounded questions."""
    letter = option_letter(completion, target)
    return best_iou(completion, target) if letter.value else letter


def moment_nearness(completion: str, target: MomentTarget, *, reach: float = 0.25) -> Score:
    """1 for a time inside a true span, else falling with the distance to 0 at `reach` of the clip, in [0, 1].

    Without the clip's length a time outside earns 0. `reach` 0: 1 or 0, as E.T. Bench counts (arXiv:2409.18111).
    """
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    time_s = answered_time(answer)
    if time_s is None:
        return Score(0.0, answer, "no single time inside <answer>", "unreadable")
    if target.duration_s is not None and time_s > target.duration_s:
        return Score(0.0, answer, f"the time is past the clip's end at {target.duration_s:g} s", "out_of_range")
    distance_s = min(max(start - time_s, time_s - end, 0.0) for start, end in target.spans)
    if distance_s == 0:
        return Score(1.0, answer, "inside")
    reach_s = reach * (target.duration_s or 0.0)
    return Score(max(0.0, 1 - distance_s / reach_s) if reach_s else 0.0, answer, f"{distance_s:.2f} s away")


def event_times(completion: str, target: TimedCaptionsTarget) -> Score:
    """F1 of answered and true events by IoU alone, matched in order of time, in [0, 1]. Source: SODA_d."""
    return _scored_events(completion, target, lambda events: ordered_f1(events, target.events, iou_of))


def span_precision(completion: str, target: TimedCaptionsTarget, *, iou: float = 0.5) -> Score:
    """Share of the answered events that overlap any true one by more than `iou`, in [0, 1]; repeats cost nothing.

    A metric rather than a reward, as `span_recall` is. Source: densevid_eval.
    """
    true = [span for span, _ in target.events]
    return _scored_events(
        completion, target, lambda events: covered_share([span for span, _ in events], true, iou, strictly=True)
    )


def span_recall(completion: str, target: TimedCaptionsTarget, *, iou: float = 0.5) -> Score:
    """Share of the true events that any answered one overlaps by more than `iou`, in [0, 1]. Source: densevid_eval."""
    true = [span for span, _ in target.events]
    return _scored_events(
        completion, target, lambda events: covered_share(true, [span for span, _ in events], iou, strictly=True)
    )


def event_captions(completion: str, target: TimedCaptionsTarget) -> Score:
    """F1 of answered and true events by IoU times the F1 of their words, matched in order of time, in [0, 1].

    Source: SODA_c, Fujita et al., ECCV 2020, which takes METEOR where this takes the F1 of words.
    """
    return _scored_events(completion, target, lambda events: ordered_f1(events, target.events, iou_times(word_f1)))


@judged
def event_judged(completion: str, target: TimedCaptionsTarget, judge: StatementJudge) -> Score:
    """F1 of answered and true events by IoU where the caption states the true one, matched in order of time, in [0, 1].

    The judge reads each answered caption once, with all true captions whose spans overlap its own. Judges and their
    keywords: rewards/statements.py. Raises JudgeError without a verdict.
    """
    spent = Usage()

    def value_of(events: Sequence[Event]) -> float:
        nonlocal spent
        stated: dict[tuple[str, str], bool] = {}
        for span, text in events:
            overlapped = [words for other, words in target.events if interval_iou(span, other)]
            verdicts = judge.verdicts(text, overlapped)
            stated |= {(text, words): done for words, done in zip(overlapped, verdicts.stated, strict=True)}
            spent += verdicts.spent
        return ordered_f1(events, target.events, iou_times(lambda text, words: float(stated[text, words])))

    score = _scored_events(completion, target, value_of)
    return replace(score, note=score.note + cost_note(spent))


def event_chrf(completion: str, target: TimedCaptionsTarget) -> Score:
    """F1 of answered and true events by IoU times chrF of their captions, matched in order of time, in [0, 1].

    As SODA_c (Fujita et al., ECCV 2020), which takes METEOR where this takes chrF. Needs the extra `text-scores`.
    """
    likeness = chrf()
    return _scored_events(completion, target, lambda events: ordered_f1(events, target.events, iou_times(likeness)))


def caption_chrf(completion: str, target: TimedCaptionsTarget) -> Score:
    """Mean chrF of captions whose spans fit at IoU .3, .5, .7 and .9, in [0, 1]; see `caption_score`.

    A metric rather than a reward: events that are left out cost nothing. Source: densevid_eval, which takes METEOR and
    CIDEr where this takes chrF. Needs the extra `text-scores`.
    """
    likeness = chrf()
    return _scored_events(completion, target, lambda events: caption_score(events, target.events, likeness))


def order_agreement(completion: str, target: OrderTarget) -> Score:
    """F1 of the pairs (earlier, later) of the answered and the true names, in [0, 1].

    Reads the last <answer> as names divided by commas, arrows or lines. Where every name is answered once, this is the
    share of pairs in the right order. A guess of asked names earns 0.5 on average, however many they are; the longest
    common subsequence would give it 0.75, 0.67 and 0.60 for 2, 3 and 4. Names left out, repeated or made up bring a
    guess below that.
    """
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    names = answered_order(answer)
    problem = order_problem(names)
    if problem is not None:
        return Score(0.0, answer, *problem)
    return Score(pair_f1(names, target.names), answer, f"{len(names)} names for {len(target.names)}")


def saliency_ap(completion: str, target: SaliencyTarget, *, least: float = GOOD) -> Score:
    """Average precision of the parts in order of the answered scores, mean over the annotators, in [0, 1].

    Reads the last <answer> as "start: score, start: score"; parts that it does not name have 0. A part is a highlight
    of an annotator who gave it `least` or more; an annotator without highlights is left out, unless all are.
    Annotators who disagree keep every answer below 1. Source: QVHighlights, moment_detr's evaluation.
    """
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    scores = answered_saliency(answer, target.part_s, len(target.saliency))
    if scores is None:
        return Score(0.0, answer, "no 'start: score' inside <answer>", "unreadable")
    highlights = [[score >= least for score in annotator] for annotator in zip(*target.saliency, strict=True)]
    values = [average_precision(relevant, scores) for relevant in highlights if any(relevant)]
    if not values:
        return Score(float(not any(scores)), answer, "no part is a highlight")
    return Score(sum(values) / len(values), answer, f"AP of {len(values)} annotators")


def _spans_of(completion: str) -> tuple[Span, ...] | Score:
    """The spans of the last <answer>, or the score of a completion without readable ones."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    spans = answered_spans(answer)
    if spans is None:
        return Score(0.0, answer, "no 'start - end' inside <answer>", "unreadable")
    return _refusal(answer, spans) or spans


def _scored_events(completion: str, target: TimedCaptionsTarget, value_of: Callable[[Sequence[Event]], float]) -> Score:
    """The value of the events of the last <answer>, with a note; 0 where none can be read."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    events = parse_timed_texts(answer)
    if events is None:
        return Score(0.0, answer, "no 'start - end, words' inside <answer>", "unreadable")
    spans, note = [span for span, _ in events], f"{len(events)} events for {len(target.events)}"
    return _refusal(answer, spans) or _scored(value_of(events), completion, spans, target.duration_s, note)


def _refusal(answer: str, spans: Sequence[Span]) -> Score | None:
    if len(spans) > MOST_EVENTS:
        return Score(0.0, answer, f"{len(spans)} events, more than {MOST_EVENTS}", "wrong_count")
    if any(end < start for start, end in spans):
        return Score(0.0, answer, "a span ends before it starts", "reversed")
    return None


def _events(spans: Sequence[Span]) -> list[Event]:
    return [(span, "") for span in spans]


def _scored(value: float, completion: str, spans: Sequence[Span], duration_s: float | None, note: str) -> Score:
    """The score with its note; a span that starts past the clip's end is a fault."""
    answer = answer_text(completion)
    if duration_s is not None and any(start > duration_s for start, _ in spans):
        return Score(value, answer, f"{note}; a span starts past the clip's end at {duration_s:g} s", "out_of_range")
    return Score(value, answer, note)
