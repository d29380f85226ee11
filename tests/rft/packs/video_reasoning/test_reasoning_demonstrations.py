"""The six simulators: hand-worked steps, what is illegal, how answers are read, and ways to a goal."""

import random

import pytest

from rft.packs.video_reasoning.demonstrations import DEMONSTRATIONS
from rft.packs.video_reasoning.demonstrations.reading import read_items
from rft.packs.video_reasoning.demonstrations.types import SKILLS, Ask, IllegalOperation, Items, simulated

NUMBERS = [[2, 3, 1], [4, 0, 5], [6, 7, 8]]
PIECES = {"board": [[0, 1, 0], [0, 0, 1], [0, 0, 0]], "at": [0, 2]}
FOLDERS = {"path0": ["a.txt", "b.py"], "path1": ["c.csv"]}
PILES = {"pile0": ["King of Clubs", "2 of Hearts"], "pile1": []}
CHIPS = {"cup0": [5, 20, 5]}


@pytest.mark.parametrize(
    ("name", "state", "operation", "after"),
    [
        # A move is named by where the tile goes: left, and the tile at the right of the empty square moves.
        ("number", NUMBERS, "left", [[2, 3, 1], [4, 5, 0], [6, 7, 8]]),
        ("number", NUMBERS, "right", [[2, 3, 1], [0, 4, 5], [6, 7, 8]]),
        ("number", NUMBERS, "up", [[2, 3, 1], [4, 7, 5], [6, 0, 8]]),
        ("number", NUMBERS, "down", [[2, 0, 1], [4, 3, 5], [6, 7, 8]]),
        # The first move of the published row state3_op5: the ring arrives at the middle of the first row.
        ("circle", PIECES, "left", {"board": [[1, 0, 1], [0, 1, 1], [0, 0, 0]], "at": [0, 1]}),
        ("circle", PIECES, "down", {"board": [[0, 1, 1], [0, 1, 0], [0, 0, 1]], "at": [1, 2]}),
        ("cup", [[1, 0], [0, 0]], "(a1, b2)", [[0, 0], [0, 1]]),
        ("cup", [[1, 0], [0, 0]], "(a2, b2)", [[1, 0], [0, 0]]),
        ("file", FOLDERS, "ls path0 path1", FOLDERS),
        ("file", FOLDERS, "touch path1/{a.py,c.csv}", {"path0": ["a.txt", "b.py"], "path1": ["a.py", "c.csv"]}),
        ("file", FOLDERS, "rm -rf path0/{a.txt,z.py}", {"path0": ["b.py"], "path1": ["c.csv"]}),
        ("file", FOLDERS, "cp path0/{b.py} path1/", {"path0": ["a.txt", "b.py"], "path1": ["b.py", "c.csv"]}),
        ("file", FOLDERS, "mv path0/{b.py} path1/", {"path0": ["a.txt"], "path1": ["b.py", "c.csv"]}),
        ("card", PILES, "remove 2 of Hearts from pile0", {"pile0": ["King of Clubs"], "pile1": []}),
        ("card", PILES, "add 2 of Hearts to pile1", {**PILES, "pile1": ["2 of Hearts"]}),
        ("chip", CHIPS, "remove 5 from cup0", {"cup0": [20, 5]}),
        ("chip", CHIPS, "add 100 to cup0", {"cup0": [5, 20, 5, 100]}),
    ],
)
def test_a_step(name: str, state: object, operation: str, after: object) -> None:
    rules, before = DEMONSTRATIONS[name], repr(state)
    assert rules.state_problem(state) is None
    assert rules.apply(state, operation) == after
    assert repr(state) == before


@pytest.mark.parametrize(
    ("name", "state", "operation", "why"),
    [
        ("number", [[0, 1], [2, 3]], "right", "no square can move there"),
        ("number", [[0, 1], [2, 3]], "north", "is no direction"),
        ("circle", PIECES, "up", "leaves the grid"),
        ("cup", [[1, 0]], "(a1, a3)", "there is no cup a3"),
        ("cup", [[1, 0]], "(a1, a1)", "swaps a cup with itself"),
        ("file", FOLDERS, "cp path0/{q.py} path1/", "q.py is not in path0"),
        ("file", FOLDERS, "touch path2/{q.py}", "there is no such path"),
        ("file", FOLDERS, "rm -rf path0/", "names no files"),
        ("card", PILES, "remove King of Clubs from pile0", "at the bottom of pile0 is 2 of Hearts"),
        ("card", PILES, "remove King of Clubs from pile1", "at the bottom of pile1 is no card"),
        ("card", PILES, "add 11 of Clubs to pile1", "no such card"),
        ("chip", CHIPS, "remove 50 from cup0", "cup0 holds no 50"),
        ("chip", CHIPS, "add 7 to cup0", "no such chip"),
        ("chip", CHIPS, "swap", "neither adds nor removes"),
    ],
)
def test_an_illegal_step_is_refused_and_named(name: str, state: object, operation: str, why: str) -> None:
    with pytest.raises(IllegalOperation, match=why):
        DEMONSTRATIONS[name].apply(state, operation)
    with pytest.raises(IllegalOperation, match=rf"^step 1, '.*': .*{why}"):
        simulated(DEMONSTRATIONS[name], state, [operation])


@pytest.mark.parametrize(
    ("name", "skill", "text", "items"),
    [
        ("number", "recall order", "2nd: (a,2) right\n3rd: (b,2) up", ("a2 right", "b2 up")),
        ("number", "recall order", "1. a2 moved to the right\n2. B2 upward", ("a2 right", "b2 up")),
        ("number", "recall count", "2: (b,2), (c,2)", ("b2", "c2")),
        ("number", "infer state", "**(a,1): 5**, (a, 2) = 0", ("a1: 5", "a2: 0")),
        ("circle", "recall order", "Left, then DOWNWARDS", ("left", "down")),
        ("circle", "infer state", "(a, 0): black\n(a,1): 0", ("a0: black", "a1: white")),
        ("circle", "infer state", "a0: 1; a1 is white", ("a0: black", "a1: white")),
        ("cup", "recall order", "1st: (b2, a1), 2nd: a3 and c1", ("(a1, b2)", "(a3, c1)")),
        ("cup", "recall count", "1st: b2\n2nd: (b1,b3)", ("b2", "(b1, b3)")),
        ("cup", "infer state", "The coins are at a2 and B1.", ("a2", "b1")),
        ("cup", "compare state", "b2: empty, a1: a coin, a3: 1", ("b2: empty", "a1: coin", "a3: coin")),
        ("file", "recall count", "2 `.csv` files: b.csv, path0/n.csv", ("b.csv", "n.csv")),
        (
            "file",
            "predict operation",
            "touch path0/{b.txt, a.py} & rm -rf path0/c.csv",
            ("touch path0/{a.py,b.txt}", "rm -rf path0/{c.csv}"),
        ),
        (
            "file",
            "recall order",
            "1st: ls path0 path1\n2nd: cp path0/{a.py} path1/",
            ("ls path0 path1", "cp path0/{a.py} path1/"),
        ),
        ("card", "recall order", "1st: queen of clubs, pile 0", ("Queen of Clubs, pile0",)),
        ("card", "infer state", "10 of Hearts, ACE OF SPADES", ("10 of Hearts", "Ace of Spades")),
        (
            "card",
            "predict operation",
            "Add the 6 of Hearts to pile0, remove King of Clubs from pile0",
            ("add 6 of Hearts to pile0", "remove King of Clubs from pile0"),
        ),
        ("chip", "infer state", "4 chips: 20, 5, 100, 100", ("20", "5", "100", "100")),
        ("chip", "recall order", "1st: 100, cup0\n2nd: 20, cup1.", ("100, cup0", "20, cup1")),
        ("chip", "compare state", "Start, 070", ("start, 70",)),
        ("chip", "predict operation", "add 20 to cup0, remove 50 cup0", ("add 20 to cup0", "remove 50 from cup0")),
        ("chip", "compare state", "The total value is equal at both times.", ()),
        ("cup", "infer state", "None", ()),
    ],
)
def test_answers_are_read(name: str, skill: str, text: str, items: tuple[str, ...]) -> None:
    read = read_items(text, DEMONSTRATIONS[name].readers[skill])
    assert (read.items, read.problem) == (items, "")


@pytest.mark.parametrize(
    ("name", "skill", "text", "problem"),
    [
        ("cup", "infer state", "", "states nothing"),
        ("cup", "infer state", "somewhere", "states nothing"),
        ("cup", "infer state", "a1 or a2", "alternatives"),
        ("number", "infer state", "a1: 5 6", "lists 1 and says 6"),
        ("number", "recall count", "3: a1, a2", "lists 2 and says 3"),
        ("circle", "infer state", "a0: black (white)", "says 'white' beside"),
        ("number", "recall order", "a1 left right", "says 'right' beside"),
        ("card", "infer state", "Ace, King of Clubs", "says 'Ace' beside"),
        ("chip", "infer state", "3 chips: 5, 5", "lists 2 and says 3"),
        ("file", "predict operation", "touch path0/{a.py} b.py", "says 'b.py' beside"),
        ("cup", "infer state", "a1 " * 20_000, "too long"),
    ],
)
def test_answers_that_have_not_decided_are_not_read(name: str, skill: str, text: str, problem: str) -> None:
    assert problem in read_items(text, DEMONSTRATIONS[name].readers[skill]).problem


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_random_videos_are_legal_and_their_ends_can_be_reached(name: str, size: int) -> None:
    rules, rng = DEMONSTRATIONS[name], random.Random(size)
    if name in ("number", "circle", "cup") and size == 1:
        return
    state = rules.random_state(size, rng)
    assert rules.state_problem(state) is None
    operations = []
    states = [state]
    for _ in range(4):
        operations.append(rules.random_operation(states[-1], rng))
        states.append(rules.apply(states[-1], operations[-1]))
    assert simulated(rules, state, operations) == tuple(states)
    container = next(iter(state)) if rules.has_containers else ""
    goal = rules.shown(states[-1], Ask(container=container))
    path = rules.solution(state, Ask(container=container, goal=goal.items))
    assert path is not None
    assert rules.rule_problem(path) is None
    reached = simulated(rules, state, path)[-1]
    assert goal.equal(rules.shown(reached, Ask(container=container)).items)
    assert read_items(Items(path).written(), rules.readers["predict operation"]).items == path


def test_every_skill_can_be_read() -> None:
    assert all(rules.readers.keys() == set(SKILLS) for rules in DEMONSTRATIONS.values())


@pytest.mark.parametrize(
    ("order", "read", "equal", "f1"),
    [
        ("set", ("b", "a", "b"), True, 1.0),
        ("set", ("a",), False, 2 / 3),
        ("bag", ("b", "a"), True, 1.0),
        ("bag", ("a", "b", "b"), False, 0.8),
        ("list", ("a", "b"), True, 1.0),
        ("list", ("b", "a"), False, 0.0),
        ("list", ("a",), False, 2 / 3),
    ],
)
def test_sets_are_sets_and_lists_are_lists(order: str, read: tuple[str, ...], equal: bool, f1: float) -> None:
    items = Items(("a", "b"), order)
    assert items.equal(read) == equal
    assert items.f1(read) == pytest.approx(f1)
