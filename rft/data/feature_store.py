"""What a frozen vision tower makes of clips, in a folder that engines and learner share: a clip is encoded once."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


def features_in(clips_dir: Path) -> Path:
    """Where a run keeps them, beside its decoded clips."""
    return clips_dir / "features"


class FeatureFolder:
    """Features by tower and clip, at most `max_gib` of all towers together; the least recently used go first.

    Several processes may read, write and make room at one time.
    """

    def __init__(self, directory: Path, max_gib: float) -> None:
        self._directory = directory
        self._max_bytes = int(max_gib * 2**30)
        self._bytes_since_look = 0

    def load(self, tower: str, key: str) -> Tensor | None:
        """What was stored, [visual tokens, width]; None: nothing, or it had to make room, or the file is damaged."""
        path = self._path(tower, key)
        try:
            features = load_file(path)["features"]
            os.utime(path)
        except (FileNotFoundError, SafetensorError):
            return None
        return features

    def store(self, tower: str, key: str, features: Tensor) -> None:
        """Keep `features`, [visual tokens, width], of clip `key` by the tower of fingerprint `tower`."""
        path = self._path(tower, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        os.close(descriptor)
        try:
            save_file({"features": features.detach().cpu().contiguous()}, part)
            os.replace(part, path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
        self._bytes_since_look += features.nbytes
        if self._bytes_since_look * 20 >= self._max_bytes:  # others write too: look often enough for all
            self._bytes_since_look = 0
            self._make_room()

    def _make_room(self) -> None:
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, file in files[:-1]:
            if total <= self._max_bytes:
                return
            file.unlink(missing_ok=True)
            total -= size

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Time of last use, size and path of each."""
        for file in self._directory.glob("*/*.feat"):
            with contextlib.suppress(FileNotFoundError):  # another process made room
                found = file.stat()
                yield found.st_mtime_ns, found.st_size, file

    def _path(self, tower: str, key: str) -> Path:
        return self._directory / tower / f"{key}.feat"
