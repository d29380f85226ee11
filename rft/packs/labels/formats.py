"""VidTAB's lists (VideoEval, arXiv:2407.06491): a clip and the number of its label a line, a map of labels beside."""

import ast
import re
from collections import Counter
from pathlib import Path
from typing import Any

from rft.data.convert.source import Format, Published, SourceRequest
from rft.errors import NAMED_PROBLEMS, DataError, listed

QUESTIONS = {
    "AR_in_Dark": "What does the person in this dark video do?",
    "AR_in_Long_Video": "What does the person in this video prepare?",
    "Animal_Behavior": "What does the animal in this video do?",
    "Emotion_Analysis": "Which emotion does the person in this video show?",
    "Fake_Face": "Is the face in this video genuine?",
    "Harmful_Content": "Does this cartoon hold anything that may harm children?",
    "Medical_Surgery": "Which action of a surgeon does this video show?",
    "Quality_Access": "How good is this video: how it looks, and how well it was recorded?",
}
"""Folder of a task -> our question; none is published."""

_SHOTS = re.compile(r"train_(\d+)(?:_fold(\d))?")


def read_vidtab(request: SourceRequest) -> Published:
    """One draft per line. DataError: lines or a map of another shape, or a number that the map does not have."""
    source = request.source
    task, split = source.parent.name, request.split or _split(source.stem)
    lines = _lines(source)
    names, offset = _names(source.with_name("label_map.txt"), {number for _, number in lines})
    dataset = f"vidtab_{task}/{split}"
    drafts = tuple(
        request.draft(
            dataset,
            f"{place}/{video}",
            [video],
            question=QUESTIONS.get(task, "Which label fits this video?"),
            labels=list(names.values()),
            target={"label": names[number]},
        )
        for place, (video, number) in enumerate(lines, 1)
    )
    numbers: dict[str, set[int]] = {}
    for video, number in lines:
        numbers.setdefault(video, set()).add(number)
    counts = Counter(names[number] for _, number in lines)
    facts = (
        ("clips by label", ", ".join(f"{name} {counts[name]:,}" for name in names.values())),
        ("label map against list", f"the map counts from {offset}, the list from 0" if offset else "the same numbers"),
        ("videos on several lines", f"{sum(count > 1 for count in Counter(video for video, _ in lines).values()):,}"),
        ("of these, with several labels", f"{sum(len(of_video) > 1 for of_video in numbers.values()):,}"),
    )
    if split == "test":
        return Published(drafts, facts)
    held_out = {
        video for file in source.parent.glob("*.txt") if _split(file.stem) == "test" for video, _ in _lines(file)
    }
    shared = len(numbers.keys() & held_out)
    warnings = (f"{shared} videos stand in the test list too.",) if shared else ()
    return Published(drafts, (*facts, ("videos of the test list", f"{shared:,}")), warnings)


def _split(stem: str) -> str:
    """The split of a list by its name: "16shot_fold2", "100shot", "train" or "test", which has four names."""
    shots = _SHOTS.fullmatch(stem)
    if shots:
        return f"{shots[1]}shot" + (f"_fold{shots[2]}" if shots[2] else "")
    return "test" if stem in ("test", "val", "val_test", "validation_test") else stem


def _lines(path: Path) -> list[tuple[str, int]]:
    """(path of the video, number of its label) of each line; the number is the last field."""
    pairs, problems = [], []
    for number, line in enumerate(_text(path).splitlines(), 1):
        video, _, label = line.rpartition(" ")
        if video.strip() and label.isdecimal():
            pairs.append((video.strip(), int(label)))
        else:
            problems.append(f"{path}:{number}: {line[:60]!r} is no path and number of a label")
    if problems:
        raise DataError(listed(problems, NAMED_PROBLEMS))
    return pairs


def _names(path: Path, used: set[int]) -> tuple[dict[int, str], int]:
    """(number in the lists -> name, in the order of the numbers; first number of the map).

    Medical_Surgery's map counts from 1, its lists from 0: where 0 is used and the map begins later, its numbers are
    moved. DataError: the map is no literal of numbers and names, or lacks a number.
    """
    try:
        literal: Any = ast.literal_eval(_text(path))
        named = {int(key): _name(value) for key, value in literal.items()}
    except (ValueError, SyntaxError, AttributeError, KeyError, TypeError, MemoryError, RecursionError) as error:
        raise DataError(f"{path}: no map of numbers to names in Python's notation: {error}") from error
    offset = min(named, default=0) if 0 in used else 0
    names = {number - offset: named[number] for number in sorted(named)}
    missing = sorted(used - names.keys())
    if missing:
        raise DataError(f"{path}: no name for {', '.join(map(str, missing))}, which the list beside it uses")
    return names, offset


def _name(value: Any) -> str:
    """A label in words: "needle_puncture" without the line, {"Action": "Eating", ...} by its action."""
    return str(value["Action"] if isinstance(value, dict) else value).replace("_", " ")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


FORMATS = {"vidtab": Format(("labels",), read_vidtab)}
