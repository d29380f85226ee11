"""Tasks needle, a question about images put into a long video, and circular_choice, one asked in several orders."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from statistics import fmean
from typing import ClassVar, Self

from rewards.choice import choice_score
from rewards.parsing import answer_text
from rewards.published_parsing import first_block
from rewards.targets.choice import ChoiceTarget, read_choice
from rewards.targets.values import read_numbers, read_text, shown
from rewards.types import Score
from rft.tasks.multiple_choice import MultipleChoice, MultipleChoiceRow
from rft.tasks.types import Rewards

_FIRST_TOKEN = re.compile(r"\(?([A-Za-z])(?![^\W\d_])")


@dataclass(frozen=True, slots=True)
class NeedleTarget(ChoiceTarget):
    """The right letter, the frames of the video, the needle's depth and hops: NeedleTarget("C", 1000, 0.5, 1)."""

    json_form = '{"choice": "C", "frames": 1000, "depth": 0.5, "hops": 1}'
    json_keys: ClassVar[tuple[tuple[str, ...], ...]] = (("choice", "frames", "depth", "hops"),)

    frames: int
    depth: float
    """Place of the first needle: 0 at the start of the video, 1 at its end."""
    hops: int
    """Number of images that lead to the answer."""

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        depth = (read_numbers("depth", [data["depth"]], 1, problems) or (0.0,))[0]
        if not 0 <= depth <= 1:
            problems.append(f"depth: {depth:g} is not from 0 (start) to 1 (end)")
        frames, hops = (_count(key, data[key], problems) for key in ("frames", "hops"))
        return cls(read_choice(data["choice"], problems), frames, depth, hops)

    def to_json(self) -> dict[str, object]:
        return {"choice": self.choice, "frames": self.frames, "depth": self.depth, "hops": self.hops}

    def subsets(self) -> tuple[str, ...]:
        length = f"{self.frames:,} frames"
        if self.hops > 1:
            return (f"{self.hops} hops", f"several hops, {length}")
        return (length, f"depth {self.depth:.2f}", f"{length}, depth {self.depth:.2f}")


def first_token_letter(completion: str, target: NeedleTarget) -> Score:
    """1 if the first <answer> begins with the right letter, a bracket before it or not, and no other letter follows.

    VideoChat-Flash's released code compares one token, the likeliest at the place of the letter: "a", "A." and
    "(A) white" are A; "Answer: A", "Apple" and a blank before the letter are wrong.
    """
    answer = first_block(completion, "answer")
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    match = _FIRST_TOKEN.match(answer)
    if match is None:
        return Score(0.0, answer, "does not begin with a letter of its own", "unreadable")
    return choice_score(match[1].upper(), answer, target.choice)


class Needle(MultipleChoice):
    name = "needle"
    target_type = NeedleTarget
    example = MultipleChoiceRow(
        id="example",
        task="needle",
        video="film_with_needle",
        source_fps=1.0,
        question="Find the frame of a plate with salad. What is the colour of the plate?",
        options=("white", "purple", "green", "orange"),
        target={"choice": "A", "frames": 1000, "depth": 0.5, "hops": 1},
    )
    published_rewards: ClassVar[Rewards] = {"choice_accuracy": first_token_letter}

    def corpus_metrics(self, judged: Sequence[tuple[NeedleTarget, Mapping[str, float]]]) -> dict[str, float]:
        """Mean over the cells of length and depth (of length, for several hops), as VideoChat-Flash counts."""
        cells: dict[tuple[int, float, bool], list[float]] = {}
        for target, values in judged:
            cells.setdefault((target.frames, target.depth, target.hops > 1), []).append(values["accuracy"])
        return {"mean_over_cells": fmean(map(fmean, cells.values()))}


@dataclass(frozen=True, slots=True)
class CircularTarget(ChoiceTarget):
    """The right letter in one try of a question: CircularTarget("C", "film_3", 0, 4) is the first of four."""

    json_form = '{"choice": "C", "tries_of": "film_3", "try": 0, "tries": 4}'
    json_keys: ClassVar[tuple[tuple[str, ...], ...]] = (("choice", "tries_of", "try", "tries"),)
    text_keys: ClassVar[tuple[str, ...]] = ("choice", "tries_of")

    question: str
    """What the tries of a question have in common: its name."""
    place: int
    """Number of the try, from 0."""
    tries: int
    """How often the question is asked, each time with its options in another order."""

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        question, tries = read_text("tries_of", data["tries_of"], problems), _count("tries", data["tries"], problems)
        place = data["try"]
        if type(place) is not int or not 0 <= place < tries:
            problems.append(f"try: {shown(place)} is no whole number from 0 to {tries - 1}")
            place = 0
        return cls(read_choice(data["choice"], problems), question, place, tries)

    def to_json(self) -> dict[str, object]:
        return {"choice": self.choice, "tries_of": self.question, "try": self.place, "tries": self.tries}


def first_letter_anywhere(completion: str, target: CircularTarget) -> Score:
    """1 if VNBench's released code reads the right letter: A, else B, else C, else D, anywhere before a full stop.

    Any capital of the answer counts: "CAT" and "Answer: D" are A (arXiv:2406.09367).
    """
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    before_stop = answer.partition(".")[0]
    letter = next((letter for letter in "ABCD" if letter in before_stop), None)
    if letter is None:
        return Score(0.0, answer, "none of A, B, C, D before the first full stop", "unreadable")
    return choice_score(letter, answer, target.choice)


class CircularChoice(MultipleChoice):
    """A question with options, asked several times with its options in other orders; each try is a row."""

    name = "circular_choice"
    target_type = CircularTarget
    example = MultipleChoiceRow(
        id="example",
        task="circular_choice",
        video="film_3.mp4",
        question="In which order do the fruits appear?",
        options=("kiwi, plum", "plum, kiwi"),
        target={"choice": "B", "tries_of": "film_3", "try": 0, "tries": 2},
    )
    published_rewards: ClassVar[Rewards] = {"choice_accuracy": first_letter_anywhere}

    def corpus_metrics(self, judged: Sequence[tuple[CircularTarget, Mapping[str, float]]]) -> dict[str, float]:
        """Share of the questions that are right in all their tries; a try that is missing is wrong (VNBench).

        With several answers to each try: the chance that one of each, drawn at random, are all right.
        """
        questions: dict[tuple[str, int], dict[int, list[float]]] = {}
        for target, values in judged:
            of_question = questions.setdefault((target.question, target.tries), {})
            of_question.setdefault(target.place, []).append(values["accuracy"])
        # A question that the bootstrap draws twice counts twice.
        weights = [max(map(len, answers.values())) for answers in questions.values()]
        right = [
            prod(map(fmean, answers.values())) if len(answers) == tries else 0.0
            for (_, tries), answers in questions.items()
        ]
        return {"circular_accuracy": fmean(right, weights)}


def _count(key: str, value: object, problems: list[str]) -> int:
    """A whole number above 0 from a JSON value; else a problem is added to `problems`, and it is 1."""
    if type(value) is int and 0 < value < 10**9:
        return value
    problems.append(f"{key}: {shown(value)} is no whole number above 0")
    return 1
