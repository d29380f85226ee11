"""Rewards for captions: which of the target's events a text states, and which of its own are true; its form."""

from collections.abc import Callable

from rewards.parsing import LONGEST_ANSWER, answer_text, parse_words
from rewards.statements import StatementJudge, Verdicts, cost_note, judged, sentences
from rewards.targets.caption import CaptionTarget
from rewards.types import Score, Target

ORDER = 3
"""Default length in words of the sequences that `distinct_ngrams` counts."""


@judged
def event_recall(completion: str, target: CaptionTarget, judge: StatementJudge) -> Score:
    """Share of the true events that the last <answer> states, in [0, 1].

    A target without events is split into sentences, or into events by the judge where that is a model; `judge` and
    the other keywords: rewards/statements.py. Raises JudgeError without a verdict. Source: VideoChat-R1,
    arXiv:2504.06958, which describes this reward and did not release it.
    """

    def recall(caption: str) -> Score:
        verdicts = recalled(caption, target, judge)
        return Score(verdicts.share, caption, _note(verdicts, "events stated", judge) + cost_note(verdicts.spent))

    return of_caption(completion, recall)


@judged
def event_precision(completion: str, target: CaptionTarget, judge: StatementJudge) -> Score:
    """Share of the events of the last <answer> that the target's text or events state, in [0, 1].

    The answer's events are its sentences; a model as judge lists them, and an answer without events earns 0. Judges
    as for `event_recall`. Source: AutoDQ of Tarsier, arXiv:2407.00634, with our own instructions to the model.
    """
    return _precision(completion, target, judge, eventless=0.0)


@judged
def published_event_precision(completion: str, target: CaptionTarget, judge: StatementJudge) -> Score:
    """`event_precision` as AutoDQ's released code has it: an answer in which the judge finds no event earns 1."""
    return _precision(completion, target, judge, eventless=1.0)


@judged
def event_f1(completion: str, target: CaptionTarget, judge: StatementJudge) -> Score:
    """Harmonic mean of `event_recall` and `event_precision`, in [0, 1]; 0 if both are 0.

    AutoDQ's F1 of a corpus is another number: that of the two means, see `Caption.corpus_metrics`.
    """

    def both(caption: str) -> Score:
        recall, precision = recalled(caption, target, judge), true_events(caption, target, judge)
        note = f"{_note(recall, 'events stated', judge)}; {_note(precision, 'events true', judge)}"
        spent = cost_note(recall.spent + precision.spent)
        return Score(harmonic_mean(recall.share, precision.share), caption, note + spent)

    return of_caption(completion, both)


def _precision(completion: str, target: CaptionTarget, judge: StatementJudge, eventless: float) -> Score:
    """`eventless`: the value of an answer in which the judge finds no event."""

    def precision(caption: str) -> Score:
        verdicts = true_events(caption, target, judge)
        value = verdicts.share if verdicts.stated else eventless
        return Score(value, caption, _note(verdicts, "events true", judge) + cost_note(verdicts.spent))

    return of_caption(completion, precision)


def answer_length(completion: str, target: Target, *, most_words: int = 100) -> Score:
    """1 for an answer of at most `most_words` words, falling evenly to 0 at twice as many; 0 without an answer."""

    def length(caption: str) -> Score:
        count = len(parse_words(caption))
        return Score(min(1.0, max(0.0, 2 - count / most_words)), caption, f"{count} words of {most_words}")

    if most_words < 1:
        raise ValueError(f"most_words is {most_words}; it must be at least 1")
    return of_caption(completion, length)


def distinct_ngrams(completion: str, target: Target, *, order: int = ORDER) -> Score:
    """Share of an answer's sequences of `order` words that are distinct, in [0, 1]; 1 for an answer of fewer words."""

    def distinct(caption: str) -> Score:
        words = parse_words(caption)
        runs = list(zip(*(words[start:] for start in range(order)), strict=False))
        share = len(set(runs)) / len(runs) if runs else 1.0
        return Score(share, caption, f"{len(set(runs))} of {len(runs)} sequences of {order} words are distinct")

    if order < 1:
        raise ValueError(f"order is {order}; it must be at least 1")
    return of_caption(completion, distinct)


def of_caption(completion: str, judge: Callable[[str], Score]) -> Score:
    """What `judge` says of the last <answer>; 0 where that is missing, without words or too long."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    if len(answer) > LONGEST_ANSWER or not sentences(answer):
        return Score(0.0, answer, "no caption inside <answer>, or one that is too long", "unreadable")
    return judge(answer)


def recalled(caption: str, target: CaptionTarget, judge: StatementJudge) -> Verdicts:
    """Verdicts on the target's events: does the caption state them?"""
    return judge.verdicts(caption, target.events) if target.events else judge.verdicts_on(caption, target.text)


def true_events(caption: str, target: CaptionTarget, judge: StatementJudge) -> Verdicts:
    """Verdicts on the caption's events: does the target state them?"""
    return judge.verdicts_on(target.reference, caption, may_be_none=True)


def harmonic_mean(a: float, b: float) -> float:
    """The harmonic mean of two numbers in [0, 1]; 0 if both are 0."""
    return 2 * a * b / (a + b) if a + b else 0.0


def _note(verdicts: Verdicts, what: str, judge: StatementJudge) -> str:
    note = f"{sum(verdicts.stated)} of {len(verdicts.stated)} {what}, judged by {judge.kind}"
    return f"{note}; not: {verdicts.missing[:80]!r}" if verdicts.missing else note
