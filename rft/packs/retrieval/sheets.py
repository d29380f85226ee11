"""Pictures of numbered candidate clips, for rows that rank clips by a text.

python -m rft.packs.retrieval.sheets ROWS.jsonl --video-root DIR
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from rft.data.dataset import read_rows
from rft.data.decoders import open_source
from rft.data.frames import ClipError, first_to_last
from rft.errors import RftError, refuse
from rft.files import writing
from rft.packs.retrieval.tasks import RetrievalRow
from rft.tasks import TASKS

NUM_FRAMES = 4
"""Most frames of a clip, evenly from first to last."""

CELL = (140, 105)
"""Width and height of a frame's place, in pixels: ten clips make 602 x 1,050, which most image budgets allow."""

MARGIN = 42
"""Width of the column of numbers, in pixels."""

FONT = ImageFont.load_default(size=28)
PAPER, INK = (255, 255, 255), (0, 0, 0)


def write_sheets(rows: Path, video_root: Path) -> int:
    """Draws the picture of every row that names clips, at the row's place; returns their number.

    DataError: rows that cannot be read, and, once the others are drawn, clips that cannot be decoded.
    """
    num_drawn, problems = 0, []
    for row in read_rows([rows], None, TASKS):
        if isinstance(row, RetrievalRow) and row.clips and row.image:
            try:
                sheet = draw_sheet([video_root / clip for clip in row.clips])
            except ClipError as error:
                problems.append(f"row {row.id}: {error}")
                continue
            path = Path(row.image)
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                sheet.save(path)
            num_drawn += 1
    refuse(problems)
    return num_drawn


def draw_sheet(clips: Sequence[Path]) -> Image.Image:
    """A line of frames for each clip, its number before them: N * CELL high, MARGIN + NUM_FRAMES * CELL wide."""
    width, height = CELL
    sheet = Image.new("RGB", (MARGIN + NUM_FRAMES * width, len(clips) * height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for line, clip in enumerate(clips):
        draw.text((4, line * height + height // 3), str(line + 1), fill=INK, font=FONT)
        source = open_source(clip, None, "pyav")
        for place, pixels in enumerate(source.read(first_to_last(len(source.timestamps_s), NUM_FRAMES))):
            frame = ImageOps.pad(Image.fromarray(pixels), CELL, color=PAPER)
            sheet.paste(frame, (MARGIN + place * width, line * height))
    return sheet


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("rft.packs.retrieval.sheets", description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path, help="JSONL file; its rows name the picture and the clips")
    parser.add_argument("--video-root", type=Path, default=Path(), help="folder that the clips' paths start from")
    options = parser.parse_args(arguments)
    try:
        print(f"{write_sheets(options.rows, options.video_root):,} pictures")
    except RftError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
