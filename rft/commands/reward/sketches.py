"""First drafts of a reward, by the kind of target: each works, and is short enough to be read and changed."""

from dataclasses import dataclass

from rewards.targets.boxes import BoxesTarget
from rewards.targets.caption import CaptionTarget
from rewards.targets.choice import ChoiceTarget
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.label import LabelTarget
from rewards.targets.span import SpanTarget
from rewards.types import Target


@dataclass(frozen=True, slots=True)
class Sketch:
    """The part of a reward that depends on the kind of target."""

    says: str
    """First line of the docstring."""
    body: str
    """What turns `answer`, the text inside <answer>, into a Score; not indented."""
    imports: str = ""
    """Lines beside those that every reward has."""
    parsers: str = "answer_text"
    """Names from rewards.parsing."""
    keywords: str = ""
    """What a recipe may set under `args`."""


SKETCHES: dict[type[Target], Sketch] = {
    SpanTarget: Sketch(
        "1 for the true start and end, falling to 0 where they are off by `within_s` seconds on average.",
        """
span = parse_span(answer)
if span is None:
    return Score(0.0, answer, "no 'start to end' inside <answer>", "unreadable")
off_s = (abs(span[0] - target.start_s) + abs(span[1] - target.end_s)) / 2
return Score(max(0.0, 1.0 - off_s / within_s), answer, f"start and end off by {off_s:.2f} s")
""",
        parsers="answer_text, parse_span",
        keywords=", *, within_s: float = 4.0",
    ),
    ChoiceTarget: Sketch(
        "1 for the letter of the right option, else 0.",
        """
choice = parse_choice(answer)
if choice is None:
    return Score(0.0, answer, "no single option letter inside <answer>", "unreadable")
return Score(float(choice == target.choice), answer, f"chose {choice}, right is {target.choice}")
""",
        parsers="answer_text, parse_choice",
    ),
    GroundedChoiceTarget: Sketch(
        "0 for a wrong letter; for the right one a half, and as much again for the overlap of the spans.",
        """
choice = parse_choice(answer)
if choice is None:
    return Score(0.0, answer, "no single option letter inside <answer>", "unreadable")
if choice != target.choice:
    return Score(0.0, answer, f"chose {choice}, right is {target.choice}")
spans = parse_spans(tag_text(completion, "glue") or "")
iou = spans_iou(spans, target.spans) if spans else 0.0
return Score((1.0 + iou) / 2, answer, f"chose {choice}, right; IoU of the spans {iou:.3f}")
""",
        "from rewards.geometry import spans_iou\n",
        "answer_text, parse_choice, parse_spans, tag_text",
    ),
    BoxesTarget: Sketch(
        "1 for the true centres, falling to 0 where they are off by `within` of the frame on average.",
        """
boxes = parse_boxes(answer)
if boxes is None:
    return Score(0.0, answer, "no list of boxes inside <answer>", "unreadable")
if len(boxes) != len(target.boxes):
    return Score(0.0, answer, f"{len(boxes)} boxes, asked for {len(target.boxes)}", "wrong_count")
# The prompt gives the first box away.
pairs = list(zip(boxes, target.boxes, strict=True))[1:]
off = [math.dist((a[0] + a[2], a[1] + a[3]), (b[0] + b[2], b[1] + b[3])) / 2 for a, b in pairs]
mean = sum(off) / max(1, len(off))
return Score(max(0.0, 1.0 - mean / within), answer, f"centres off by {mean:.3f} of the frame on average")
""",
        "import math\n\n",
        "answer_text, parse_boxes",
        ", *, within: float = 0.3",
    ),
    LabelTarget: Sketch(
        "1 for the words of the label and no others, else the share of the words that both have.",
        """
words, right = set(parse_words(answer)), set(parse_words(target.label))
if not words:
    return Score(0.0, answer, "no words inside <answer>, or too many", "unreadable")
return Score(len(words & right) / len(words | right), answer, f"the label is {target.label!r}")
""",
        parsers="answer_text, parse_words",
    ),
    CaptionTarget: Sketch(
        "Share of the words that answer and target have in common, out of all that either has.",
        """
words, right = set(parse_words(answer)), set(parse_words(" ".join(target.events) or target.text))
if not words:
    return Score(0.0, answer, "no words inside <answer>, or too many", "unreadable")
shared = words & right
return Score(len(shared) / len(words | right), answer, f"{len(shared)} of {len(right)} words of the target")
""",
        parsers="answer_text, parse_words",
    ),
}

OTHER = Sketch(
    "1 for the target as it would be written, else 0.",
    """
right = answer_text(target.written())
return Score(float(answer == right), answer, f"the target is {right!r}")
""",
)
"""For a kind of target that has no sketch."""
