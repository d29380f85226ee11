import time

import pytest

from rewards.parsing import (
    LONGEST_ANSWER,
    answer_text,
    parse_boxes,
    parse_choice,
    parse_ranges,
    parse_span,
    parse_spans,
    parse_timed_texts,
    tag_text,
)

PARSERS = [answer_text, parse_span, parse_spans, parse_ranges, parse_timed_texts, parse_boxes, parse_choice]

HUGE = [
    "[",
    "(",
    "[]",
    "(1,1)",
    "[[1,2,3,4],",
    "1",
    " ",
    "1 ",
    "1 to ",
    "A ",
    "(A",
    "answer ",
    "1:02",
    "1:02 to 1:10 ",
    "(1:02 - 1:10)",
    "- ",
    "1e",
    "[1e5,1,1,1]",
    "<answer>",
    "</answer>",
    "-",
]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", None),
        ("12 to 13", None),
        ("<answer>a</answer>", "a"),
        ("<answer> a\n</answer>", "a"),
        ("<answer>a</answer> then <answer>b</answer>", "b"),
        ("<answer>a</answer><answer>b", "a"),
        ("<answer>a<answer>b</answer>", "b"),
        ("</answer>a<answer>", None),
        ("<answer></answer>", ""),
        ("<ANSWER>a</ANSWER>", None),
        ("<think><answer>a</answer></think>", "a"),
    ],
)
def test_answer_text(text: str, answer: str | None) -> None:
    assert answer_text(text) == answer


def test_tag_text_takes_the_requested_tag() -> None:
    assert tag_text("<answer>C</answer><glue>[(1, 2)]</glue>", "glue") == "[(1, 2)]"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1.5 to 3.0", (1.5, 3.0)),
        ("1 TO 3", (1, 3)),
        ("  1.5   to\n3 ", (1.5, 3)),
        ("1.5s to 3.0 s", (1.5, 3)),
        ("1.5 seconds to 3 sec.", (1.5, 3)),
        ("1.5 - 3", (1.5, 3)),
        ("1.5-3", (1.5, 3)),
        ("1.5 \u2013 3", (1.5, 3)),
        ("1.5\u22123", (1.5, 3)),
        ("between 1.5 and 3", (1.5, 3)),
        ("It happens from 1.5 to 3 seconds.", (1.5, 3)),
        ("1 to 2, 3 to 4", (3, 4)),
        ("5. to .7", (5, 0.7)),
        ("9 to 3", (9, 3)),
        ("", None),
        ("1.5", None),
        ("1 2", None),
        ("1 and 2 and 3", None),
        ("1:02 to 1:10", (62, 70)),
        ("01:02.5 - 0:01:10", (62.5, 70)),
        ("from 1:00:00 to 1:00:01.5", (3600, 3601.5)),
        ("59 to 1:10 seconds", (59, 70)),
        ("90:00 to 91:00", (5400, 5460)),
        ("1:2 to 1:3", None),
        ("1:62 to 1:70", None),
        ("1:02:03:04 to 2:00:00", None),
        ("1:02 to 1:10:75", None),
        ("1:02 to 1:05 to 1:10", None),
        ("12.5.7 to 18", None),
        ("1 to 2.5.7", None),
        ("-3 to 5", None),
        ("1 to -5", None),
        ("1,000 to 2,000", None),
        ("1e3 to 2e3", None),
        ("\u0661 to \u0662", None),
        ("nan to inf", None),
        ("1 to " + "9" * 400, None),
    ],
)
def test_parse_span(text: str, span: tuple[float, float] | None) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("[(1.5, 3.0)]", ((1.5, 3),)),
        ("[(1,2),(3,4),]", ((1, 2), (3, 4))),
        (" [ ( 1 , 2 ) ] ", ((1, 2),)),
        ("[[1, 2], [3, 4]]", ((1, 2), (3, 4))),
        ("(1, 2), (3, 4)", ((1, 2), (3, 4))),
        ("[(1s, 2 seconds)]", ((1, 2),)),
        ("[(3, 1)]", ((3, 1),)),
        ("[(1:02, 1:10), (1:20 - 1:30.5)]", ((62, 70), (80, 90.5))),
        ("[(1.5 to 3), (4s\u20135s)]", ((1.5, 3), (4, 5))),
        ("[]", ()),
        ("", None),
        ("1, 2", None),
        ("[(1, 2)", None),
        ("[(1, 2, 3)]", None),
        ("[(1)]", None),
        ("[(-1, 2)]", None),
        ("1 to 2", None),
        ("[(1 2)]", None),
        ("[(1:2, 1:3)]", None),
        ("[(1, 2)] and more", None),
        ("[((1, 2))]", None),
        ("[(1, " + "9" * 400 + ")]", None),
    ],
)
def test_parse_spans(text: str, spans: tuple[tuple[float, float], ...] | None) -> None:
    assert parse_spans(text) == spans


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 - 2.5, a cut. 2.5 - 4 seconds: a fall", ["a cut", "a fall"]),
        ("From 0 to 2, a cut, from 2 to 4 a fall", ["a cut, from", "a fall"]),
        ("0 - 9, bake for 10-12 minutes. 9 - 12, eat", ["bake for 10-12 minutes", "eat"]),
        ("0 - 9: add 2 to 3 cloves", ["add 2 to 3 cloves"]),
        # A mark, an end or no mark behind the first range: each range is an event.
        ("0 - 9, bake it, 10 - 12 eat it", ["bake it", "eat it"]),
        ("0 - 9, bake it 10 - 12, eat it", ["bake it", "eat it"]),
        ("0 - 9 bake it 10 - 12 eat it", ["bake it", "eat it"]),
        ("0 - 9, bake for 10-12", ["bake for", ""]),
        ("1 to 2 to 3", None),
        ("0 - 9, bake for 1 to 2 to 3 minutes", None),
        ("9 minutes", None),
    ],
)
def test_parse_timed_texts(text: str, words: list[str] | None) -> None:
    events, ranges = parse_timed_texts(text), parse_ranges(text)
    assert (None if events is None else [said for _, said in events]) == words
    assert (events is None) == (ranges is None)
    assert {span for span, _ in events or ()} <= set(ranges or ())


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        ("[[0.1, 0.2, 0.3, 0.4]]", ((0.1, 0.2, 0.3, 0.4),)),
        ("[[.1,.2,.3,.4],\n[1,2,3,4],]", ((0.1, 0.2, 0.3, 0.4), (1, 2, 3, 4))),
        ("[(0, 0, 1, 1), (0, 0, 1, 1)]", ((0, 0, 1, 1), (0, 0, 1, 1))),
        ("[0, 0, 1, 1]", ((0, 0, 1, 1),)),
        ("[0, 0, 1, 1], [0, 0, 1, 1]", ((0, 0, 1, 1), (0, 0, 1, 1))),
        ("The boxes: [[0, 0, 1, -1]] as asked.", ((0, 0, 1, -1),)),
        ("```json\n[[0, 0, 1, 1]]\n```", ((0, 0, 1, 1),)),
        ("", None),
        ("[]", None),
        ("[[]]", None),
        ("0, 0, 1, 1", None),
        ("[[0, 0, 1]]", None),
        ("[[0, 0, 1, 1, 1]]", None),
        ("[[0, 0, 1, 1], [0, 0]]", None),
        ("[[[0, 0, 1, 1]]]", None),
        ('[["0", "0", "1", "1"]]', None),
        ("[[1e-1, 0, 2E+0, 1]]", ((0.1, 0, 2, 1),)),
        ("[[1e999, 0, 1, 1]]", None),
        ("[[e5, 0, 1, 1]]", None),
        ("[[1 e5, 0, 1, 1]]", None),
        ("[[1-2, 0, 1, 1]]", None),
        ("[[+-1, 0, 1, 1]]", None),
        ("[[0 0, 1, 1], [0, 0, 1, 1]]", None),
        ("[[0 0, 1, 1, 0], [0 0, 1, 1, 0 0]]", None),
        ("[[0, 0, 1, 1]] (as asked)", None),
        ("] [[0, 0, 1, 1]]", ((0, 0, 1, 1),)),
        ("[[0, 0, 1, nan]]", None),
        ("[[0, 0, 1, " + "9" * 400 + "]]", None),
        ("][", None),
    ],
)
def test_parse_boxes(text: str, boxes: tuple[tuple[float, ...], ...] | None) -> None:
    assert parse_boxes(text) == boxes


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("C", "C"),
        (" c ", "C"),
        ("(C)", "C"),
        ("[C]", "C"),
        ("**C**", "C"),
        ("C.", "C"),
        ("C. a dog", "C"),
        ("(c) a dog", "C"),
        ("C: a dog", "C"),
        ("C - a dog", "C"),
        ("c \u2013 a dog", "C"),
        ("Answer: C", "C"),
        ("Best answer: C", "C"),
        ("The answer is (C).", "C"),
        ("option d", "D"),
        ("I choose (C) here", "C"),
        ("", None),
        ("H", None),
        ("A dog", None),
        ("A-frame houses", None),
        ("A - B", None),
        ("Dance", None),
        ("Because", None),
        ("The answer is a dog", None),
        ("A and B", None),
        ("A, B", None),
        ("(A) or (B)", None),
        ("A) red B) blue", None),
        ("\u0410", None),
    ],
)
def test_parse_choice(text: str, choice: str | None) -> None:
    assert parse_choice(text) == choice


@pytest.mark.parametrize("piece", HUGE)
@pytest.mark.parametrize("parse", PARSERS)
def test_time_grows_linearly(parse, piece: str) -> None:
    for size in (LONGEST_ANSWER, 1_000_000):
        text = piece * (size // len(piece))
        # A linear parser takes some 0.05 s, a quadratic one minutes.
        assert _seconds(parse, text) < 2


def _seconds(parse, text: str) -> float:
    """Of this core's time."""
    start = time.thread_time()
    parse(text)
    return time.thread_time() - start
