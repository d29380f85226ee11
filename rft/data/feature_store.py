"""Vision features of clips in a folder that engines and learner share, so that a frozen tower encodes a clip once."""

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rft.data.cache import FolderCache


def features_in(clips_dir: Path) -> Path:
    """Folder of a run's features, in the folder of its decoded clips."""
    return clips_dir / "features"


class FeatureFolder:
    """Features by tower and clip, at most `max_gib` for all towers together; several processes may use the folder."""

    def __init__(self, directory: Path, max_gib: float) -> None:
        self._directory = directory
        self._files = FolderCache(directory, "*/*.feat", max_gib)

    def load(self, tower: str, key: str) -> Tensor | None:
        """Stored features, [visual tokens, width]; None: never stored, removed, or the file is damaged."""
        path = self._path(tower, key)
        try:
            features = load_file(path)["features"]
            os.utime(path)
        except (FileNotFoundError, SafetensorError):
            return None
        return features

    def store(self, tower: str, key: str, features: Tensor) -> None:
        """Store `features`, [visual tokens, width], of the clip `key` by the tower with the fingerprint `tower`."""
        tensors = {"features": features.detach().cpu().contiguous()}
        self._files.store(self._path(tower, key), lambda part: save_file(tensors, part))

    def _path(self, tower: str, key: str) -> Path:
        return self._directory / tower / f"{key}.feat"
