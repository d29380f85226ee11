"""Charades-STA as JSON by video: the form that TimeZero and VideoChat-R1 published."""

from rft.commands.data.convert.dense_events import read_dense_events
from rft.commands.data.convert.types import Format, Published, SourceRequest

SPLITS = {"train": "train", "val": "test", "charades_test": "test", "test": "test"}
"""File name -> split. The file called val holds the test split."""

NO_VALIDATION = (
    "Charades-STA has no validation split: val.json and charades_test.json are the same test split. "
    "A model or step selected on either is selected on the test; hold out videos of train instead."
)


def read(request: SourceRequest) -> Published:
    split = request.split_among(SPLITS)
    return read_dense_events(request, f"charades_sta/{split}", () if split == "train" else (NO_VALIDATION,))


FORMAT = Format("Charades-STA: JSON by video", ("temporal_grounding",), read)
