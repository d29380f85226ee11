"""Circle: black and white pieces on a grid; a ring walks over them and flips where it arrives and the neighbours.

A state is {"board": rows of 1 (black) and 0 (white), "at": [row, column] of the ring}; columns are counted from 0.
"""

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

COLOURS = ("white", "black")
"""Names of the pieces 0 and 1; answers may have either."""

_MOVES = Reader(re.compile(rf"\b{DIRECTION}", re.IGNORECASE), lambda m: m[1].lower())
_PIECES = Reader(
    re.compile(rf"{SQUARE}{TO}(black|white|[01])\b", re.IGNORECASE),
    lambda m: f"{square_item(m)}: {COLOURS[int(m[3])] if m[3] in '01' else m[3].lower()}",
    re.compile(r"\b(?:black|white)\b", re.IGNORECASE),
)


class Circle(Demonstration):
    name = "circle"
    readers: ClassVar[Readers] = {
        "recall order": _MOVES,
        "recall count": Reader(re.compile(SQUARE, re.IGNORECASE), square_item),
        "infer state": _PIECES,
        "compare state": _PIECES,
        "predict state": _PIECES,
        "predict operation": _MOVES,
    }

    def state_problem(self, state: object) -> str | None:
        if not isinstance(state, dict) or state.keys() != {"board", "at"}:
            return 'is no {"board": rows, "at": [row, column]}'
        problem = board_problem(state["board"], lambda value: value in (0, 1))
        at = state["at"]
        if problem is None and not (
            isinstance(at, list)
            and [type(place) for place in at] == [int, int]
            and is_inside(state["board"], at[0], at[1])
        ):
            problem = f"at: {at!r:.30} is no [row, column] on the board"
        return problem

    def apply(self, state: Any, operation: str) -> Any:
        if operation not in DIRECTIONS:
            raise IllegalOperation("is no direction")
        board = [list(row) for row in state["board"]]
        row, column = (place + step for place, step in zip(state["at"], DIRECTIONS[operation], strict=True))
        if not is_inside(board, row, column):
            raise IllegalOperation("leaves the grid")
        for down, right in ((0, 0), *DIRECTIONS.values()):
            if is_inside(board, row + down, column + right):
                board[row + down][column + right] ^= 1
        return {"board": board, "at": [row, column]}

    def recalled(self, video: Operated, skill: Skill, ask: Ask) -> Items:
        if skill == "recall order":
            return Items(video.operations[ask.first - 1 : ask.last], "list")
        before = (square_name(row, column, 0) for row, column in (state["at"] for state in video.states))
        moves = zip(video.operations, before, strict=False)
        return Items(tuple(square for move, square in moves if move == ask.kind), "bag")

    def shown(self, state: Any, ask: Ask) -> Items:
        return Items(tuple(f"{square}: {COLOURS[value]}" for square, value in values(state["board"], 0).items()))

    def compared(self, video: Operated, ask: Ask) -> Items:
        observed, latent = (values(state["board"], 0) for state in (video.observed, video.latent))
        return Items(
            tuple(f"{square}: {COLOURS[value]}" for square, value in latent.items() if value != observed[square])
        )

    def solution(self, state: Any, ask: Ask) -> tuple[str, ...] | None:
        return shortest_path(self, tuple(DIRECTIONS), state, Items(ask.goal), ask)

    def size(self, state: Any) -> str:
        return board_size(state["board"])

    def random_state(self, size: int, rng: random.Random) -> Any:
        board = [[rng.randrange(2) for _ in range(size)] for _ in range(size)]
        return {"board": board, "at": [rng.randrange(size), rng.randrange(size)]}

    def random_operation(self, state: Any, rng: random.Random) -> str:
        (row, column), board = state["at"], state["board"]
        steps = DIRECTIONS.items()
        return rng.choice([name for name, (down, right) in steps if is_inside(board, row + down, column + right)])
