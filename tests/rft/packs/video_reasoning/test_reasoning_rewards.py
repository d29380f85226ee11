"""Answers judged by simulation: odd ones, partial credit, the released errors, any text, bounded time."""

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rft.packs.video_reasoning.demonstrations import DEMONSTRATIONS
from rft.packs.video_reasoning.demonstrations.types import SKILLS, Ask
from rft.packs.video_reasoning.rewards import published_answer, verified_answer
from rft.packs.video_reasoning.targets import ReasoningTarget

ASKS = {
    "number": {"kind": "left"},
    "circle": {"kind": "left"},
    "cup": {"kind": "a"},
    "file": {"kind": "touch", "container": "path0"},
    "card": {"kind": "add", "container": "pile0", "change": "new"},
    "chip": {"kind": "add", "container": "cup0"},
}


def target_of(name: str, skill: str, start: object, operations: list[str], visible: str = "start", **ask: object):
    data = {"demonstration": name, "skill": skill, "visible": visible, "start": start, "operations": operations}
    return ReasoningTarget.read({**data, "ask": ask})


def random_target(name: str, skill: str, seed: int) -> ReasoningTarget:
    rules, rng = DEMONSTRATIONS[name], random.Random(seed)
    states, operations = [rules.random_state(2, rng)], []
    for _ in range(6):
        operations.append(rules.random_operation(states[-1], rng))
        states.append(rules.apply(states[-1], operations[-1]))
    ask = dict(ASKS[name])
    if skill == "recall order":
        ask = {"first": 1, "last": 2, **({"kind": "add"} if name in ("card", "chip") else {})}
        if name in ("card", "chip") and sum(operation.startswith("add") for operation in operations) < 2:
            return random_target(name, skill, seed + 100)
    if skill == "predict operation":
        after = rules.random_operation(states[-1], rng)
        reached = rules.apply(states[-1], after)
        container = {"container": next(iter(reached))} if rules.has_containers else {}
        goal = rules.shown(reached, Ask(**container)).items
        ask = {**container, "goal": list(goal)}
    return target_of(name, skill, states[0], operations, **ask)


SWAPPED = target_of("cup", "infer state", [[1, 0, 1]], ["(a1, a2)"])
MOVED = target_of("number", "predict operation", [[1, 2], [3, 0]], [], goal=["a1: 1", "a2: 0", "b1: 3", "b2: 2"])
WALK = target_of("circle", "recall order", {"board": [[0, 0]], "at": [0, 0]}, ["right", "left"], first=1, last=2)
PILE = target_of(
    "card",
    "predict operation",
    {"pile0": ["2 of Hearts", "3 of Hearts"]},
    [],
    container="pile0",
    goal=["King of Clubs", "2 of Hearts"],
)
FOLDER = target_of("file", "predict operation", {"path0": ["a.py"]}, [], container="path0", goal=["b.py", "c.py"])
COUNTED = target_of("chip", "infer state", {"cup0": [5, 5]}, ["add 20 to cup0"], container="cup0")
STILL = target_of("chip", "predict operation", {"cup0": [5]}, [], container="cup0", goal=["5"])


@pytest.mark.parametrize(
    ("target", "answer", "value", "note"),
    [
        (SWAPPED, "a2, a3", 1, "right"),
        (SWAPPED, "a3, a2, a3", 1, "right"),
        (SWAPPED, "a2", 0, "not a2, a3"),
        (SWAPPED, "a1, a2, a3", 0, "not a2, a3"),
        (SWAPPED, "a1, a3", 0, "not a2, a3"),
        (SWAPPED, "none", 0, "not a2, a3"),
        (SWAPPED, "", 0, "states nothing"),
        (WALK, "right, left", 1, "right"),
        (WALK, "1. Rightward\n2. Leftward", 1, "right"),
        (WALK, "left, right", 0, "not right, left"),
        (WALK, "right", 0, "not right, left"),
        (MOVED, "down", 1, "reaches the goal in 1 steps"),
        (MOVED, "right, down, left", 0, "does not reach the goal"),
        (MOVED, "down, up, down", 1, "reaches the goal in 3 steps"),
        (MOVED, "down, right, right", 0, "step 3, 'right': no square can move there"),
        (MOVED, "up, down", 0, "step 1, 'up': no square can move there"),
        (MOVED, "none", 0, "does not reach the goal"),
        (PILE, "remove 3 of Hearts from pile0, add King of Clubs to pile0", 1, "2 steps"),
        (PILE, "add King of Clubs to pile0; remove 3 of Hearts from pile0", 1, "2 steps"),
        (PILE, "remove 2 of Hearts from pile0", 0, "at the bottom of pile0 is 3 of Hearts"),
        (FOLDER, "touch path0/{c.py, b.py} & rm -rf path0/{a.py}", 1, "2 steps"),
        (FOLDER, "touch path0/{b.py} & touch path0/{c.py} & rm -rf path0/{a.py}", 0, "at most two commands"),
        (FOLDER, "touch path0/{a.py,b.py,c.py} & rm -rf path0/{a.py}", 0, "a.py is both made and removed"),
        (FOLDER, "mv path0/{a.py} path0/", 0, "touch and rm -rf alone"),
        (COUNTED, "3 chips: 20, 5, 5", 1, "right"),
        (COUNTED, "20, 5", 0, "not 5, 5, 20"),
        (STILL, "no operations", 1, "0 steps"),
    ],
)
def test_answers(target: ReasoningTarget, answer: str, value: float, note: str) -> None:
    score = verified_answer(f"<think>a1 up</think><answer>{answer}</answer>", target)
    assert score.value == value
    assert note in score.note


@pytest.mark.parametrize(
    ("completion", "value", "fault"),
    [
        ("The coins: a1. Final Answer: a2, a3", 1, None),
        ("**Final Answer:** a2, a3", 1, None),
        ("Final Answer: a1. Final Answer: a2, a3", 1, None),
        ("Final Answer: a1 <answer>a2, a3</answer>", 1, None),
        ("final answer: a2, a3", 0, "no_tag"),
        ("a2, a3", 0, "no_tag"),
        ("", 0, "no_tag"),
        ("<answer>ok</answer>", 0, "unreadable"),
    ],
)
def test_where_the_answer_stands(completion: str, value: float, fault: str | None) -> None:
    score = verified_answer(completion, SWAPPED)
    assert (score.value, score.fault) == (value, fault)


@pytest.mark.parametrize(
    ("target", "completion", "published", "ours"),
    [
        # From the first marker on: an answer that is stated twice keeps both statements.
        (SWAPPED, "Final Answer: a1. Final Answer: a2, a3", 0, 1),
        (SWAPPED, "Final Answer: a2, a3", 1, 1),
        # Illegal moves are passed over, and the others are carried out.
        (MOVED, "Final Answer: up, down", 1, 0),
        # Piles bottom first: the right answer is wrong, the pile upside down is right.
        (PILE, "Final Answer: remove 3 of Hearts from pile0, add King of Clubs to pile0", 0, 1),
        (
            PILE,
            "Final Answer: remove 3 of Hearts from pile0, remove 2 of Hearts from pile0, add King of Clubs to pile0, "
            "add 2 of Hearts to pile0",
            1,
            0,
        ),
        (STILL, "Final Answer: none", 0, 1),
        (FOLDER, "Final Answer: touch path0/{c.py, b.py} & rm -rf path0/{a.py}", 0, 1),
        (FOLDER, "Final Answer: touch path0/{c.py,b.py} & rm -rf path0/{a.py}", 1, 1),
    ],
)
def test_errors_of_the_released_code(target: ReasoningTarget, completion: str, published: int, ours: int) -> None:
    assert published_answer(completion, target).value == published
    assert verified_answer(completion, target).value == ours


def test_partial_credit_is_off_by_default_and_never_full() -> None:
    assert verified_answer("<answer>a2</answer>", SWAPPED, partial="items").value == pytest.approx(0.2 * 2 / 3)
    assert verified_answer("<answer>a2</answer>", SWAPPED, partial="items", partial_weight=1.0).value < 1
    assert verified_answer("<answer>a2</answer>", SWAPPED).value == 0
    # Two of four pieces of the latent state differ from the goal: 1 file too many, 2 missing; then 1 missing.
    half = "<answer>touch path0/{b.py} & rm -rf path0/{a.py}</answer>"
    assert verified_answer(half, FOLDER).value == 0
    assert verified_answer(half, FOLDER, partial="progress").value == pytest.approx(0.2 * (1 - 2 / 4))
    assert verified_answer("<answer>none</answer>", FOLDER, partial="progress").value == 0
    away = "<answer>touch path0/{d.py}</answer>"
    assert verified_answer(away, FOLDER, partial="progress").value == 0


@pytest.mark.parametrize("skill", SKILLS)
@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_the_written_target_is_right_and_a_constant_is_not(name: str, skill: str) -> None:
    targets = [random_target(name, skill, seed) for seed in range(12)]
    for target in targets:
        assert verified_answer(target.written(), target).value == 1.0
        assert ReasoningTarget.read(target.to_json()) == target
        assert target.format_problem(target.right_answer().written(), "") is None
    constant = targets[0].written()
    assert sum(verified_answer(constant, target).value for target in targets) < len(targets)


TARGETS = [random_target(name, skill, 3) for name in DEMONSTRATIONS for skill in SKILLS]


@given(st.sampled_from(TARGETS), st.text("a1b2 left(),:{}.pyof Hearts05cup", max_size=60))
def test_any_text_gets_a_value(target: ReasoningTarget, text: str) -> None:
    for reward in (verified_answer, published_answer):
        assert 0.0 <= reward(f"<answer>{text}</answer>", target).value <= 1.0
        assert 0.0 <= reward(f"Final Answer: {text}", target).value <= 1.0


@pytest.mark.parametrize(
    "piece", ["a1 ", "(a1, a2)", "left ", "5, ", "Final Answer", "touch path0/{", "start ", "King of "]
)
def test_a_megabyte_takes_little_time(piece: str) -> None:
    long, longest_read = piece * (1_000_000 // len(piece)), piece * (49_000 // len(piece))
    before = time.process_time()
    for target in TARGETS[::7]:
        for text in (long, longest_read):
            assert 0 <= verified_answer(f"<answer>{text}</answer>", target).value <= 1
            assert 0 <= published_answer(text, target).value <= 1
    assert time.process_time() - before < 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"demonstration": "dice"}, "demonstration: 'dice' is none of number, circle"),
        ({"skill": "guess"}, "skill: 'guess' is none of recall order"),
        ({"start": [[2, 0, 1]]}, "start: 2 is no value of a square"),
        ({"start": 5}, "start: is no list"),
        ({"operations": ["(a2, a1)"]}, "operations: '(a2, a1)' is no operation of cup"),
        ({"operations": ["(a1, a9)"]}, "step 1, '(a1, a9)': there is no cup a9"),
        ({"operations": [3]}, "operations: 3 is no text"),
        ({"ask": {"colour": "red"}}, "ask.colour: is none of first"),
        ({"ask": []}, "ask: [] is no object"),
        ({"ask": {"first": "1"}}, "ask.first: '1' is no number"),
        ({"skill": "recall order", "ask": {"first": 2, "last": 1}}, "first 2 and last 1 are no places"),
        ({"skill": "recall order", "ask": {"first": 1, "last": 3}}, "the video has no 3 operations"),
        ({"skill": "predict operation", "ask": {"goal": ["a1"]}}, "no way to it"),
        ({"ask": {"after": 9}}, "the video has 1 operations"),
    ],
)
def test_targets_that_cannot_be_answered(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        ReasoningTarget.read({**SWAPPED.to_json(), **change})
