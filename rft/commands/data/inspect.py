"""Statistics of rows: counts, lengths and targets, as plain text."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path

from rft.data.dataset import missing_files, read_rows
from rft.tables import TextTable, plain
from rft.tasks import TASKS
from rft.tasks.types import Row

MOST_BINS = 20
BAR_WIDTH = 40


def histogram(title: str, values: Sequence[float]) -> str:
    """A line per bin: its edges, a bar, and how many of one or more values >= 0 fall into it.

    At most 20 bins of a round width, from 0 on. A value on an edge counts in the bin above it, in the last one below.
    """
    widths = (digit * 10.0**power for power in range(-6, 16) for digit in (1, 2, 5))
    width = next(width for width in widths if width * MOST_BINS >= max(values))
    # Rounded, because 0.3 / 0.1 is below 3.
    counts = Counter(min(int(round(value / width, 9)), MOST_BINS - 1) for value in values)
    edges = [f"{round(width * i, 6):g}" for i in range(max(counts) + 2)]
    room, most = max(map(len, edges)), max(counts.values())
    lines = [title]
    for i, (low, high) in enumerate(pairwise(edges)):
        bar = "#" * -(-counts[i] * BAR_WIDTH // most)
        lines.append(f"{low:>{room}} - {high:<{room}}  {bar:<{BAR_WIDTH}} {counts[i]:,}")
    return "\n".join(lines)


def inspect(paths: Sequence[Path], video_root: Path | None) -> tuple[str, tuple[Row, ...]]:
    """A text about the rows of `paths`, and the rows. DataError: every row that cannot be read."""
    rows = read_rows(paths, video_root, TASKS)
    parts = [plain(_row_table(rows)), *_shared_videos(paths, video_root), missing_files(rows) or _all_there(rows)]
    for name in dict.fromkeys(row.dataset or row.task for row in rows):
        own = [row for row in rows if (row.dataset or row.task) == name]
        parts += [*_histograms(name, own), *_answers(name, own)]
    return "\n\n".join(parts), rows


def _all_there(rows: Sequence[Row]) -> str:
    parts = [part for row in rows for part in row.parts]
    there = " and ".join(f"{kind}s" for kind in ("video", "image") if any(getattr(part, kind) for part in parts))
    return f"All {there} are there." if there else "No row shows a video or an image."


def _row_table(rows: Sequence[Row]) -> TextTable:
    kinds = Counter((row.dataset or "-", row.task) for row in rows)
    has_others, has_several = (any(row.video is None for row in rows), any(row.media for row in rows))
    lines = []
    for (dataset, task), count in kinds.items():
        own = [row for row in rows if (row.dataset or "-", row.task) == (dataset, task)]
        clips = [row.clip_s for row in own if row.clip_s is not None]
        of_video = [row for row in own if row.video is not None]
        videos, images = len({row.video for row in of_video}), sum(row.kind == "image" for row in own)
        several, texts = (sum(row.kind == kind for row in own) for kind in ("several", "text"))
        mean = f"{sum(clips) / len(clips):.1f}" if clips else "-"
        per_video = f"{len(of_video) / videos:.2f}" if videos else "-"
        lengths = (f"{videos:,}", per_video, mean, f"{len(of_video) - len(clips):,}")
        others = (f"{images:,}", f"{texts:,}", *((f"{several:,}",) if has_several else ())) if has_others else ()
        lines.append((dataset, task, f"{count:,}", *lengths, *others))
    of_videos = ("videos", "rows per video", "mean length (s)", "length not known")
    of_others = ("images", "text alone", *(("several",) if has_several else ()))
    columns = ("data set", "task", "rows", *of_videos, *(of_others if has_others else ()))
    return TextTable(f"{len(rows):,} rows", columns, tuple(lines))


def _shared_videos(paths: Sequence[Path], video_root: Path | None) -> list[str]:
    """A warning for each two files with the same videos or images: held-out rows should not."""
    if len(paths) < 2:
        return []
    rows = {path: read_rows([path], video_root, TASKS) for path in paths}
    files = {
        (path, kind): {part.path for row in own for part in row.parts if getattr(part, kind)}
        for path, own in rows.items()
        for kind in ("video", "image")
    }
    return [
        f"warning: {one} and {other} share {len(files[one, kind] & files[other, kind]):,} {kind}s"
        for one, other in combinations(rows, 2)
        for kind in ("video", "image")
        if files[one, kind] & files[other, kind]
    ]


def _histograms(name: str, rows: Sequence[Row]) -> list[str]:
    clips = [row.clip_s for row in rows if row.clip_s is not None]
    targets = [(TASKS[row.task].target(row), row.clip_s) for row in rows]
    spans = [(end - start, clip_s) for target, clip_s in targets for start, end in target.time_spans().values()]
    events = [length for length, _ in spans]
    shares = [length / clip_s for length, clip_s in spans if clip_s is not None]
    areas = [(x1 - x0) * (y1 - y0) for target, _ in targets for x0, y0, x1, y1 in target.frame_boxes()]
    measured = (
        ("length of each row's clip (s)", clips),
        ("target span (s)", events),
        ("target span as a part of its clip", shares),
        ("box area as a part of the image", areas),
    )
    return [histogram(f"{name}: {what}, {len(values):,}", values) for what, values in measured if values]


def _answers(name: str, rows: Sequence[Row]) -> list[str]:
    """Text of how often each letter or label is the target; [] where targets have no category."""
    categories = [TASKS[row.task].target(row).category() for row in rows]
    counts = sorted(Counter(category for category in categories if category is not None).items())
    return [f"{name}: targets\n" + "\n".join(f"{word} {count:,}" for word, count in counts)] if counts else []
