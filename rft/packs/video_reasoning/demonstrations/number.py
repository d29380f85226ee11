"""Number: a sliding puzzle. A state is its rows, 0 the empty square; a move is named by where the tile goes."""

import random
import re
from typing import Any, ClassVar

from rft.packs.video_reasoning.demonstrations.board import (
    DIRECTION,
    DIRECTIONS,
    SQUARE,
    TO,
    board_problem,
    board_size,
    is_inside,
    square_item,
    square_name,
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
    shortest_path,
)

_DIRECTION = re.compile(rf"\b{DIRECTION}", re.IGNORECASE)
_SQUARES = Reader(
    re.compile(rf"{SQUARE}{TO}([0-9]{{1,2}}+)\b", re.IGNORECASE), lambda m: f"{square_item(m)}: {int(m[3])}"
)


class Number(Demonstration):
    name = "number"
    readers: ClassVar[Readers] = {
        "recall order": Reader(
            re.compile(rf"{SQUARE}[\s,:;>-]*+(?:(?:moved|moves|to|the)\s++){{0,3}}+{DIRECTION}", re.IGNORECASE),
            lambda m: f"{square_item(m)} {m[3].lower()}",
            _DIRECTION,
        ),
        "recall count": Reader(re.compile(SQUARE, re.IGNORECASE), square_item),
        "infer state": _SQUARES,
        "compare state": _SQUARES,
        "predict state": _SQUARES,
        "predict operation": Reader(_DIRECTION, lambda m: m[1].lower()),
    }

    def state_problem(self, state: object) -> str | None:
        problem = board_problem(state, lambda value: True)
        if problem or not isinstance(state, list):
            return problem
        held = sorted(value for row in state for value in row)
        return None if held == list(range(len(held))) else "does not hold each of 0, 1, 2, ... once"

    def apply(self, state: Any, operation: str) -> Any:
        i, j = _blank(state)
        if operation not in DIRECTIONS:
            raise IllegalOperation("is no direction")
        down, right = DIRECTIONS[operation]
        row, column = i - down, j - right
        if not is_inside(state, row, column):
            raise IllegalOperation("no square can move there")
        board = [list(line) for line in state]
        board[i][j], board[row][column] = board[row][column], 0
        return board

    def recalled(self, video: Operated, skill: Skill, ask: Ask) -> Items:
        # The square that moves stands where the empty one stands after the move.
        moved = [square_name(*_blank(state)) for state in video.states[1:]]
        moves = list(zip(moved, video.operations, strict=True))
        if skill == "recall count":
            return Items(tuple(square for square, move in moves if move == ask.kind), "bag")
        return Items(tuple(f"{square} {move}" for square, move in moves[ask.first - 1 : ask.last]), "list")

    def shown(self, state: Any, ask: Ask) -> Items:
        return Items(tuple(f"{square}: {value}" for square, value in values(state).items()))

    def compared(self, video: Operated, ask: Ask) -> Items:
        observed = values(video.observed)
        return Items(
            tuple(f"{square}: {value}" for square, value in values(video.latent).items() if value != observed[square])
        )

    def solution(self, state: Any, ask: Ask) -> tuple[str, ...] | None:
        return shortest_path(self, tuple(DIRECTIONS), state, Items(ask.goal), ask)

    def size(self, state: Any) -> str:
        return board_size(state)

    def random_state(self, size: int, rng: random.Random) -> Any:
        tiles = rng.sample(range(size * size), size * size)
        return [tiles[size * i : size * (i + 1)] for i in range(size)]

    def random_operation(self, state: Any, rng: random.Random) -> str:
        i, j = _blank(state)
        steps = DIRECTIONS.items()
        return rng.choice([name for name, (down, right) in steps if is_inside(state, i - down, j - right)])


def _blank(board: Any) -> tuple[int, int]:
    return next((i, j) for i, row in enumerate(board) for j, value in enumerate(row) if value == 0)
