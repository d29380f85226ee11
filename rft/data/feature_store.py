"""What a frozen vision tower makes of clips, in a folder that engines and learner share: a clip is encoded once."""

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rft.data.cache import FolderCache


def features_in(clips_dir: Path) -> Path:
    """Where a run keeps them, beside its decoded clips."""
    return clips_dir / "features"


class FeatureFolder:
    """Features by tower and clip, at most `max_gib` of all towers together; the least recently used go first.

    Several processes may read, write and make room at one time.
    """

    def __init__(self, directory: Path, max_gib: float) -> None:
        self._directory = directory
        self._files = FolderCache(directory, "*/*.feat", max_gib)

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
        tensors = {"features": features.detach().cpu().contiguous()}
        self._files.store(self._path(tower, key), lambda part: save_file(tensors, part))

    def _path(self, tower: str, key: str) -> Path:
        return self._directory / tower / f"{key}.feat"
