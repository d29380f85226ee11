"""ActivityNet Captions as JSON by video; its `phrases` are not used."""

from rft.data.convert.dense_events import dense_events_format

FORMAT = dense_events_format(
    "activitynet_captions",
    # What papers call the test set is val_2.
    {"train": "train", "val": "val_1", "val_1": "val_1", "val_2": "test", "test": "test"},
    "val_1 and test (= val_2) describe the same videos, by other annotators: "
    "do not train, or select a model, on one and test on the other.",
)
