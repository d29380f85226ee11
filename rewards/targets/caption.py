"""What happens in the clip: a text, or its events one by one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rewards.targets.label import words_problem
from rewards.targets.values import cell_texts, read_list, read_text
from rewards.types import Fault, Target


@dataclass(frozen=True, slots=True)
class CaptionTarget(Target):
    """What happens in the clip: CaptionTarget("A boy falls.", ()) or CaptionTarget("", ("A boy falls", "He cries"))."""

    json_form = '{"text": "what happens"} or {"events": ["what happens first", ...]}'
    json_keys = (("text",), ("events",))
    answer_form = "<answer>caption</answer>"

    text: str
    """Empty where the events are given."""
    events: tuple[str, ...]
    """Empty where only the text is given."""

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        if "text" in data:
            return cls(read_text("text", data["text"], problems), ())
        events = read_list("events", data["events"], 1, problems)
        return cls("", tuple([read_text(f"events[{i}]", event, problems) for i, event in enumerate(events)]))

    @classmethod
    def from_cell(cls, key: str, cell: str) -> object:
        return cell if key == "text" else cell_texts(cell)

    def to_json(self) -> dict[str, object]:
        return {"events": list(self.events)} if self.events else {"text": self.text}

    def written(self) -> str:
        events = [event if event.endswith((".", "!", "?")) else f"{event}." for event in self.events]
        return f"<answer>{' '.join(events) or self.text}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return words_problem(answer)

    def category(self) -> str | None:
        return f"{len(self.events)} events"
