"""The linear readers of the published grammar, against the grammar written plainly with patterns that backtrack."""

import ast
import re
import time
import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rewards.parsing import LONGEST_ANSWER
from rewards.published_parsing import (
    LONGEST_LITERAL,
    first_block,
    first_letter,
    glue_pairs,
    has_blocks,
    last_block,
    last_range,
    python_list,
)

NUMBERS = ["0", "00", "007", "1", "12.5", "3.", ".5", "07.5", "1e5", "1E-2", "1_0", "0x1", "2j", "\u0662", "9" * 400]


def text_of(*pieces: str) -> st.SearchStrategy[str]:
    """Texts near a grammar: plain random text almost never reaches the inner branches."""
    return st.lists(st.sampled_from(pieces) | st.characters(codec="utf-8"), max_size=12).map("".join)


TAGGED = text_of("<answer>", "</answer>", "<think>", "</think>", "<glue>", "</glue>", " ", "\n", "\u00a0")
JOINS = [" ", " to ", " and ", " TO ", "to", "-", ":", "."]
RANGES = text_of(*JOINS, "0", "12.5", "3.", ".5", "\u0662", "9" * 8, "\u0661 and \u0662")
PAIRS = st.lists(
    st.tuples(
        st.sampled_from(["(", "(", "(", "( ", "["]),
        st.sampled_from(NUMBERS),
        st.sampled_from([",", ", ", ",\n", ",\t", ",\x0b", ",\x0c", ",\r", ",\u00a0", " ,"]),
        st.sampled_from(NUMBERS),
        st.sampled_from([")", ")", ")", " )", "]"]),
    ).map("".join),
    max_size=3,
)
GLUES = st.tuples(
    st.sampled_from(["[", "[", "[", " [", ""]),
    PAIRS.map(", ".join),
    st.sampled_from(["]", "]", ",]", ", ]", "]\n", "] ", "\n]", ""]),
).map("".join)
LISTS = text_of(
    *NUMBERS, *"[](){},:+-# \t\r\\", "[[", "]]", "'a'", '"', "b'", "f'", "True", "None", "...", "set()", "if"
)


@given(TAGGED)
def test_blocks(text: str) -> None:
    matches = re.findall("<answer>(.*?)</answer>", text, re.DOTALL)
    assert (first_block(text, "answer"), last_block(text, "answer")) == (
        (matches[0], matches[-1]) if matches else (None, None)
    )


@given(TAGGED, st.sampled_from([("answer",), ("think", "answer"), ("answer", "glue"), ("think", "answer", "glue")]))
@example("<think></think> <answer></answer>\n<glue>\n</glue>", ("think", "answer", "glue"))
@example("<answer></answer></answer> <glue></glue></glue>", ("answer", "glue"))
@example("<think></answer><answer></think></answer>", ("think", "answer"))
def test_has_blocks(text: str, tags: tuple[str, ...]) -> None:
    pattern = r"\s*".join(f"<{tag}>.*?</{tag}>" for tag in tags)
    assert has_blocks(text, tags) == bool(re.fullmatch(pattern, text.strip(), re.DOTALL))


@given(RANGES, st.booleans())
@example("1 and 2 and 3", False)
@example("1 to 2.5.7 to 18", False)
@example("12 13 to 14", True)
def test_last_range(text: str, any_case: bool) -> None:
    matches = re.findall(r"(\d+\.?\d*) (?:to|and) (\d+\.?\d*)", text, re.IGNORECASE if any_case else 0)
    assert last_range(text, any_case) == (tuple(map(float, matches[-1])) if matches else None)


@given(GLUES)
def test_glue_pairs(text: str) -> None:
    number = r"\d+(?:\.\d+)?"
    pair = rf"\({number},\s*{number}\)"
    value = literal(text) if re.match(rf"\[(?:{pair}(?:,\s*{pair})*,?)?\]$", text) else None
    assert repr(glue_pairs(text)) == repr(value if value is None else tuple(value))


@given(LISTS)
@example(" \t[[1, 2]] # boxes")
@example("[1, -0, -0.0, +1, --1]")
@example("[" * 300 + "]" * 300)
def test_python_list(text: str) -> None:
    value = literal(text)
    assert repr(python_list(text)) == repr(value if isinstance(value, list) else None)


def literal(text: str) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.literal_eval(text)
    except Exception:
        return None


def test_long_texts_are_not_read_as_lists() -> None:
    assert python_list(f"[{' ' * (LONGEST_LITERAL - 2)}]") == []
    assert python_list(f"[{' ' * (LONGEST_LITERAL - 1)}]") is None
    fitting = "[" + "(1,2)," * ((LONGEST_ANSWER - 2) // 6) + "]"
    assert glue_pairs(fitting) is not None
    assert glue_pairs(fitting[:-1] + "(1,2)" * 2 + "]") is None


BRACKETS = ["[", "(", "{", "[]", "a[", "(1,", "(1,1),", "[[1,2,3,4],"]
WORDLIKE = [
    "1",
    "1 ",
    "1 to ",
    "1 to 2",
    ".1",
    "-",
    "A",
    "not ",
    "lambda:",
    "1if ",
    "f'{",
    "'",
    '"a"',
    "\\x",
    " ",
    "\n",
]
TAGS = ["<answer>", "</answer>", "</answer> ", "</answer><answer>", "<answer></answer>"]


@pytest.mark.parametrize("piece", BRACKETS + WORDLIKE + TAGS)
def test_time_is_bounded(piece: str) -> None:
    for size in (LONGEST_LITERAL - 10, LONGEST_ANSWER - 10, 1_000_000):
        text = piece * (size // len(piece))
        for read in (
            lambda text: last_block(text, "answer"),
            lambda text: last_range(text, True),
            lambda text: glue_pairs(f"[{text}]"),
            lambda text: python_list(f"[{text}]"),
            lambda text: has_blocks(f"<answer>{text}</glue>", ("answer", "glue")),
            first_letter,
        ):
            # A linear parser takes some 0.05 s, a quadratic one minutes.
            assert seconds(read, text) < 2


def seconds(read, text: str) -> float:
    """Of this core's time."""
    start = time.thread_time()
    read(text)
    return time.thread_time() - start
