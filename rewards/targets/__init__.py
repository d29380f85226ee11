"""The kinds of target, one file each. A new file in this folder is found by itself."""

from rewards.discovery import classes_in
from rewards.targets.values import shown
from rewards.types import Target

TARGETS: dict[str, type[Target]] = {kind.__module__.rpartition(".")[2]: kind for kind in classes_in(__name__, Target)}
"""Name of the file -> kind of target."""


def target_from_json(data: object, *, duration_s: float | None = None) -> Target:
    """The target that a JSON object states, of the kind whose keys it has. Raises ValueError naming every problem."""
    forms = f"one of {', '.join(kind.json_form for kind in TARGETS.values())}"
    if not isinstance(data, dict):
        raise ValueError(f"target {shown(data)} is not an object; write {forms}")
    for kind in TARGETS.values():
        if kind.fits(data):
            return kind.read(data, duration_s=duration_s)
    has = f"has the keys {', '.join(sorted(map(str, data)))}" if data else "is empty"
    raise ValueError(f"target {has}; write {forms}")
