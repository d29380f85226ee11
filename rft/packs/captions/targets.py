"""Captions with more than events: objects, subjects with attributes and actions; questions about a caption."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rewards.targets.caption import CaptionTarget, as_sentences
from rewards.targets.label import words_problem
from rewards.targets.values import read_list, read_text
from rewards.types import Fault, Target

Element = tuple[str, str, str]
"""(subject, attribute, action): ("boy", "in a red coat", "runs across the grass")."""


@dataclass(frozen=True, slots=True)
class ObjectsTarget(CaptionTarget):
    """Events, and objects with their attributes: "There is an old man with white hair"."""

    json_form = '{"events": ["what happens first", ...], "objects": ["There is ...", ...]}, with "text" or without'
    json_keys = (("events", "objects"), ("text", "events", "objects"))

    objects: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        text = read_text("text", data["text"], problems) if "text" in data else ""
        return cls(text, _texts("events", data["events"], problems), _texts("objects", data["objects"], problems))

    def to_json(self) -> dict[str, object]:
        text: dict[str, object] = {"text": self.text} if self.text else {}
        return {**text, "events": list(self.events), "objects": list(self.objects)}

    @property
    def told(self) -> str:
        return as_sentences((*self.events, *self.objects))


@dataclass(frozen=True, slots=True)
class StructuredTarget(CaptionTarget):
    """Events, and what a thought before the caption lists: who does what, and looks how."""

    json_form = '{"events": ["what happens first", ...], "elements": [["subject", "attribute", "action"], ...]}'
    json_keys = (("events", "elements"),)

    elements: tuple[Element, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        elements = []
        for i, element in enumerate(read_list("elements", data["elements"], 1, problems)):
            texts = _texts(f"elements[{i}]", element, problems)
            if len(texts) == 3:
                elements.append((texts[0], texts[1], texts[2]))
            else:
                problems.append(f"elements[{i}]: {len(texts)} texts; write a subject, an attribute and an action")
        return cls("", _texts("events", data["events"], problems), tuple(elements))

    def to_json(self) -> dict[str, object]:
        return {"events": list(self.events), "elements": [list(element) for element in self.elements]}

    @property
    def thought(self) -> str:
        """The elements, one a line: "boy | in a red coat | runs across the grass"."""
        return "\n".join(" | ".join(element) for element in self.elements)


@dataclass(frozen=True, slots=True)
class QuestionsTarget(Target):
    """Questions that a caption of the clip must answer, with the right answers."""

    json_form = '{"questions": [["question", "answer"], ...]}'
    json_keys = (("questions",),)
    answer_form = "<answer>caption</answer>"

    questions: tuple[tuple[str, str], ...]

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        questions = []
        for i, pair in enumerate(read_list("questions", data["questions"], 1, problems)):
            texts = _texts(f"questions[{i}]", pair, problems)
            if len(texts) == 2:
                questions.append((texts[0], texts[1]))
            else:
                problems.append(f"questions[{i}]: {len(texts)} texts; write a question and its answer")
        return cls(tuple(questions))

    def to_json(self) -> dict[str, object]:
        return {"questions": [list(pair) for pair in self.questions]}

    def written(self) -> str:
        return f"<answer>{as_sentences([answer for _, answer in self.questions])}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return words_problem(answer)


def _texts(where: str, value: object, problems: list[str]) -> tuple[str, ...]:
    return tuple(
        [read_text(f"{where}[{i}]", text, problems) for i, text in enumerate(read_list(where, value, 1, problems))]
    )
