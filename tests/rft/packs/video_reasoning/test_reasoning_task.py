"""The task: its questions, parts of an evaluation, and baselines."""

import pytest

from rft.packs.video_reasoning.demonstrations import DEMONSTRATIONS
from rft.packs.video_reasoning.targets import ReasoningTarget
from rft.tasks import TASKS

TASK = TASKS["video_reasoning"]
CUPS = TASK.example.target


def measured(answers: list[str], targets: list[ReasoningTarget]) -> list[float]:
    pairs = zip(answers, targets, strict=True)
    return [TASK.measure(answer, target)["accuracy"] for answer, target in pairs]


def test_a_question_says_what_is_shown_and_what_is_asked() -> None:
    text = TASK.prompt_text(TASK.example, think=False)
    assert "shown only at the start of the video" in text
    assert "What is the state at the end of the video?" in text
    own = TASK.row_type(**{**TASK.example.model_dump(), "question": "Where is the coin? "})
    assert TASK.question(own, TASK.target(own)) == "Where is the coin?"


@pytest.mark.parametrize(
    ("name", "skill", "ask", "text"),
    [
        ("file", "recall order", {"first": 1, "last": 1, "kind": "touch"}, "touch commands number 1 to 1"),
        ("file", "compare state", {"container": "path0", "other": "path1", "after": 1}, "After operation number 1"),
        ("file", "predict operation", {"container": "path0", "goal": ["a.py", "b.py"]}, 'rm -rf path0/{c.csv}"'),
        ("card", "compare state", {"container": "pile0", "change": "new"}, "at the end of the video and not"),
        ("chip", "compare state", {"container": "cup0"}, "value of cup0 higher"),
        ("chip", "predict state", {"container": "cup0", "operations": ["add 5 to cup0"]}, "follow: add 5 to cup0."),
        ("card", "recall order", {"first": 1, "last": 1, "kind": "add"}, "does the video add as number 1 to 1"),
    ],
)
def test_questions_in_our_own_words(name: str, skill: str, ask: dict[str, object], text: str) -> None:
    states = {
        "file": ({"path0": ["a.py"], "path1": []}, "touch path0/{b.py}"),
        "card": ({"pile0": ["King of Clubs"]}, "add Ace of Spades to pile0"),
        "chip": ({"cup0": [5]}, "add 20 to cup0"),
    }
    start, operation = states[name]
    data = {"demonstration": name, "skill": skill, "visible": "start", "start": start, "operations": [operation]}
    row = TASK.row_type(id="a", task="video_reasoning", video="a.mp4", target={**data, "ask": ask})
    question = TASK.question(row, TASK.target(row))
    assert text in question
    assert "None" not in question


@pytest.mark.parametrize(
    ("count", "part"), [(2, "2"), (5, "5 to 9"), (9, "5 to 9"), (10, "10 to 14"), (15, "15 and more")]
)
def test_parts_of_an_evaluation(count: int, part: str) -> None:
    target = ReasoningTarget.read({**CUPS, "operations": ["(a1, a2)"] * count})
    assert target.subsets() == (
        "level 2",
        "skill: infer state",
        "demonstration: cup",
        f"operations: {part}",
        "size: 1x3 board",
    )


def test_showing_the_files_is_no_operation() -> None:
    start = {"path0": ["a.py"]}
    data = {"demonstration": "file", "skill": "infer state", "visible": "start", "start": start}
    target = ReasoningTarget.read(
        {**data, "operations": ["ls path0", "rm -rf path0/{a.py}"], "ask": {"container": "path0"}}
    )
    assert "operations: 1" in target.subsets()


def test_baselines() -> None:
    there = ReasoningTarget.read({**CUPS, "operations": ["(a1, a2)", "(a1, a2)"]})
    moved = ReasoningTarget.read(CUPS)
    further = ReasoningTarget.read({**CUPS, "skill": "predict state", "ask": {"operations": ["(a1, a2)"]}})
    reached = ReasoningTarget.read({**CUPS, "skill": "predict operation", "ask": {"goal": ["a3"]}})
    equal = ReasoningTarget.read({**CUPS, "skill": "compare state", "operations": []})
    targets = [there, moved, further, reached, equal]
    answers = TASK.baselines([moved, moved, there], [(target, None) for target in targets])
    assert answers["no_change"] == [f"<answer>{text}</answer>" for text in ("a1", "a1", "a2", "(a1, a3)", "none")]
    assert measured(answers["no_change"], targets) == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert answers["majority"] == ["<answer>a2</answer>"] * 2 + [""] * 3
    assert TASK.baselines([], [(moved, None)])["majority"] == [moved.written()]


def test_no_change_where_the_shown_state_allows_no_such_steps() -> None:
    data = {"demonstration": "chip", "skill": "predict state", "visible": "start", "start": {"cup0": []}}
    ask = {"container": "cup0", "operations": ["remove 5 from cup0"]}
    target = ReasoningTarget.read({**data, "operations": ["add 5 to cup0"], "ask": ask})
    assert TASK.baselines([], [(target, None)])["no_change"] == ["<answer>none</answer>"]


def test_the_six_demonstrations() -> None:
    assert list(DEMONSTRATIONS) == ["number", "circle", "cup", "file", "card", "chip"]
