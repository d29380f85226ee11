"""Charades-STA as JSON by video: the form that TimeZero and VideoChat-R1 published."""

from rft.data.convert.dense_events import dense_events_format

FORMAT = dense_events_format(
    "charades_sta",
    # The file called val holds the test split.
    {"train": "train", "val": "test", "charades_test": "test", "test": "test"},
    "Charades-STA has no validation split: val.json and charades_test.json are the same test split. "
    "A model or step selected on either is selected on the test; hold out videos of train instead.",
)
