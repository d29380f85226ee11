import pytest

from rewards.targets import TARGETS, target_from_json
from rewards.targets.boxes import BoxesTarget
from rewards.targets.choice import ChoiceTarget
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.span import SpanTarget


@pytest.mark.parametrize(
    ("data", "target"),
    [
        ({"span": [1, 2.5]}, SpanTarget(1.0, 2.5)),
        ({"choice": "C"}, ChoiceTarget("C")),
        ({"choice": "C", "spans": [[0, 1], [2, 3]]}, GroundedChoiceTarget("C", ((0.0, 1.0), (2.0, 3.0)))),
        ({"boxes": [[0, 0, 1, 1], [0, 0, 0.5, 1]]}, BoxesTarget(((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0)))),
    ],
)
def test_targets_survive_json(data, target) -> None:
    assert target_from_json(data) == target
    assert target_from_json(target.to_json()) == target


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "empty; write one of"),
        ([1, 2], "not an object"),
        ({"span": [1, 2], "choice": "A"}, "keys choice, span"),
        ({"spam": [1, 2]}, "keys spam"),
        ({"span": [2, 1]}, "ends at 1.0 s, not after its start"),
        ({"span": [2, 2]}, "not after its start"),
        ({"span": [-1, 2]}, "starts at -1.0 s"),
        ({"span": [-0.3, 2.0]}, "starts at -0.3 s"),
        ({"span": [2.0, 2.0]}, "not after its start"),
        ({"span": [0.0, 1e15]}, "not a list of 2 finite numbers"),
        ({"span": [1]}, "not a list of 2 finite numbers"),
        ({"span": ["1", "2"]}, "not a list of 2 finite numbers"),
        ({"span": [0, float("nan")]}, "not a list of 2 finite numbers"),
        ({"span": [0, 10**400]}, "not a list of 2 finite numbers"),
        ({"span": [False, True]}, "not a list of 2 finite numbers"),
        ({"span": None}, "not a list of 2 finite numbers"),
        ({"choice": "(C)"}, "write the letter alone"),
        ({"choice": "c"}, "write the letter alone"),
        ({"choice": 3}, "write the letter alone"),
        ({"choice": "C", "spans": []}, "not a list of at least 1"),
        ({"choice": "C", "spans": [[0, 1], [3, 2]]}, r"spans\[1\]: ends at"),
        ({"boxes": [[0, 0, 1, 1]]}, "at least 2"),
        ({"boxes": [[0, 0, 1, 1], [10, 20, 30, 40]]}, r"boxes\[1\]: .* divide x by the width"),
        ({"boxes": [[0, 0, 1, 1], [0.5, 0, 0.4, 1]]}, "left < right"),
        ({"boxes": [[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.6, 0.5]]}, "top < bottom"),
        ({"boxes": [[0, 0, 1, 1], [0, 0, 1]]}, "4 finite numbers"),
    ],
)
def test_bad_targets_are_explained(data, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        target_from_json(data)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ValueError, match=r"choice: .*spans\[0\]: .*spans\[1\]: "):
        target_from_json({"choice": "x", "spans": [[2, 1], [4, 3]]})


def test_every_kind_is_recognised_by_its_keys() -> None:
    forms = [frozenset(keys) for kind in TARGETS.values() for keys in kind.json_keys]
    assert len(set(forms)) == len(forms)
    assert set(TARGETS) == {"span", "choice", "grounded_choice", "boxes", "label", "caption"}


def test_what_a_target_says_of_itself() -> None:
    grounded = GroundedChoiceTarget("C", ((0.0, 1.5), (2.0, 3.0)))
    assert grounded.written() == "<answer>C</answer><glue>[(0.0, 1.5), (2.0, 3.0)]</glue>"
    assert grounded.time_spans() == {"spans[0]": (0.0, 1.5), "spans[1]": (2.0, 3.0)}
    assert (grounded.category(), grounded.frame_boxes()) == ("C", ())
    boxes = BoxesTarget(((0.0, 0.0, 1.0, 1.0), (0.0, 0.25, 0.5, 1.0)))
    assert boxes.written() == "<answer>[[0.0, 0.0, 1.0, 1.0], [0.0, 0.25, 0.5, 1.0]]</answer>"
    assert (boxes.category(), boxes.time_spans()) == (None, {})


def test_facts_of_the_row_are_no_part_of_the_form() -> None:
    data = {"choice": "C", "spans": [[0.0, 1.5]]}
    target = GroundedChoiceTarget.read(data, duration_s=9.0, num_options=4)
    assert (target.duration_s, target.num_options) == (9.0, 4)
    assert target == target_from_json(data)
    assert target.to_json() == data


@pytest.mark.parametrize(
    ("kind", "key", "cell", "value"),
    [
        ("span", "span", "[1.5, 4]", [1.5, 4]),
        ("choice", "choice", "[x]", "[x]"),
        ("grounded_choice", "spans", "[[1, 2]]", [[1, 2]]),
        ("label", "label", "7", "7"),
        ("caption", "text", "A boy | a dog", "A boy | a dog"),
        ("caption", "events", "A boy falls | he cries", ["A boy falls", "he cries"]),
        ("caption", "events", '["A boy falls"]', ["A boy falls"]),
    ],
)
def test_cells_of_a_table(kind: str, key: str, cell: str, value: object) -> None:
    assert TARGETS[kind].from_cell(key, cell) == value
