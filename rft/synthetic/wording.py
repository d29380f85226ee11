"""The words of the drawn clips' questions and answers, and the texts that the tiny tokenizer is fitted to."""

from collections.abc import Iterator

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("square", "circle", "triangle")
DIRECTIONS = ("left", "right", "up", "down")

LETTERS = "ABCD"


def tokenizer_texts() -> Iterator[str]:
    """Prompts and answers of every kind, each word at least twice: a word seen becomes one token."""
    for _ in range(2):
        yield from _CHAT
        for colour in COLOURS:
            for shape in SHAPES:
                yield f"the {colour} {shape}. {colour} {shape} {colour}, {shape}."
        for direction in DIRECTIONS:
            yield f"{direction} {direction}. moves {direction}"
        yield "look<think>look</think><answer>1.5 to 3.0</answer><glue>[(1.5, 3.0)]</glue>"
        yield "[[0.1,0.2,0.3,0.4],[0.1,0.2,0.3,0.4]] [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]]"


_CHAT = (
    "system\nYou are a helpful assistant.\n",
    "user\n",
    "assistant\n",
    "When is it visible? Which way does it move? Answer with the start and end in seconds.",
)
