"""Answers that put names in order: how they are read, what they earn, and which names can be asked for."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rft.packs.events import published
from rft.packs.events.matching import pair_f1
from rft.packs.events.reading import answered_order
from rft.packs.events.rewards import order_agreement
from rft.packs.events.targets import OrderTarget
from rft.tasks import TASKS

COLOURS = OrderTarget(("red", "dark green", "blue"))


def said(text: str) -> str:
    return f"<answer>{text}</answer>"


@pytest.mark.parametrize(
    ("text", "value", "released"),
    [
        ("red, dark green, blue", 1.0, 1.0),
        ("Red, Dark  green; BLUE.", 1.0, 0.0),
        ("1. red 2. dark green 3. blue", 1.0, 0.0),
        ("(1) red\n(2) dark green\n(3) blue", 1.0, 0.0),
        ("red -> dark green -> blue", 1.0, 0.0),
        ("red \u2192 dark-green \u2192 blue", 1.0, 0.0),
        ("red, then dark green and then blue", 1.0, 0.0),
        # Two of three pairs, one, none.
        ("dark green, red, blue", 2 / 3, 0.0),
        ("dark green, blue, red", 1 / 3, 0.0),
        ("blue, dark green, red", 0.0, 0.0),
        # One pair answered, and right.
        ("red, blue", 2 * 1 / (1 + 3), 0.0),
        ("red", 0.0, 0.0),
        # Three right pairs of six: a name made up, and one again.
        ("red, dark green, blue, pink", 2 * 3 / (6 + 3), 0.0),
        ("red, dark green, blue, red", 2 * 3 / (6 + 3), 0.0),
        ("blue, dark green, red, dark green, blue", 0.0, 0.0),
        ("red, dark green, blue, " * 33, 2 * 3 / (99 * 98 / 2 + 3), 0.0),
        ("red, dark green, blue, " * 34, 0.0, 0.0),
        ("red dark green blue", 0.0, 0.0),
        ("->", 0.0, 0.0),
    ],
)
def test_an_order_of_names(text: str, value: float, released: float) -> None:
    assert order_agreement(said(text), COLOURS).value == pytest.approx(value)
    assert published.order_agreement(said(text), COLOURS).value == released


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("C, A, B", ("c", "a", "b")),
        ("C A B", ("c", "a", "b")),
        ("C-A-B", ("c", "a", "b")),
        ("1. C 2. A 3. B", ("c", "a", "b")),
        ("[3, 1, 2]", ("3", "1", "2")),
        ("10, 9, 11.", ("10", "9", "11")),
        ("C: fry, A: cut", ("c fry", "a cut")),
        ("sand, bandage", ("sand", "bandage")),
        ("", ()),
        ("A, " * 20_000, ()),
    ],
)
def test_the_names_of_an_answer(text: str, names: tuple[str, ...]) -> None:
    assert answered_order(text) == names


@given(st.permutations(["red", "dark green", "blue", "A", "7", "x-ray"]), st.integers(2, 6))
def test_pairs_of_names(order: list[str], count: int) -> None:
    target = OrderTarget.read({"order": order[:count]})
    assert order_agreement(target.written(), target).value == 1.0
    # A guess and its reverse earn 1 together: 0.5 on average.
    guess = sorted(target.order)
    both = [order_agreement(OrderTarget(tuple(names)).written(), target).value for names in (guess, guess[::-1])]
    assert sum(both) == pytest.approx(1.0)
    # Nothing left out, repeated or made up helps.
    assert all(pair_f1((*target.names[:-1], other), target.names) < 1.0 for other in (*target.names[:-1], "pink"))
    assert pair_f1(target.names[:-1], target.names) < 1.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3, 1, 2, 5, 4", 1.0),
        (" 3,+1,02, 5,4 ", 1.0),
        ("3, 1, 2, 4, 5", 3 / 5 / 5),
        # As many different numbers as there are pieces.
        ("3, 1, 2, 5, 5, 1, 4", 4 / 5 / 5),
        ("3, 1, 2, 5, 5", 0.0),
        ("3 1 2 5 4", 0.0),
        ("3, 1, 2, 5, four", 0.0),
    ],
)
def test_an_order_as_visual_jigsaw_scores_it(text: str, value: float) -> None:
    assert published.order_agreement(said(text), OrderTarget(tuple("31254"))).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        (["red"], "order: ['red'] is not a list of at least 2"),
        (["red", "cut and fry"], "order[1]: 'cut and fry' is read as 2 names; call it by a word or a letter"),
        (["red", "?"], "order[1]: '?' is read as 0 names; call it by a word or a letter"),
        (["red", "Red."], "order: two names are the same but for capitals and punctuation"),
        (["red", 7], "order[1]: 7 is no text; write what is meant in words"),
    ],
)
def test_names_that_no_answer_can_give(order: list[object], problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        OrderTarget.read({"order": order})


def test_what_is_to_be_put_in_order_is_listed() -> None:
    task = TASKS["event_order"]
    row = task.example.model_dump(exclude_none=True)
    assert "\nA: he fries the onion\nB: he adds salt\nC: a man cuts an onion\nGive all 3" in task.prompt_text(
        task.example, True
    )
    assert "\nA, B, C\nGive all 3" in task.prompt_text(task.row_type(**{**row, "captions": ()}), True)
    problems = {
        "order: holds other names than `names`": {"names": ("A", "B", "D")},
        "captions: 2 for 3 names": {"captions": ("cut", "fry")},
        "captions: two are the same": {"captions": ("cut", "fry", "Cut.")},
    }
    for problem, fields in problems.items():
        with pytest.raises(ValueError, match=problem):
            task.target(task.row_type(**{**row, **fields}))
