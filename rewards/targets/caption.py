"""What happens in the clip: a text, its events one by one, or both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from rewards.targets.label import words_problem
from rewards.targets.values import cell_texts, read_list, read_text
from rewards.types import Fault, Target


@dataclass(frozen=True, slots=True)
class CaptionTarget(Target):
    """What happens in the clip: CaptionTarget("A boy falls.", ()) or CaptionTarget("", ("A boy falls", "He cries"))."""

    json_form = '{"text": "what happens"}, {"events": ["what happens first", ...]} or both'
    json_keys: ClassVar[tuple[tuple[str, ...], ...]] = (("text",), ("events",), ("text", "events"))
    answer_form = "<answer>caption</answer>"

    text: str
    """Empty where the events alone are given."""
    events: tuple[str, ...]
    """Empty where only the text is given."""

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        text = read_text("text", data["text"], problems) if "text" in data else ""
        events = read_list("events", data["events"], 1, problems) if "events" in data else []
        return cls(text, tuple([read_text(f"events[{i}]", event, problems) for i, event in enumerate(events)]))

    @classmethod
    def from_cell(cls, key: str, cell: str) -> object:
        return cell if key == "text" else cell_texts(cell)

    def to_json(self) -> dict[str, object]:
        text: dict[str, object] = {"text": self.text} if self.text else {}
        return {**text, "events": list(self.events)} if self.events else text

    @property
    def told(self) -> str:
        """The events as sentences, or the text where there are none."""
        return as_sentences(self.events) or self.text

    @property
    def reference(self) -> str:
        """All that is known of the clip: the text and the events."""
        return f"{self.text}\n{self.told}" if self.text and self.events else self.told

    def written(self) -> str:
        return f"<answer>{self.told}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return words_problem(answer)

    def category(self) -> str | None:
        return f"{len(self.events)} events"


def as_sentences(statements: Iterable[str]) -> str:
    """The statements one after another, each with the mark of a sentence at its end."""
    return " ".join(one if one.endswith((".", "!", "?")) else f"{one}." for one in statements)
