"""Answers to the example of a task of known quality: right, half right, wrong, blind, and of the wrong form."""

from rewards.targets.choice import LETTERS
from rewards.types import Target
from rft.tasks.types import Task, thought_before

HALF, WRONG = 0.4, 2.0
"""How far a span or box is moved, as part of its length or width. By 0.4: IoU 0.6 / 1.4."""

OTHER_TEXT = "something else"


def example_answers(task: Task) -> dict[str, str]:
    """What kind of answer it is -> completion, all about the task's example."""
    target = task.target(task.example)
    right = target.written()
    others = {name: changed(task, target, moved) for name, moved in (("half right", HALF), ("wrong", WRONG))}
    tags = {"right": right} | {name: other.written() for name, other in others.items() if other is not None}
    wrong = others["wrong"]
    # Baselines that fit themselves to targets would fit the example's own.
    blind = task.baselines(() if wrong is None else (wrong,), [(target, target.duration_s)])
    tags |= {f"blind: {name}": texts[0] for name, texts in blind.items() if texts[0] not in tags.values()}
    tags["empty tags"] = "".join(f"<{tag}></{tag}>" for tag in target.tags)
    return {
        **{name: thought_before(text) for name, text in tags.items()},
        "right, no thought": right,
        "right, said twice": thought_before(right + right),
        "right, cut off": thought_before(right)[: -len(f"</{target.tags[-1]}>")],
        "no tags": "I do not know.",
        "nothing": "",
    }


def changed(task: Task, target: Target, moved: float) -> Target | None:
    """Another target of the kind; None where the change leaves it as it is or makes it invalid.

    `moved`: how far spans and boxes are moved, as part of their length or width; from 1 on, texts and letters change.
    """
    data = {key: _changed(part, moved) for key, part in target.to_json().items()}
    try:
        other = task.read_target(data, duration_s=target.duration_s)
    except ValueError:
        return None
    return None if other == target else other


def _changed(value: object, moved: float) -> object:
    """A part of a target's JSON form: a list of 2 n numbers is a span or box of n dimensions, least corner first.

    An odd list of numbers belongs to things in a row: it is turned by one place.
    """
    if isinstance(value, list):
        if all(isinstance(part, int | float) for part in value):
            if len(value) % 2:
                return [*value[-1:], *value[:-1]] if moved >= 1 else value
            far = moved * (value[len(value) // 2] - value[0])
            # Only along the first dimension, so that the overlap is the same for spans and boxes.
            return [round(part + far, 3) if i % (len(value) // 2) == 0 else part for i, part in enumerate(value)]
        kept = value[: (len(value) + 1) // 2] if moved < 1 and isinstance(value[0], str) else value
        return [_changed(part, moved) for part in kept]
    if isinstance(value, str) and moved >= 1:
        return (LETTERS[1] if value == LETTERS[0] else LETTERS[0]) if value in LETTERS else OTHER_TEXT
    return value
