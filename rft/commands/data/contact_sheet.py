"""A picture of rows: images, and frames of each clip, with target spans on a time bar or target boxes drawn in."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rewards.types import Target
from rft import types
from rft.data.frames import ClipError, Frames
from rft.data.video import decode
from rft.files import writing
from rft.tasks import TASKS
from rft.tasks.types import Row
from rft.types import Video, VideoSampling

WIDTH = 1280
MARGIN = 8
LINE = 18
BAR = 10
MAX_FRAMES = 8
FRAME_PIXELS = (WIDTH // MAX_FRAMES) ** 2

FONT = ImageFont.load_default(size=13)
PAPER, INK, FAINT, SPAN, BOX = (255, 255, 255), (20, 20, 20), (205, 205, 205), (30, 150, 60), (220, 40, 40)


def draw_sheet(rows: Sequence[Row], path: Path, num_rows: int) -> tuple[int, list[str]]:
    """A PNG of some rows, evenly chosen from each task; their number, and which have no picture and why."""
    chosen = choose_rows(rows, num_rows)
    panels, problems = [], []
    for row in chosen:
        target = TASKS[row.task].target(row)
        try:
            panels.append(draw_row(row, target, _frames(row, target)))
        except ClipError as error:
            problems.append(f"row {row.id}: {error}")
            panels.append(_panel([*_heading(row, target), str(error)], 0))
    with writing(path, "give another file with --sheet"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.vstack([np.asarray(panel) for panel in panels])).save(path, format="PNG")
    return len(chosen), problems


def choose_rows(rows: Sequence[Row], num_rows: int) -> list[Row]:
    """At most `num_rows` rows, about equally many of each task, taken at even distances."""
    by_task: dict[str, list[Row]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    chosen: list[Row] = []
    for i, own in enumerate(by_task.values()):
        count = min(len(own), (num_rows - len(chosen)) // (len(by_task) - i))
        chosen += [own[rank * len(own) // count] for rank in range(count)]
    return chosen


def draw_row(row: Row, target: Target, frames: Frames | None) -> Image.Image:
    """The panel of one row: its text, its frames or image, and its target drawn on them."""
    if frames is None:
        return _panel(_heading(row, target), 0)
    spans, boxes = tuple(target.time_spans().values()), target.frame_boxes()
    pictures = [Image.fromarray(np.asarray(pixels)) for pixels in frames.pixels]
    width = min(WIDTH // len(pictures), WIDTH // 4)
    height = round(pictures[0].height * width / pictures[0].width)
    panel = _panel(_heading(row, target), height + LINE + (BAR + MARGIN if spans else 0))
    top = panel.height - height - LINE - MARGIN - (BAR + MARGIN if spans else 0)
    draw = ImageDraw.Draw(panel)
    for i, (picture, time_s) in enumerate(zip(pictures, frames.timestamps_s, strict=True)):
        left = i * width
        panel.paste(picture.resize((width - 4, height)), (left, top))
        if any(start <= time_s <= end for start, end in spans):
            draw.rectangle((left, top, left + width - 5, top + height - 1), outline=SPAN, width=4)
        if i < len(boxes):
            x0, y0, x1, y1 = np.multiply(boxes[i], (width - 5, height - 1) * 2) + (left, top) * 2
            draw.rectangle((x0, y0, x1, y1), outline=BOX, width=3)
        if row.video is not None:
            draw.text((left, top + height + 1), f"{time_s:.2f} s", fill=INK, font=FONT)
    if spans:
        _draw_bar(draw, top + height + LINE, spans, frames, row.clip_s)
    return panel


def _draw_bar(
    draw: ImageDraw.ImageDraw, top: int, spans: Sequence[tuple[float, float]], frames: Frames, clip_s: float | None
) -> None:
    """The clip from its start to its end, the target spans on it, and a tick at each sampled frame."""
    length = max(frames.duration_s, clip_s or 0.0, *(end for _, end in spans))
    scale = (WIDTH - 1) / length
    draw.rectangle((0, top, frames.duration_s * scale, top + BAR), fill=FAINT)
    for start, end in spans:
        draw.rectangle((start * scale, top, end * scale, top + BAR), fill=SPAN)
    for time_s in frames.timestamps_s:
        draw.line((time_s * scale, top - 2, time_s * scale, top + BAR + 2), fill=INK)


def _frames(row: Row, target: Target) -> Frames | None:
    """An image; or eight frames, fewer of a shorter clip, one per box where the target is boxes; or nothing."""
    if row.image is not None:
        return decode(types.Image(Path(row.image), 28 * 28, 4 * FRAME_PIXELS))
    if row.video is None:
        return None
    num_boxes = len(target.frame_boxes()) or None
    # A rate that no clip has: the number of frames alone decides.
    sampling = VideoSampling(
        fps=1000.0,
        min_frames=2,
        max_frames=MAX_FRAMES,
        min_pixels=28 * 28,
        max_pixels=FRAME_PIXELS,
        total_pixels=FRAME_PIXELS * (num_boxes or MAX_FRAMES),
        num_frames=num_boxes,
        pick="start_then_even" if (row.dataset or "").startswith("got10k/") else "even",
    )
    return decode(Video(Path(row.video), sampling, row.start_s, row.end_s, row.source_fps, view=row.view))


def _heading(row: Row, target: Target) -> list[str]:
    question = " ".join(
        str(getattr(row, key)) for key in ("query", "object", "question", "options") if getattr(row, key, None)
    )
    boxes = target.frame_boxes()
    answer = f"{len(boxes)} boxes" if boxes else target.written()
    length = "" if row.clip_s is None else f", {row.clip_s:g} s"
    return [f"{row.id} ({row.task}{length})", *textwrap.wrap(question, 150)[:3], *textwrap.wrap(answer, 150)[:2]]


def _panel(lines: Sequence[str], below: int) -> Image.Image:
    """An empty panel with lines of text at its top and `below` pixels under them."""
    panel = Image.new("RGB", (WIDTH, MARGIN * 3 + LINE * len(lines) + below), PAPER)
    draw = ImageDraw.Draw(panel)
    draw.line((0, 0, WIDTH, 0), fill=FAINT)
    for i, line in enumerate(lines):
        draw.text((2, MARGIN + i * LINE), line, fill=INK, font=FONT)
    return panel
