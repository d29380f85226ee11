"""Rewards along a stream, in [0, 1]: a right count, a right yes or no, a reply in time. All read the last <answer>."""

from rewards.parsing import answer_text, parse_words
from rewards.types import Score
from rft.packs.streams.targets import (
    CountTarget,
    ReplyTarget,
    YesNoTarget,
    answered_count,
    answered_reply,
    answered_yes_no,
)


def count_match(completion: str, target: CountTarget) -> Score:
    """1 if the last <answer> is the right number, else 0."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    count = answered_count(answer)
    if count is None:
        return Score(0.0, answer, "not one whole number inside <answer>", "unreadable")
    return Score(float(count == target.count), answer, f"{count}, right is {target.count}")


def yes_no_match(completion: str, target: YesNoTarget) -> Score:
    """1 if the last <answer> says the right one of yes and no, and not the other, else 0."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    said = answered_yes_no(answer)
    if said is None:
        return Score(0.0, answer, "neither yes nor no inside <answer>, or both", "unreadable")
    return Score(float(said == target.yes), answer, f"right is {target.word}")


def reply_in_time(completion: str, target: ReplyTarget, *, within_s: float = 4.0) -> Score:
    """Share of the words said, times how promptly, in [0, 1]; "wait" earns 1 where the evidence is not in the clip.

    Reads the last <answer> as "seconds: words". A time before the evidence earns 0; promptness falls from 1 at the
    due time to 0 at `within_s` later. Words: those of the target that the reply has, less those it adds (F1).
    """
    answer, reply = answer_text(completion), read_reply(completion)
    if isinstance(reply, Score):
        return reply
    time_s, words = reply
    if time_s is None or target.due_s is None:
        right = time_s is None and target.due_s is None
        return Score(float(right), answer, "waited" if time_s is None else "replied before the evidence was there")
    late_s = time_s - target.due_s
    if late_s < 0:
        return Score(0.0, answer, f"replied {-late_s:.2f} s too early")
    said = _word_f1(words, target.text)
    return Score(said * max(0.0, 1 - late_s / within_s), answer, f"words {said:.2f}, {late_s:.2f} s late")


def read_reply(completion: str) -> tuple[float | None, str] | Score:
    """(seconds, words) of the last <answer>, see `answered_reply`; or the score of a completion without."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    problem = "neither 'seconds: words' nor 'wait' inside <answer>"
    return answered_reply(answer) or Score(0.0, answer, problem, "unreadable")


def _word_f1(text: str, other: str) -> float:
    said, true = set(parse_words(text)), set(parse_words(other))
    return 2 * len(said & true) / (len(said) + len(true)) if said and true else 0.0
