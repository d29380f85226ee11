"""File: shell commands over one or two folders. A state is {"path0": [names], ..}, names in alphabetical order.

As in a shell, `touch` of a file that is there and `rm -rf` of one that is not change nothing; `cp` and `mv` of a file
that is not there are illegal.
"""

import random
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from rft.packs.video_reasoning.demonstrations.reading import Reader
from rft.packs.video_reasoning.demonstrations.types import (
    Ask,
    Demonstration,
    IllegalOperation,
    Items,
    Operated,
    Readers,
    Skill,
)

EXTENSIONS = (".txt", ".csv", ".json", ".py")
LETTERS = "abcdefghijklmnopqrstuvwxyz"

_NAME = r"[\w-]{1,20}+\.(?:txt|csv|json|py)\b"
_COMMAND = re.compile(
    r"\b(touch|rm|cp|mv|ls)\b(?:\s++-[rf]{1,2}+)?+\s++(path[0-9])(?:/(?:\{([^{}]*+)\}|"
    rf"({_NAME}))|/?+)(?:\s++(path[0-9])\b/?+)?+"
)
_FILES = Reader(re.compile(rf"(?<![\w./-]){_NAME}|(?<=/){_NAME}"), lambda m: m[0])


def command(verb: str, folder: str, names: Sequence[str], to: str = "") -> str:
    """A command as it is compared, its files in alphabetical order: "cp path0/{a.py,b.txt} path1/"."""
    if verb == "ls":
        return f"ls {folder} {to}".strip()
    return f"{'rm -rf' if verb == 'rm' else verb} {folder}/{{{','.join(sorted(names))}}}{f' {to}/' if to else ''}"


def _item(match: re.Match[str]) -> str:
    verb, folder, braced, single, to = match.groups()
    names = [single] if single else [name.strip() for name in (braced or "").split(",") if name.strip()]
    return command(verb, folder, names, to or "")


_COMMANDS = Reader(_COMMAND, _item, _FILES.pattern)


class File(Demonstration):
    name = "file"
    has_containers = True
    readers: ClassVar[Readers] = {
        "recall order": _COMMANDS,
        "recall count": _FILES,
        "infer state": _FILES,
        "compare state": _FILES,
        "predict state": _FILES,
        "predict operation": _COMMANDS,
    }

    def state_problem(self, state: object) -> str | None:
        if not isinstance(state, dict) or not state or not all(re.fullmatch("path[0-9]", str(key)) for key in state):
            return 'is no {"path0": [names], ..}'
        names = [name for files in state.values() if isinstance(files, list) for name in files]
        odd = [name for name in names if not isinstance(name, str) or not re.fullmatch(_NAME, name)]
        if odd or not all(isinstance(files, list) and files == sorted(set(files)) for files in state.values()):
            return f"{odd[0]!r:.30} is no file name" if odd else "the names of a path are no list in alphabetical order"
        return None

    def apply(self, state: Any, operation: str) -> Any:
        verb, folder, names, to = _parts(operation)
        if folder not in state or (to and to not in state):
            raise IllegalOperation("there is no such path")
        if verb == "ls":
            return state
        if (verb in ("cp", "mv")) != bool(to) or not names:
            raise IllegalOperation("names no files, or not the paths that it needs")
        files = {path: set(held) for path, held in state.items()}
        if to and not names <= files[folder]:
            raise IllegalOperation(f"{min(names - files[folder])} is not in {folder}")
        if verb in ("rm", "mv"):
            files[folder] -= names
        if verb != "rm":
            files[to or folder] |= names
        return {path: sorted(held) for path, held in files.items()}

    def rule_problem(self, operations: Sequence[str]) -> str | None:
        parts = [_parts(operation) for operation in operations]
        if len(parts) > 2 or any(verb not in ("touch", "rm") for verb, _, _, _ in parts):
            return "at most two commands, touch and rm -rf alone"
        made, removed = (
            {name for verb, _, names, _ in parts if verb == wanted for name in names} for wanted in ("touch", "rm")
        )
        return f"{min(made & removed)} is both made and removed" if made & removed else None

    def counts(self, operation: str) -> bool:
        return not operation.startswith("ls ")

    def recalled(self, video: Operated, skill: Skill, ask: Ask) -> Items:
        of_kind = [operation for operation in video.operations if operation.startswith(ask.kind)]
        if skill == "recall order":
            return Items(tuple(of_kind[ask.first - 1 : ask.last]), "list")
        names = {name for operation in of_kind for name in _parts(operation)[2]}
        return Items(tuple(sorted(name for name in names if name.endswith(ask.extension))))

    def shown(self, state: Any, ask: Ask) -> Items:
        return Items(tuple(name for name in state[ask.container] if name.endswith(ask.extension)))

    def compared(self, video: Operated, ask: Ask) -> Items:
        if ask.other:
            after = video.states[ask.after]
            there, taken = after[ask.container], after[ask.other]
        else:
            first, last = (state[ask.container] for state in (video.states[0], video.states[-1]))
            there, taken = (first, last) if ask.change == "gone" else (last, first)
        return Items(tuple(name for name in there if name not in taken))

    def solution(self, state: Any, ask: Ask) -> tuple[str, ...] | None:
        has, goal = set(state[ask.container]), set(ask.goal)
        changes = (("touch", goal - has), ("rm", has - goal))
        return tuple(command(verb, ask.container, sorted(names)) for verb, names in changes if names)

    def size(self, state: Any) -> str:
        return f"{len(state)} path{'s' if len(state) > 1 else ''}"

    def random_state(self, size: int, rng: random.Random) -> Any:
        every = [letter + extension for letter in LETTERS for extension in EXTENSIONS]
        return {f"path{i}": sorted(rng.sample(every, rng.randint(10, 15))) for i in range(size)}

    def random_operation(self, state: Any, rng: random.Random) -> str:
        folder, *others = rng.sample(list(state), min(2, len(state)))
        absent = [letter + ext for letter in LETTERS for ext in EXTENSIONS if letter + ext not in state[folder]]
        movable = [name for name in state[folder] if others and name not in state[others[0]]]
        can = {"touch": absent, "rm": state[folder], "cp": movable, "mv": movable}
        verb = rng.choice([verb for verb, names in can.items() if names])
        names = rng.sample(can[verb], rng.randint(1, min(4, len(can[verb]))))
        return command(verb, folder, names, others[0] if verb in ("cp", "mv") else "")


def _parts(operation: str) -> tuple[str, str, set[str], str]:
    """(verb, path, names, other path) of a command. Raises IllegalOperation."""
    match = _COMMAND.fullmatch(operation)
    if match is None:
        raise IllegalOperation("is no command")
    names = [match[4]] if match[4] else (match[3] or "").split(",")
    return match[1], match[2], {name for name in names if name}, match[5] or ""
