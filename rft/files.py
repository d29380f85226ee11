"""Files that are there whole or not at all, and JSON lines, compressed or not."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zstandard

from rft.errors import CheckpointError

PARTIAL_PREFIX = ".partial_"
"""Of the name of a file or folder that is still being written."""

REMEDY = "free space on the disk or make it writable, then continue with --resume"


@contextmanager
def writing(path: Path, remedy: str = REMEDY) -> Iterator[None]:
    """Turns an OSError inside into a CheckpointError that names `path` and says what to do."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}. Remedy: {remedy}.") from error


def write_text(path: Path, text: str) -> None:
    """All of `text`, or the file as it was."""
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then put it in place."""
    partial = path.with_name(f"{PARTIAL_PREFIX}{path.name}")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """JSON lines; a last line that a killed run left unfinished is no line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except ValueError as error:
            if number < len(lines):
                raise CheckpointError(f"{path}:{number}: not JSON ({error}). Delete that line.") from error


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Compressed JSON lines; the file is there whole or not at all. Raises CheckpointError where the disk refuses."""

    def write(partial: Path) -> None:
        with partial.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as packed:
            for record in records:
                packed.write(json.dumps(record).encode() + b"\n")

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, write)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Raises CheckpointError where the file cannot be read to its end."""
    unpack = zstandard.ZstdDecompressor().decompressobj()
    try:
        text = unpack.decompress(path.read_bytes()).decode()
        if not unpack.eof:
            raise ValueError("the file is cut short")
        yield from map(json.loads, text.splitlines())
    except (OSError, ValueError, zstandard.ZstdError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}). Delete it; the other files stand alone.") from error
