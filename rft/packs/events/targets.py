"""What is true of a clip's events: their spans, moments, captions, order, or how much each part stands out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from rewards.parsing import parse_timed_texts
from rewards.targets.choice import choice_problem, read_choice
from rewards.targets.span import read_span
from rewards.targets.values import read_list, read_numbers, read_text, shown, write_number
from rewards.types import Fault, Span, Target
from rft.packs.events.reading import MOST_EVENTS, answered_order, answered_saliency, answered_spans, answered_time


def write_span(span: Span) -> str:
    """A span as answers have it: "1.5 - 3.0"."""
    return f"{write_number(max(span[0], 0.0))} - {write_number(span[1])}"


@dataclass(frozen=True, slots=True)
class SpansTarget(Target):
    """All spans in which an event happens: SpansTarget(((1.0, 2.5), (4.0, 5.5)))."""

    json_form = '{"spans": [[start_s, end_s], ...]}'
    json_keys = (("spans",),)
    answer_form = "<answer>start - end, start - end</answer>"

    spans: tuple[Span, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        return cls(_read_spans("spans", data["spans"], problems))

    def to_json(self) -> dict[str, object]:
        return {"spans": [list(span) for span in self.spans]}

    def written(self) -> str:
        return f"<answer>{', '.join(write_span(span) for span in self.spans)}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return spans_problem(answer)

    def time_spans(self) -> dict[str, Span]:
        return {f"spans[{i}]": span for i, span in enumerate(self.spans)}

    def subsets(self) -> tuple[str, ...]:
        return ("one span",) if len(self.spans) == 1 else ("several spans",)


@dataclass(frozen=True, slots=True)
class AnyOfTarget(Target):
    """Spans of which one is to be answered: AnyOfTarget(((1.0, 2.5), (4.0, 5.5)))."""

    json_form = '{"any_of": [[start_s, end_s], ...]}'
    json_keys = (("any_of",),)
    answer_form = "<answer>start - end</answer>"

    spans: tuple[Span, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        return cls(_read_spans("any_of", data["any_of"], problems))

    def to_json(self) -> dict[str, object]:
        return {"any_of": [list(span) for span in self.spans]}

    def written(self) -> str:
        return f"<answer>{write_span(self.spans[0])}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return one_span_problem(answer)

    def time_spans(self) -> dict[str, Span]:
        return {f"any_of[{i}]": span for i, span in enumerate(self.spans)}


@dataclass(frozen=True, slots=True)
class LetterAndSpanTarget(Target):
    """The right option's letter, and spans of which one is to be given with it: ("A", ((16.8, 19.5),))."""

    json_form = '{"choice": "A", "any_of": [[start_s, end_s], ...]}'
    json_keys = (("choice", "any_of"),)
    answer_form = "<answer>(letter) start - end</answer>"
    text_keys = ("choice",)

    choice: str
    spans: tuple[Span, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        return cls(read_choice(data["choice"], problems), _read_spans("any_of", data["any_of"], problems))

    def to_json(self) -> dict[str, object]:
        return {"choice": self.choice, "any_of": [list(span) for span in self.spans]}

    def written(self) -> str:
        return f"<answer>({self.choice}) {write_span(self.spans[0])}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return choice_problem(answer) or one_span_problem(answer)

    def time_spans(self) -> dict[str, Span]:
        return {f"any_of[{i}]": span for i, span in enumerate(self.spans)}

    def category(self) -> str | None:
        return self.choice


@dataclass(frozen=True, slots=True)
class MomentTarget(Target):
    """Spans in which the answered time may lie: MomentTarget(((26.0, 34.0),))."""

    json_form = '{"moments": [[start_s, end_s], ...]}'
    json_keys = (("moments",),)
    answer_form = "<answer>seconds</answer>"

    spans: tuple[Span, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        return cls(_read_spans("moments", data["moments"], problems))

    def to_json(self) -> dict[str, object]:
        return {"moments": [list(span) for span in self.spans]}

    def written(self) -> str:
        start, end = self.spans[0]
        return f"<answer>{write_number(round((start + end) / 2, 3))}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return None if answered_time(answer) is not None else ("the answer is not one time", "unreadable")

    def time_spans(self) -> dict[str, Span]:
        return {f"moments[{i}]": span for i, span in enumerate(self.spans)}


@dataclass(frozen=True, slots=True)
class TimedCaptionsTarget(Target):
    """Events with captions: TimedCaptionsTarget((((0.0, 13.0), "clean the face"), ((13.0, 25.0), "dry it")))."""

    json_form = '{"captions": [{"span": [start_s, end_s], "text": "what happens"}, ...]}'
    json_keys = (("captions",),)
    answer_form = "<answer>start - end, what happens. start - end, what happens.</answer>"

    events: tuple[tuple[Span, str], ...]

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        events = []
        for i, event in enumerate(read_list("captions", data["captions"], 1, problems)):
            where = f"captions[{i}]"
            if not isinstance(event, Mapping) or event.keys() != {"span", "text"}:
                problems.append(f"{where}: {shown(event)} has not the keys span and text")
                continue
            span = read_span(f"{where}.span", event["span"], problems)
            events.append((span, read_text(f"{where}.text", event["text"], problems)))
        return cls(tuple(events))

    def to_json(self) -> dict[str, object]:
        return {"captions": [{"span": list(span), "text": text} for span, text in self.events]}

    def written(self) -> str:
        events = (f"{write_span(span)}, {text.rstrip('.')}." for span, text in self.events)
        return f"<answer>{' '.join(events)}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        events = parse_timed_texts(answer)
        if events is None:
            return "the answer holds no 'start - end, words'", "unreadable"
        if any(not words for _, words in events):
            return "a span of the answer has no words", "wrong_count"
        return ("a span ends before it starts", "reversed") if any(end < start for (start, end), _ in events) else None

    def time_spans(self) -> dict[str, Span]:
        return {f"captions[{i}].span": span for i, (span, _) in enumerate(self.events)}


@dataclass(frozen=True, slots=True)
class OrderTarget(Target):
    """Names in the order in which they happen: OrderTarget(("red", "green", "blue"))."""

    json_form = '{"order": ["first name", "second name", ...]}'
    json_keys = (("order",),)
    answer_form = "<answer>names, first to happen first</answer>"

    order: tuple[str, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        listed = read_list("order", data["order"], 2, problems)
        target = cls(tuple(read_text(f"order[{i}]", name, problems) for i, name in enumerate(listed)))
        for i, name in enumerate(target.order):
            count = len(answered_order(name))
            if name and count != 1:
                problems.append(f"order[{i}]: {shown(name)} is read as {count} names; call it by a word or a letter")
        if len(set(target.names)) < len(target.names):
            problems.append("order: two names are the same but for capitals and punctuation")
        return target

    def to_json(self) -> dict[str, object]:
        return {"order": list(self.order)}

    @property
    def names(self) -> tuple[str, ...]:
        """The names as answers are read."""
        return tuple(name for written in self.order for name in answered_order(written))

    def written(self) -> str:
        return f"<answer>{', '.join(self.order)}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return order_problem(answered_order(answer))

    def subsets(self) -> tuple[str, ...]:
        return (f"{len(self.order)} names",)


@dataclass(frozen=True, slots=True)
class SaliencyTarget(Target):
    """How much each part of a clip stands out, by every annotator: SaliencyTarget(2.0, ((0, 1), (4, 3), (0, 0)))."""

    json_form = '{"part_s": seconds, "saliency": [[score of each annotator], ... for each part]}'
    json_keys = (("part_s", "saliency"),)
    answer_form = "<answer>start: score, start: score</answer>"

    part_s: float
    """Seconds of one part; the last may be shorter."""
    saliency: tuple[tuple[float, ...], ...]
    """Scores 0 to 4 of the annotators, part by part."""

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        seconds = read_numbers("part_s", [data["part_s"]], 1, problems) or (1.0,)
        if seconds[0] <= 0:
            problems.append(f"part_s: {seconds[0]:g} is not above 0")
        parts = read_list("saliency", data["saliency"], 1, problems)
        annotators = len(parts[0]) if parts and isinstance(parts[0], Sequence) else 1
        scores = [read_numbers(f"saliency[{i}]", part, max(annotators, 1), problems) for i, part in enumerate(parts)]
        wrong = [i for i, part in enumerate(scores) if part and not all(0 <= score <= 4 for score in part)]
        problems += [f"saliency[{i}]: scores go from 0 to 4" for i in wrong]
        return cls(seconds[0], tuple(part or () for part in scores))

    def to_json(self) -> dict[str, object]:
        return {"part_s": self.part_s, "saliency": [list(part) for part in self.saliency]}

    @property
    def means(self) -> tuple[float, ...]:
        """Mean score of each part."""
        return tuple(sum(part) / len(part) for part in self.saliency)

    def written(self) -> str:
        parts = [
            f"{write_number(round(i * self.part_s, 3))}: {write_number(round(mean, 2))}"
            for i, mean in enumerate(self.means)
            if mean > 0
        ]
        return f"<answer>{', '.join(parts) or '0: 0'}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        if answered_saliency(answer, self.part_s, len(self.saliency)) is None:
            return "the answer holds no 'start: score'", "unreadable"
        return None


def spans_problem(answer: str) -> tuple[str, Fault] | None:
    """(note, fault) of an answer that is no list of spans, else None."""
    spans = answered_spans(answer)
    if spans is None:
        return "the answer holds no 'start - end'", "unreadable"
    return ("a span ends before it starts", "reversed") if any(end < start for start, end in spans) else None


def order_problem(names: Sequence[str]) -> tuple[str, Fault] | None:
    """(note, fault) of answered names that are none or too many, else None."""
    if not names:
        return "the answer holds no names", "unreadable"
    return (f"{len(names)} names, more than {MOST_EVENTS}", "wrong_count") if len(names) > MOST_EVENTS else None


def one_span_problem(answer: str) -> tuple[str, Fault] | None:
    """(note, fault) of an answer that is not one span, else None."""
    problem = spans_problem(answer)
    if problem is None and len(answered_spans(answer) or ()) != 1:
        return "the answer is not one span", "wrong_count"
    return problem


def _read_spans(where: str, value: object, problems: list[str]) -> tuple[Span, ...]:
    spans = read_list(where, value, 1, problems)
    return tuple(read_span(f"{where}[{i}]", span, problems) for i, span in enumerate(spans))
