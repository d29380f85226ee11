"""Draws a video of a demonstration: its state at one end, its operations, nothing of the state in between.

The frames of an operation depend on what stays visible alone: the empty square of a puzzle, the place of the ring.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rft.packs.video_reasoning.demonstrations.board import DIRECTIONS
from rft.packs.video_reasoning.demonstrations.containers import action_parts
from rft.packs.video_reasoning.demonstrations.cup import cup_places
from rft.packs.video_reasoning.demonstrations.types import Operated
from rft.synthetic.clips import Pixels

BACKGROUND = (190, 190, 180)
"""Colour in the middle of the frame."""
BLACK, WHITE, RED, BLUE, GREY = (20, 20, 20), (250, 250, 250), (225, 40, 40), (60, 95, 220), (140, 140, 135)
COIN = (240, 205, 60)
CHIP_COLOURS = {5: RED, 10: BLUE, 20: (35, 170, 75), 50: (240, 200, 50), 100: (150, 75, 190)}
"""Value of a chip -> its colour; the value is written on it where there is room."""

SMALLEST_TEXT = 8
"""Height in pixels below which text is left out."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """A square picture; positions and lengths are shares of its side."""

    image: ImageDraw.ImageDraw
    side: int

    def box(self, x: float, y: float, width: float, height: float, fill: Any, *, round: bool = False) -> None:
        """A filled rectangle or ellipse around a centre."""
        left, top = self.side * (x - width / 2), self.side * (y - height / 2)
        right, bottom = self.side * (x + width / 2) - 1, self.side * (y + height / 2) - 1
        corners = (left, top, max(left, right), max(top, bottom))
        (self.image.ellipse if round else self.image.rectangle)(corners, fill=fill)

    def ring(self, x: float, y: float, width: float) -> None:
        """A red ring around a centre."""
        corners = [(self.side * (v - width / 2)) for v in (x, y)] + [self.side * (v + width / 2) - 1 for v in (x, y)]
        self.image.ellipse(corners, outline=RED, width=max(2, round(self.side * width / 4)))

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A red line."""
        points = [(self.side * x, self.side * y) for x, y in (start, end)]
        self.image.line(points, fill=RED, width=max(3, self.side // 60))

    def text(self, x: float, y: float, height: float, text: str, fill: Any = BLACK, *, anchor: str = "mm") -> None:
        """A line of text around a centre, left out where it would be too small to read."""
        pixels = height * self.side
        if pixels >= SMALLEST_TEXT:
            self.image.text((self.side * x, self.side * y), text, fill, ImageFont.load_default(pixels), anchor=anchor)


Moved = Mapping[tuple[int, int], tuple[float, float]]
"""(row, column) -> (x, y) of what is on its way."""
Paint = Callable[[Canvas, Any], None]
PaintStep = Callable[[Canvas, Any, str, float], None]


@dataclass(frozen=True, slots=True)
class Painter:
    """How a demonstration looks."""

    shown: Paint
    """The whole state."""
    step: PaintStep
    """An operation on the covered state before it; a share in [0, 1] of it is done."""


@dataclass(frozen=True, slots=True)
class Look:
    """Size and pace of a video."""

    side: int
    """Width and height in pixels."""
    shown_frames: int = 2
    """Frames that show the state."""
    step_frames: int = 2
    """Frames of an operation."""


def draw_video(name: str, video: Operated, look: Look) -> tuple[Pixels, Pixels]:
    """The frames of a video of the demonstration `name`, and the same with all operations blanked: uint8 [F, S, S, 3].

    F is `shown_frames` and `step_frames` for each operation.
    """
    painter = PAINTERS[name]
    shown = [_frame(look.side, painter.shown, video.observed)] * look.shown_frames
    steps = [
        _frame(look.side, painter.step, before, operation, share)
        for before, operation in zip(video.states, video.operations, strict=False)
        for share in np.linspace(0, 1, look.step_frames)
    ]
    still = [background(look.side)] * len(steps)
    if video.visible == "start":
        return np.stack([*shown, *steps]), np.stack([*shown, *still])
    return np.stack([*steps, *shown]), np.stack([*still, *shown])


def background(side: int) -> Pixels:
    """uint8 [side, side, 3], redder at the right and bluer below: each patch shows where in the frame it lies."""
    places = (np.arange(side) + 0.5) / side - 0.5
    light = np.broadcast_to(np.array(BACKGROUND, float), (side, side, 3)).copy()
    light[..., 0] += 90 * places[None, :]
    light[..., 2] += 90 * places[:, None]
    pixels: Pixels = light.astype(np.uint8)
    return pixels


def _frame(side: int, paint: Callable[..., None], *what: object) -> Pixels:
    image = Image.fromarray(background(side))
    paint(Canvas(ImageDraw.Draw(image), side), *what)
    return np.asarray(image, np.uint8)


def _squares(board: Any) -> tuple[float, list[tuple[int, int, float, float]]]:
    """Side of a square, and (row, column, x, y) of each centre; a margin is left for the labels."""
    size = 0.84 / max(len(board), len(board[0]))
    x0, y0 = 0.5 - size * (len(board[0]) - 1) / 2, 0.5 - size * (len(board) - 1) / 2
    places = [(i, j, x0 + j * size, y0 + i * size) for i in range(len(board)) for j in range(len(board[0]))]
    return size, places


def _labels(canvas: Canvas, board: Any, first_column: int) -> None:
    """Letters of the rows at the left, numbers of the columns below."""
    size, places = _squares(board)
    for i, j, x, y in places:
        if j == 0:
            canvas.text(x - size / 2 - 0.035, y, 0.05, "abcdefgh"[i], RED)
        if i == len(board) - 1:
            canvas.text(x, y + size / 2 + 0.035, 0.05, str(j + first_column), RED)


def _number_squares(
    canvas: Canvas, board: Any, cover: Any, moved: Mapping[tuple[int, int], tuple[float, float]]
) -> None:
    size, places = _squares(board)
    _labels(canvas, board, 1)
    canvas.box(0.5, 0.5, size * len(board[0]), size * len(board), WHITE)
    for i, j, x, y in places:
        if board[i][j]:
            x, y = moved.get((i, j), (x, y))
            canvas.box(x, y, 0.92 * size, 0.92 * size, cover or GREY)
            if not cover:
                canvas.text(x, y, 0.5 * size, str(board[i][j]), WHITE)


def _number_step(canvas: Canvas, board: Any, operation: str, share: float) -> None:
    size, places = _squares(board)
    down, right = DIRECTIONS[operation]
    bi, bj = next((i, j) for i, j, _, _ in places if board[i][j] == 0)
    moves = (bi - down, bj - right)
    x, y = next((x, y) for i, j, x, y in places if (i, j) == moves)
    to = (x + share * right * size, y + share * down * size)
    _number_squares(canvas, board, BLUE, {moves: to})
    canvas.line(to, (to[0] + right * size / 2, to[1] + down * size / 2))


def _circle_board(canvas: Canvas, board: Any) -> float:
    size, places = _squares(board)
    _labels(canvas, board, 0)
    for _, _, x, y in places:
        canvas.box(x, y, size / 2, size / 20, GREY)
        canvas.box(x, y, size / 20, size / 2, GREY)
    return size


def _circle_shown(canvas: Canvas, state: Any) -> None:
    size = _circle_board(canvas, state["board"])
    for i, j, x, y in _squares(state["board"])[1]:
        canvas.box(x, y, 0.8 * size, 0.8 * size, BLACK if state["board"][i][j] else WHITE, round=True)
    _circle_ring(canvas, state, 0, 0)


def _circle_ring(canvas: Canvas, state: Any, down: float, right: float) -> None:
    size, places = _squares(state["board"])
    x, y = next((x, y) for i, j, x, y in places if [i, j] == state["at"])
    canvas.ring(x + right * size, y + down * size, size)


def _circle_step(canvas: Canvas, state: Any, operation: str, share: float) -> None:
    _circle_board(canvas, state["board"])
    down, right = DIRECTIONS[operation]
    _circle_ring(canvas, state, share * down, share * right)


def _cups(canvas: Canvas, board: Any, moved: Moved, lift: float) -> None:
    size, places = _squares(board)
    _labels(canvas, board, 1)
    for i, j, x, y in places:
        if lift and board[i][j]:
            canvas.box(x, y + 0.25 * size, 0.5 * size, 0.5 * size, COIN, round=True)
        x, y = moved.get((i, j), (x, y - lift * size))
        canvas.box(x, y, 0.62 * size, 0.5 * size, BLUE)
        canvas.box(x, y - 0.25 * size, 0.4 * size, 0.1 * size, BLUE)


def _cup_step(canvas: Canvas, board: Any, operation: str, share: float) -> None:
    centres = {(i, j): (x, y) for i, j, x, y in _squares(board)[1]}
    first, second = cup_places(board, operation)
    (x0, y0), (x1, y1) = centres[first], centres[second]
    moved = {
        first: (x0 + share * (x1 - x0), y0 + share * (y1 - y0)),
        second: (x1 + share * (x0 - x1), y1 + share * (y0 - y1)),
    }
    _cups(canvas, board, moved, 0.0)
    canvas.line((x0, y0), (x1, y1))


def _file_shown(canvas: Canvas, state: Any) -> None:
    lines = []
    for path, names in state.items():
        rows = [names[i : i + 4] for i in range(0, len(names), 4)]
        lines += [f"$ ls {path}", *("  ".join(row) for row in rows)]
    _terminal(canvas, lines)


def _file_step(canvas: Canvas, state: Any, operation: str, share: float) -> None:
    typed = operation[: max(1, round(share * len(operation)))]
    _terminal(canvas, [("$ " + typed)[i : i + 34] for i in range(0, len(typed) + 2, 34)])


def _terminal(canvas: Canvas, lines: list[str]) -> None:
    canvas.box(0.5, 0.5, 1, 1, BLACK)
    for number, line in enumerate(lines):
        canvas.text(0.03, 0.06 + 0.06 * number, 0.045, line, WHITE, anchor="lm")


def _columns(state: Any) -> dict[str, float]:
    """Container -> x of its middle."""
    return {name: (1 + 2 * place) / (2 * len(state)) for place, name in enumerate(state)}


def _card(canvas: Canvas, x: float, y: float, card: str) -> None:
    value, suit = card.split(" of ")
    canvas.box(x, y, 0.4, 0.11, WHITE)
    canvas.text(x, y, 0.05, f"{value} {suit}", RED if suit in ("Hearts", "Diamonds") else BLACK)


def _card_shown(canvas: Canvas, state: Any) -> None:
    for pile, x in _columns(state).items():
        canvas.text(x, 0.95, 0.05, pile)
        for number, card in enumerate(state[pile]):
            _card(canvas, x, 0.08 + min(0.12, 0.8 / len(state[pile])) * number, card)


def _card_covered(canvas: Canvas, state: Any) -> None:
    for pile, x in _columns(state).items():
        canvas.text(x, 0.95, 0.05, pile)
        canvas.box(x, 0.5, 0.4, 0.3, BLUE)


def _card_step(canvas: Canvas, state: Any, operation: str, share: float) -> None:
    verb, card, pile = action_parts(operation)
    y = 0.06 + 0.24 * share if verb == "add" else 0.7 + 0.16 * share
    _card(canvas, _columns(state)[pile], y, card)
    _card_covered(canvas, state)


def _chip(canvas: Canvas, x: float, y: float, value: int, width: float) -> None:
    canvas.box(x, y, width, width, CHIP_COLOURS[value], round=True)
    canvas.text(x, y, width / 2, str(value), WHITE)


def _chip_shown(canvas: Canvas, state: Any) -> None:
    width = 0.16
    for cup, x in _columns(state).items():
        canvas.text(x, 0.95, 0.05, cup)
        for number, value in enumerate(state[cup]):
            _chip(canvas, x + width * (number % 2 - 0.5), 0.85 - width * (number // 2), value, width)


def _chip_covered(canvas: Canvas, state: Any) -> None:
    for cup, x in _columns(state).items():
        canvas.box(x, 0.7, 0.36, 0.4, BLUE)
        canvas.text(x, 0.95, 0.05, cup)


def _chip_step(canvas: Canvas, state: Any, operation: str, share: float) -> None:
    verb, value, cup = action_parts(operation)
    done = share if verb == "add" else 1 - share
    _chip(canvas, _columns(state)[cup], 0.14 + 0.36 * done, int(value), 0.24)
    _chip_covered(canvas, state)


PAINTERS: Mapping[str, Painter] = {
    "number": Painter(lambda c, s: _number_squares(c, s, None, {}), _number_step),
    "circle": Painter(_circle_shown, _circle_step),
    "cup": Painter(lambda c, s: _cups(c, s, {}, 0.22), _cup_step),
    "file": Painter(_file_shown, _file_step),
    "card": Painter(_card_shown, _card_step),
    "chip": Painter(_chip_shown, _chip_step),
}
"""Demonstration -> how it looks."""
