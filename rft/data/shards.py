"""Videos and images inside zip and tar files, named "shard.zip::folder/clip.mp4"; read in place, never unpacked.

Members must be stored without compression, as tar always has them and `zip -0` writes them: a decoder seeks in them.
"""

import io
import os
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from typing_extensions import Buffer

from rft.data.frames import ClipError

SEPARATOR = "::"
ENDINGS = (".zip", ".tar")

ZIP_HEADER = 30
"""Bytes before the name of a member in a zip file; the lengths of name and extra field are its last four."""
ENCRYPTED = 0x1
"""Bit of a zip member's flags."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where a file lies in its shard."""

    shard: Path
    offset: int
    """Bytes from the start of the shard."""
    size: int
    changed_ns: int
    """Time of change of the shard."""


def split_name(path: Path) -> tuple[Path, str] | None:
    """(shard, name in it); None: the path of an ordinary file."""
    shard, separator, name = str(path).partition(SEPARATOR)
    return (Path(shard), name) if separator and shard.endswith(ENDINGS) else None


def find_member(path: Path) -> Member | None:
    """Where the file of this name lies; None: the path of an ordinary file.

    Raises FileNotFoundError where shard or member are not there, ClipError where it cannot be read in place.
    """
    names = split_name(path)
    if names is None:
        return None
    shard, name = names
    state = shard.stat()
    found = _members(shard, state.st_size, state.st_mtime_ns).get(name)
    if found is None:
        raise FileNotFoundError(f"{shard} holds no {name}")
    if isinstance(found, str):
        raise ClipError(f"{path}: {found}")
    offset, size = found
    if offset + size > state.st_size:
        raise ClipError(f"{path}: the shard is cut short")
    return Member(shard, offset, size, state.st_mtime_ns)


def media_exists(path: Path) -> bool:
    """Whether a file, folder or member of a shard of this name is there; one that cannot be read is."""
    try:
        return path.exists() if split_name(path) is None else find_member(path) is not None
    except FileNotFoundError:
        return False
    except ClipError:
        return True


def open_member(member: Member) -> BinaryIO:
    """The member as a file of its own."""
    return io.BufferedReader(_Window(member))


class _Window(io.RawIOBase):
    """Bytes of a file from one place to another."""

    def __init__(self, member: Member) -> None:
        self._file, self._start, self._size = member.shard.open("rb", buffering=0), member.offset, member.size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def readinto(self, buffer: Buffer) -> int:
        room = memoryview(buffer)
        self._file.seek(self._start + self._place)
        read = self._file.readinto(room[: max(0, self._size - self._place)]) or 0
        self._place += read
        return read

    def close(self) -> None:
        self._file.close()
        super().close()


@lru_cache(maxsize=64)
def _members(shard: Path, size: int, changed_ns: int) -> Mapping[str, tuple[int, int] | str]:
    """Name -> (offset, size), or why it cannot be read. `size` and `changed_ns`: so that a new shard is read again."""
    try:
        return _of_zip(shard) if shard.suffix == ".zip" else _of_tar(shard)
    except (zipfile.BadZipFile, tarfile.TarError, NotImplementedError) as error:
        raise ClipError(f"{shard}: not a readable {shard.suffix} file: {error}") from error


def _of_zip(shard: Path) -> Mapping[str, tuple[int, int] | str]:
    with zipfile.ZipFile(shard) as archive, shard.open("rb") as file:
        return {info.filename: _place_in_zip(info, file) for info in archive.infolist() if not info.is_dir()}


def _place_in_zip(info: zipfile.ZipInfo, file: BinaryIO) -> tuple[int, int] | str:
    if info.flag_bits & ENCRYPTED:
        return "is encrypted. Store it without a password."
    if info.compress_type != zipfile.ZIP_STORED:
        return "is compressed. Make the shard with `zip -0`: videos do not get smaller."
    file.seek(info.header_offset)
    lengths = file.read(ZIP_HEADER)[-4:]
    name, extra = int.from_bytes(lengths[:2], "little"), int.from_bytes(lengths[2:], "little")
    return info.header_offset + ZIP_HEADER + name + extra, info.file_size


def _of_tar(shard: Path) -> Mapping[str, tuple[int, int] | str]:
    with tarfile.open(shard, "r:") as archive:
        return {
            info.name.removeprefix("./"): (info.offset_data, info.size)
            if info.isreg() and not info.issparse()
            else "is no ordinary file."
            for info in archive
            if not info.isdir()
        }
