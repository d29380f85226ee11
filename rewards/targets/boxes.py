"""The boxes of an object, one per queried frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from rewards.parsing import parse_boxes
from rewards.targets.values import read_list, read_numbers, shown, write_number
from rewards.types import Box, Fault, Target


@dataclass(frozen=True, slots=True)
class BoxesTarget(Target):
    """One box per queried frame, in time order: BoxesTarget(((0.1, 0.2, 0.3, 0.45), (0.12, 0.2, 0.32, 0.45)))."""

    json_form = '{"boxes": [[x0, y0, x1, y1], ...]}'
    json_keys = (("boxes",),)
    answer_form = "<answer>[[left, top, right, bottom], ...]</answer>"

    boxes: tuple[Box, ...]
    """The first is the start box that the prompt gives."""

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        boxes = read_list("boxes", data["boxes"], 2, problems)
        return cls(tuple([_read_box(f"boxes[{i}]", box, problems) for i, box in enumerate(boxes)]))

    def to_json(self) -> dict[str, object]:
        return {"boxes": [list(box) for box in self.boxes]}

    def written(self) -> str:
        return f"<answer>[{', '.join(map(write_box, self.boxes))}]</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        boxes = parse_boxes(answer)
        if boxes is None:
            return "the answer is no list of boxes", "unreadable"
        if len(boxes) != len(self.boxes):
            return f"the answer has {len(boxes)} boxes, asked for {len(self.boxes)}", "wrong_count"
        return None

    def frame_boxes(self) -> tuple[Box, ...]:
        return self.boxes


def write_box(box: Sequence[float]) -> str:
    """The box as prompts and answers show it: "[0.1, 0.2, 0.3, 0.45]"."""
    return f"[{', '.join(map(write_number, box))}]"


def _read_box(where: str, value: object, problems: list[str]) -> Box:
    # Fast path: most boxes are valid.
    if type(value) is list and len(value) == 4:
        x0, y0, x1, y1 = value
        if type(x0) is type(y0) is type(x1) is type(y1) is float and 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1:
            return (x0, y0, x1, y1)
    numbers = read_numbers(where, value, 4, problems)
    if numbers is None:
        return (0.0, 0.0, 0.0, 0.0)
    x0, y0, x1, y1 = numbers
    if min(numbers) < 0 or max(numbers) > 1:
        problems.append(f"{where}: {shown(value)} is not in [0, 1]; divide x by the width, y by the height")
    if x1 <= x0 or y1 <= y0:
        problems.append(f"{where}: {shown(value)} is not [left, top, right, bottom] with left < right, top < bottom")
    return (x0, y0, x1, y1)
