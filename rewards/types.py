"""What a reward returns, and the targets it judges against."""

from dataclasses import dataclass

Span = tuple[float, float]
"""(start, end) in seconds from the start of the clip."""

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1), normalised to [0, 1], x0 < x1 and y0 < y1."""


@dataclass(frozen=True, slots=True)
class Score:
    """One reward function's verdict on one completion."""

    value: float
    """In [0, 1]."""
    answer: str | None
    """What was read out of the completion; None where nothing could be read."""
    note: str
    """Why the value is what it is, for a person reading a report."""


@dataclass(frozen=True, slots=True)
class SpanTarget:
    """The one time span of an event."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class ChoiceTarget:
    """The letter of the right option, "A".."G"."""

    choice: str


@dataclass(frozen=True, slots=True)
class GroundedChoiceTarget:
    """The right option's letter, and the spans that show it."""

    choice: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class BoxesTarget:
    """One box per asked frame, in time order; the first is the start box that the prompt gives."""

    boxes: tuple[Box, ...]


Target = SpanTarget | ChoiceTarget | GroundedChoiceTarget | BoxesTarget
