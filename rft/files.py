"""Files that are there whole or not at all, and JSON lines, compressed or not."""

import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from rft.errors import CheckpointError, shortened

PARTIAL_PREFIX = ".partial_"
"""Of the name of a file or folder that is still being written."""

COMPRESSED = ".zst"
"""Ending of the files that are compressed."""

TOO_DEEP = "nested too deeply: a value lies in hundreds of lists or objects"

REMEDY = "free space on the disk or make it writable, then continue with --resume"

GIVE_ANOTHER = "free space on the disk, or give another file with -o"


@contextmanager
def writing(path: Path, remedy: str = REMEDY) -> Iterator[None]:
    """Turns an OSError inside into a CheckpointError that names `path` and says what to do."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}. Remedy: {remedy}.") from error


def write_text(path: Path, text: str, remedy: str = REMEDY) -> None:
    """All of `text`, or the file as it was; its folder is made. Raises CheckpointError where the disk refuses."""
    write_bytes(path, text.encode(), remedy)


def write_bytes(path: Path, content: bytes, remedy: str = REMEDY) -> None:
    """Like `write_text`."""
    with writing(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda partial: partial.write_bytes(content))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file next to `path`, then rename it to `path`."""
    partial = path.with_name(f"{PARTIAL_PREFIX}{path.name}")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """JSON lines; a last line that a killed run left unfinished is no line."""
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line.decode())
        except ValueError as error:
            if number < len(lines):
                raise CheckpointError(f"{path}:{number}: not JSON ({error}). Delete that line.") from error


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Compressed JSON lines, written like `write_text`."""
    lines = "".join(f"{json.dumps(record)}\n" for record in records)
    write_bytes(path, zstandard.compress(lines.encode()))


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Records of `write_records`. Raises CheckpointError where the file cannot be read to its end."""
    try:
        yield from map(json.loads, _decompressed(path).splitlines())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}). Delete it; the other files stand alone.") from error


def _decompressed(path: Path) -> bytes:
    """Raises OSError, or ValueError where the file is damaged."""
    unpack = zstandard.ZstdDecompressor().decompressobj()
    try:
        content = unpack.decompress(path.read_bytes())
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    if not unpack.eof:
        raise ValueError("the file is cut short")
    return content


class JsonLine(msgspec.Struct, frozen=True):
    """A JSON object in a file of JSON lines."""

    file: str
    number: int
    """Line in the file, from 1."""
    value: dict[str, Any]
    text: str
    """Text of the line, without white space around it."""

    @property
    def where(self) -> str:
        """ "file:line"."""
        return f"{self.file}:{self.number}"


def read_jsonl(path: Path, problems: list[str]) -> Iterator[JsonLine]:
    """The objects in a JSONL file of a user, compressed if its name ends in .zst; blank lines skipped.

    What is wrong with the file or a line is added to `problems`, as "file: ..." or "file:line: ...".
    """
    name = str(path)
    try:
        file = io.BytesIO(_decompressed(path)) if path.suffix == COMPRESSED else path.open("rb")
    except (OSError, ValueError) as error:
        problems.append(f"{name}: cannot be read: {error.strerror if isinstance(error, OSError) else error}")
        return
    with file:
        # Only line ends divide rows: a JSON string may hold the other characters that str.splitlines cuts at.
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                value = parse_json(text) if text else None
            except UnicodeDecodeError as error:
                problems.append(f"{name}:{number}: not UTF-8 text, at byte {error.start} of the line")
                return
            except ValueError as error:
                problems.append(f"{name}:{number}: {error}")
                continue
            if isinstance(value, dict):
                yield JsonLine(name, number, value, text)
            elif text:
                problems.append(f"{name}:{number}: a row is a JSON object, not {type(value).__name__}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; its later half would silently win where a key is written twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        doubled, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"key {shortened(repr(doubled))} is written twice")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number JSON allows")


_decode = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse_constant).decode


# Three times as fast, and of the same meaning where it does not refuse; only doubled keys it does not see.
_decode_fast = msgspec.json.Decoder().decode


def parse_json(text: str) -> object:
    """The value. Raises ValueError where the text is not JSON, or a key is written twice in one object."""
    try:
        value = _decode_fast(text)
        # Each key has a colon after it: where all colons are accounted for, no key was lost.
        if type(value) is dict and text.count(":") == _num_colons(value) and "\\u003" not in text:
            return value
    except (msgspec.DecodeError, RecursionError):
        pass  # the slower decoder reads it, or says what is wrong
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text else ""
        raise ValueError(f"not JSON: {error.msg} at {line}column {error.colno}") from error
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error


def _num_colons(value: dict[str, Any]) -> int:
    """Colons of an object's text after its keys and in its strings; without those of its lists."""
    number = len(value)
    for part in value.values():
        if type(part) is str:
            number += part.count(":")
        elif type(part) is dict:
            number += _num_colons(part)
    return number
