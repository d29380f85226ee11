"""Boards: rows of values, the first row at the top, and the names of their squares."""

import re
from collections.abc import Callable

DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
"""Name -> (rows, columns) of a step."""

LARGEST = 8
"""Largest side of a board."""

SQUARE = r"\(?\s*+\b([a-h])(?:\s*+,\s*+)?+([0-9]{1,2}+)\b\s*+\)?+"
"""Pattern of "(b, 3)" or "b3": two groups, letter of the row and number of the column."""

DIRECTION = r"(left|right|up|down)(?:wards?+)?\b"
TO = r"\s*+(?::|=|\bis\b|->)\s*+"

Board = list[list[int]]


def square_name(row: int, column: int, first_column: int = 1) -> str:
    """Letter of the row, a at the top, and number of the column: "b3"."""
    return f"{'abcdefgh'[row]}{column + first_column}"


def square_item(match: re.Match[str], group: int = 1) -> str:
    """Name of the square in two groups of a match of SQUARE."""
    return f"{match[group].lower()}{int(match[group + 1])}"


def board_problem(board: object, is_value: Callable[[object], bool]) -> str | None:
    """Why a JSON value is no board; None if it is one."""
    if not isinstance(board, list) or not 1 <= len(board) <= LARGEST or not all(isinstance(r, list) for r in board):
        return f"is no list of 1 to {LARGEST} rows"
    if not 1 <= len(board[0]) <= LARGEST or any(len(row) != len(board[0]) for row in board):
        return f"the rows are not of one length, 1 to {LARGEST}"
    odd = [value for row in board for value in row if type(value) is not int or not is_value(value)]
    return f"{odd[0]!r:.20} is no value of a square" if odd else None


def values(board: Board, first_column: int = 1) -> dict[str, int]:
    """Name of each square -> its value, row by row."""
    return {square_name(i, j, first_column): value for i, row in enumerate(board) for j, value in enumerate(row)}


def is_inside(board: Board, row: int, column: int) -> bool:
    return 0 <= row < len(board) and 0 <= column < len(board[0])


def board_size(board: Board) -> str:
    return f"{len(board)}x{len(board[0])} board"
