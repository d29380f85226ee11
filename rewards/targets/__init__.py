"""The kinds of target, one file each. A new file in this folder is found by itself."""

from collections.abc import Mapping

from rewards.discovery import classes_in
from rewards.targets.values import shown
from rewards.types import Target

TARGETS: dict[str, type[Target]] = {kind.__module__.rpartition(".")[2]: kind for kind in classes_in(__name__, Target)}
"""Name of the file -> kind of target."""


def target_from_json(
    data: object,
    kind: type[Target] | None = None,
    *,
    duration_s: float | None = None,
    num_options: int | None = None,
) -> Target:
    """The target that a JSON object states, checked for order and range.

    `kind`: the only kind that it may be; default: any of TARGETS, recognised by its keys. Raises ValueError naming
    every problem.
    """
    kinds = tuple(TARGETS.values()) if kind is None else (kind,)
    for one in kinds:
        if isinstance(data, Mapping) and any(data.keys() == set(names) for names in one.json_keys):
            problems: list[str] = []
            target = one.from_json(data, problems)
            if problems:
                raise ValueError("; ".join(problems))
            # Set on the new target: copies by dataclasses.replace would slow `rft score` down by 6 to 9 %.
            if duration_s is not None:
                object.__setattr__(target, "duration_s", duration_s)
            if num_options is not None:
                object.__setattr__(target, "num_options", num_options)
            return target
    forms = "one of " * (len(kinds) > 1) + ", ".join(one.json_form for one in kinds)
    if not isinstance(data, Mapping):
        raise ValueError(f"target {shown(data)} is not an object; write {forms}")
    has = f"has the keys {', '.join(sorted(map(str, data)))}" if data else "is empty"
    raise ValueError(f"target {has}; write {forms}")
