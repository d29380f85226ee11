"""The published annotation files: in RFT_ANNOTATIONS, or beside the checkout in shared/annotations."""

import os
from pathlib import Path

import pytest

ANNOTATIONS = Path(os.environ.get("RFT_ANNOTATIONS") or Path(__file__).parents[2] / "shared" / "annotations")


def annotations(name: str) -> Path:
    """The path of a file; where it is not there, the test that asks is skipped and says so."""
    if not ANNOTATIONS.is_dir():
        pytest.skip(f"{ANNOTATIONS} is not there; RFT_ANNOTATIONS names the folder of published annotations")
    path = ANNOTATIONS / name
    if not path.is_file():
        pytest.skip(f"{path} is not there; the other published annotations are")
    return path
