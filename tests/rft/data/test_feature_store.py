"""Features of clips in a folder that several processes share."""

import os
from pathlib import Path

import pytest
import torch

from rft.data.feature_store import FeatureFolder, features_in


def test_features_come_back_as_they_were_stored(tmp_path: Path) -> None:
    folder = FeatureFolder(features_in(tmp_path), 1.0)
    assert folder.load("tower", "clip") is None
    for dtype in (torch.float32, torch.bfloat16):
        features = torch.randn(6, 8, dtype=dtype)[1:4]  # a part of a tensor, as a tower's output of several clips is
        folder.store("tower", "clip", features)
        loaded = FeatureFolder(features_in(tmp_path), 1.0).load("tower", "clip")
        assert loaded is not None
        assert loaded.dtype == dtype
        assert torch.equal(loaded, features)


def test_clips_and_towers_are_stored_separately(tmp_path: Path) -> None:
    folder = FeatureFolder(tmp_path, 1.0)
    names = [(tower, clip) for tower in "ab" for clip in ("x", "x-shuffled-3")]
    for number, (tower, clip) in enumerate(names):
        folder.store(tower, clip, torch.full((1, 1), float(number)))
    assert [folder.load(*name) for name in names] == [torch.full((1, 1), float(number)) for number in range(4)]
    assert folder.load("c", "x") is None


def test_all_towers_and_writers_together_stay_within_the_limit(tmp_path: Path) -> None:
    """The one that is used stays, of whichever tower; a writer sees what others wrote."""
    writers = [FeatureFolder(tmp_path, 3 * 4200 / 2**30) for _ in range(2)]
    for number in range(6):
        writers[number % 2].store("ab"[number // 3], f"clip{number}", torch.zeros(1, 1000))
        for path in tmp_path.rglob("clip0.feat"):
            os.utime(path, ns=(1, 2**62))  # read just now, were the clock finer
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.feat")) <= 3 * 4200
    assert sorted(path.stem for path in tmp_path.rglob("*.feat")) == ["clip0", "clip4", "clip5"]
    assert not list(tmp_path.rglob("*.part"))


def test_reading_counts_as_use(tmp_path: Path) -> None:
    folder = FeatureFolder(tmp_path, 2 * 4200 / 2**30)
    for number in range(2):
        folder.store("t", f"clip{number}", torch.zeros(1, 1000))
    for path in tmp_path.rglob("*.feat"):
        os.utime(path, ns=(1, 1))
    folder.load("t", "clip0")
    folder.store("t", "clip2", torch.zeros(1, 1000))
    assert folder.load("t", "clip1") is None
    assert folder.load("t", "clip0") is not None


@pytest.mark.parametrize("content", [b"", b"cut off", b"\xff" * 64])
def test_a_damaged_file_is_as_none(tmp_path: Path, content: bytes) -> None:
    folder = FeatureFolder(tmp_path, 1.0)
    folder.store("t", "clip", torch.zeros(2, 2))
    (path,) = tmp_path.rglob("*.feat")
    path.write_bytes(content)
    assert folder.load("t", "clip") is None
    folder.store("t", "clip", torch.ones(2, 2))
    assert folder.load("t", "clip") is not None


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("rft.data.feature_store.save_file", full)
    with pytest.raises(OSError, match="No space"):
        FeatureFolder(tmp_path, 1.0).store("t", "clip", torch.zeros(2, 2))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
