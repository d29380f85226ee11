"""Cup: coins under some cups of a board; a move swaps two cups with what is below. A state is rows of 1 and 0."""

import random
import re
from typing import Any, ClassVar

from rft.packs.video_reasoning.demonstrations.board import (
    SQUARE,
    TO,
    board_problem,
    board_size,
    is_inside,
    square_item,
    values,
)
from rft.packs.video_reasoning.demonstrations.reading import Reader
from rft.packs.video_reasoning.demonstrations.types import (
    Ask,
    Demonstration,
    IllegalOperation,
    Items,
    Operated,
    Readers,
    Skill,
)

CONTENTS = ("empty", "coin")
"""Names of the contents 0 and 1; answers may have either."""

_CUP = r"\b([a-h])(?:\s*+,\s*+)?+([0-9]{1,2}+)\b"
_WITH = r"\s*+(?:,|&|<->|-|\band\b|\bwith\b)\s*+"
_COINS = Reader(re.compile(SQUARE, re.IGNORECASE), square_item)
_SWAP = re.compile(rf"{_CUP}{_WITH}{_CUP}", re.IGNORECASE)


def swap(first: str, second: str) -> str:
    """The move that swaps two cups: "(a1, b2)", in the order of their names."""
    return f"({min(first, second)}, {max(first, second)})"


_SWAPS = Reader(_SWAP, lambda m: swap(square_item(m), square_item(m, 3)))


class Cup(Demonstration):
    name = "cup"
    readers: ClassVar[Readers] = {
        "recall order": _SWAPS,
        "recall count": Reader(
            re.compile(rf"\(\s*+{_CUP}{_WITH}{_CUP}\s*+\)|{_CUP}", re.IGNORECASE),
            lambda m: swap(square_item(m), square_item(m, 3)) if m[1] else square_item(m, 5),
        ),
        "infer state": _COINS,
        "compare state": Reader(
            re.compile(rf"{SQUARE}{TO}(?:a\s++)?+(coin|empty|[01])\b", re.IGNORECASE),
            lambda m: f"{square_item(m)}: {CONTENTS[int(m[3])] if m[3] in '01' else m[3].lower()}",
            re.compile(r"\b(?:coin|empty)\b", re.IGNORECASE),
        ),
        "predict state": _COINS,
        "predict operation": _SWAPS,
    }

    def state_problem(self, state: object) -> str | None:
        return board_problem(state, lambda value: value in (0, 1))

    def apply(self, state: Any, operation: str) -> Any:
        match = _SWAP.fullmatch(operation.strip("()"))
        if match is None:
            raise IllegalOperation("is no swap of two cups")
        first, second = _place(state, square_item(match)), _place(state, square_item(match, 3))
        if first == second:
            raise IllegalOperation("swaps a cup with itself")
        board = [list(row) for row in state]
        (i, j), (k, n) = first, second
        board[i][j], board[k][n] = board[k][n], board[i][j]
        return board

    def recalled(self, video: Operated, skill: Skill, ask: Ask) -> Items:
        if skill == "recall order":
            return Items(video.operations[ask.first - 1 : ask.last], "list")
        swapped = [operation.strip("()").split(", ") for operation in video.operations]
        in_row = [[cup for cup in cups if cup[0] == ask.kind] for cups in swapped]
        return Items(tuple(swap(*cups) if len(cups) == 2 else cups[0] for cups in in_row if cups), "list")

    def shown(self, state: Any, ask: Ask) -> Items:
        return Items(tuple(square for square, value in values(state).items() if value))

    def compared(self, video: Operated, ask: Ask) -> Items:
        observed = values(video.observed)
        differ = ((square, value) for square, value in values(video.latent).items() if value != observed[square])
        return Items(tuple(f"{square}: {CONTENTS[value]}" for square, value in differ))

    def solution(self, state: Any, ask: Ask) -> tuple[str, ...] | None:
        has = set(self.shown(state, ask).items)
        wrong, bare = sorted(has - set(ask.goal)), sorted(set(ask.goal) - has)
        return tuple(map(swap, wrong, bare)) if len(wrong) == len(bare) else None

    def size(self, state: Any) -> str:
        return board_size(state)

    def random_state(self, size: int, rng: random.Random) -> Any:
        coins = rng.sample(range(size * size), rng.randint(size, size * size - 1) if size > 1 else 1)
        return [[int(size * i + j in coins) for j in range(size)] for i in range(size)]

    def random_operation(self, state: Any, rng: random.Random) -> str:
        return swap(*rng.sample(list(values(state)), 2))


def _place(board: Any, name: str) -> tuple[int, int]:
    row, column = "abcdefgh".index(name[0]), int(name[1:]) - 1
    if not is_inside(board, row, column):
        raise IllegalOperation(f"there is no cup {name}")
    return row, column


def cup_places(board: Any, operation: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """(row, column) from 0 of the two cups of a legal swap."""
    first, second = operation.strip("()").split(", ")
    return _place(board, first), _place(board, second)
