"""Tasks of captions: their targets, metrics over a corpus and blind captions."""

from typing import Any

import pytest

from rewards.targets.caption import CaptionTarget
from rft.tasks import TASKS

NAMES = ("caption_objects", "caption_questions", "caption_words", "structured_caption")


@pytest.mark.parametrize("name", NAMES)
def test_the_written_target_earns_everything_and_another_rows_does_not(name: str) -> None:
    task = TASKS[name]
    target = task.target(task.example)
    assert set(task.measure(task.target_completion(target, True), target).values()) == {1.0}
    other = "<think>dog | wet | sleeps</think><answer>Somewhere else it rains.</answer>"
    values = task.measure(other, target)
    assert values.pop("well_formed") == 1
    assert set(values.values()) == {0.0}
    assert task.read_target(target.to_json()) == target


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("caption_objects", {"events": ["a"], "objects": []}, r"objects: \[\] is not a list of at least 1"),
        ("caption_objects", {"events": ["a"]}, "needs .*objects"),
        ("caption_questions", {"questions": [["Who?"]]}, r"questions\[0\]: 1 texts; write a question and its answer"),
        ("caption_questions", {"questions": [["Who?", "?"]]}, r"questions\[0\]: '\?' holds no words"),
        ("structured_caption", {"events": ["a"], "elements": [["a", "b"]]}, r"elements\[0\]: 2 texts; write a subject"),
        ("structured_caption", {"events": ["a"], "elements": [["a", "-", "b"]]}, r"elements\[0\]\[1\]: '-' holds no"),
        ("caption_words", {"text": "..."}, r"target\[0\]: '\.\.\.' holds no words"),
    ],
)
def test_targets_that_cannot_be(name: str, target: dict[str, Any], message: str) -> None:
    task = TASKS[name]
    row = task.row_type(id="a", task=name, video="a.mp4", target=target)
    with pytest.raises(ValueError, match=message):
        task.target(row)


def test_f1_of_means_is_not_the_mean_of_f1() -> None:
    target = CaptionTarget("", ("a",))
    judged = [
        (target, {"event_recall": 1.0, "event_precision": 0.2}),
        (target, {"event_recall": 0.2, "event_precision": 1.0}),
    ]
    # Means 0.6 and 0.6; the mean of F1 is 1/3.
    assert TASKS["caption"].corpus_metrics(judged) == pytest.approx({"event_f1_of_means": 0.6})
    none = [(target, {"event_recall": 0.0, "event_precision": 0.0})]
    assert TASKS["caption"].corpus_metrics(none) == {"event_f1_of_means": 0.0}


def test_the_released_accuracy_leaves_out_captions_without_a_right_answer() -> None:
    target = TASKS["caption_questions"].target(TASKS["caption_questions"].example)
    judged = [(target, {"accuracy": value}) for value in (0.0, 0.5, 1.0, 0.0)]
    assert TASKS["caption_questions"].corpus_metrics(judged) == {"accuracy_as_published": 0.75}
    assert TASKS["caption_questions"].corpus_metrics(judged[:1]) == {}


def test_blind_captions() -> None:
    train = [CaptionTarget("", events) for events in (("a b", "c d"), ("c d",), ("c d",), ("a b",), ("e f",))]
    blind = TASKS["caption"].baselines(train, [(CaptionTarget("", ("a b",)), None)] * 2)
    assert blind == {"majority": ["<answer>c d.</answer>"] * 2, "frequent_events": ["<answer>c d. a b.</answer>"] * 2}
    assert TASKS["caption"].baselines((), [(CaptionTarget("One text.", ()), None)]) == {
        "majority": ["<answer>One text.</answer>"]
    }
