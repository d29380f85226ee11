import pytest

from rewards.targets import target_from_json
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


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"choice: .*spans\[0\]: .*spans\[1\]: "):
        target_from_json({"choice": "x", "spans": [[2, 1], [4, 3]]})
