"""What released scorers read in answers along a stream, their faults included.

OVBench (arXiv:2501.00584, its lmms-eval task), OVO-Bench (2501.05510, OVOBenchScore), StreamingBench (2411.03628,
count). They read whole replies; here it is the text inside the last <answer>, without outer blanks.
"""

import re
from collections.abc import Callable

from rewards.choice import choice_score
from rewards.parsing import LONGEST_ANSWER, answer_text
from rewards.types import Score
from rft.packs.streams.rewards import read_reply
from rft.packs.streams.targets import CountTarget, ReplyTarget, StreamChoiceTarget, YesNoTarget

NEAR_S = 2.0
"""Most seconds between a reply and its due time, before it or after."""

_LETTER_FIRST = re.compile(r"([a-e])\..+\Z", re.IGNORECASE)
_LONE_LETTER = re.compile(r"\b[a-e]\b", re.IGNORECASE)
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_FULL_STOP = re.compile(r"\.(?!\d)")
_THOUSANDS = re.compile(r"\d,\d")


def released_choice(completion: str, target: StreamChoiceTarget) -> Score:
    """1 if the scorer of the benchmark that the kind of question begins with takes the answer; OVBench's elsewhere."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    reader = RELEASED.get(target.kind.partition(" ")[0], _ovbench)
    return reader(answer[:LONGEST_ANSWER], target.choice)


def released_count(completion: str, target: CountTarget) -> Score:
    """1 if all digits of the answer, joined, are the count: "10 or 1" is 101. Source: OVO-Bench."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    digits = "".join(re.findall(r"\d", answer[:LONGEST_ANSWER]))
    if not digits:
        return Score(0.0, answer, "no digit", "unreadable")
    return Score(float(digits == str(target.count)), answer, f"{digits}, right is {target.count}")


def released_yes_no(completion: str, target: YesNoTarget) -> Score:
    """1 if the right word is in the answer or Y or N is all of it: "Yes and No" and "None" hit. Source: OVO-Bench."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    hit = target.word in answer or answer == target.word[0]
    return Score(float(hit), answer, f"{target.word} is {'' if hit else 'not '}in it")


def released_reply(completion: str, target: ReplyTarget) -> Score:
    """1 for a reply within `NEAR_S` of the due time that contains the text; "wait" where nothing is due.

    Source: StreamingBench, which asks at every second instead of for a time.
    """
    answer, reply = answer_text(completion), read_reply(completion)
    if isinstance(reply, Score):
        return reply
    time_s, words = reply
    if time_s is None or target.due_s is None:
        return Score(float(time_s is target.due_s), answer, "waited" if time_s is None else "replied")
    late_s, is_said = time_s - target.due_s, target.text in words
    note = f"{late_s:+.2f} s late, the text is {'' if is_said else 'not '}in it"
    return Score(float(abs(late_s) <= NEAR_S and is_said), answer, note)


def _ovbench(answer: str, choice: str) -> Score:
    """ "A. text" at the start, else the first lone letter a to e; the article counts: "a person" reads as A."""
    text = answer.strip()
    match = _LETTER_FIRST.match(text) or _LONE_LETTER.search(_without_marks(text))
    if match is None:
        return Score(0.0, answer, "no letter that the released code reads", "unreadable")
    return choice_score(match[0][0].upper(), answer, choice)


def _ovo_bench(answer: str, choice: str) -> Score:
    """The letter anywhere, capitals only: "ABCD" hits whatever is right."""
    return Score(float(choice in answer), answer, f"{choice} is {'' if choice in answer else 'not '}in it")


def _streamingbench(answer: str, choice: str) -> Score:
    """The first character: "C. red" hits, "(C)" and "c" do not."""
    return Score(float(answer[:1] == choice), answer, f"begins with {answer[:1]}, right is {choice}")


RELEASED: dict[str, Callable[[str, str], Score]] = {"ovo": _ovo_bench, "streamingbench": _streamingbench}
"""First word of a kind of question -> the reading of its benchmark."""


def _without_marks(text: str) -> str:
    """The text in which the released scorer looks for a lone letter: words that marks parted may have grown together.

    A mark that stands beside a blank anywhere leaves nothing, as all do where a number has a comma; others leave a
    blank. Of full stops without a digit behind them the first 32 leave nothing.
    """
    text = text.replace("\n", " ").replace("\t", " ")
    grows = _THOUSANDS.search(text) is not None
    cleaned = text
    for mark in _MARKS:
        cleaned = cleaned.replace(mark, "" if grows or f"{mark} " in text or f" {mark}" in text else " ")
    return _FULL_STOP.sub("", cleaned, count=32)
