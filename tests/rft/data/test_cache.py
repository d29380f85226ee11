"""What a folder that several processes keep entries in removes, and what it leaves alone."""

import os
from pathlib import Path

import pytest

from rft.data.cache import FolderCache


def test_a_file_that_is_being_written_stays_however_old_the_clock_says_it_is(tmp_path: Path) -> None:
    folder = FolderCache(tmp_path, "*.clip", max_gib=1.0)
    left_over = tmp_path / "killed.clip1.part"
    left_over.touch()
    os.utime(left_over, (0, 0))

    def write(part: Path) -> None:
        part.write_bytes(b"frames")
        os.utime(part, (0, 0))
        # The first thing that another one stores makes room.
        FolderCache(tmp_path, "*.clip", max_gib=1.0).store(tmp_path / "other.clip", lambda own: own.write_bytes(b"x"))

    folder.store(tmp_path / "a.clip", write)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.clip", "other.clip"]
    assert (tmp_path / "a.clip").read_bytes() == b"frames"


def test_a_file_that_could_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"):
        FolderCache(tmp_path, "*.clip", max_gib=1.0).store(tmp_path / "a.clip", fails)
    assert list(tmp_path.iterdir()) == []


def fails(part: Path) -> None:
    raise OSError("full")
