"""ActivityNet Captions as JSON by video; its `phrases` are not used."""

from rft.commands.data.convert.dense_events import read_dense_events
from rft.commands.data.convert.types import Format, Published, SourceRequest

SPLITS = {"train": "train", "val": "val_1", "val_1": "val_1", "val_2": "test", "test": "test"}
"""File name -> split: what papers call the test set is val_2."""

SAME_VIDEOS = (
    "val_1 and test (= val_2) describe the same videos, by other annotators: "
    "do not train, or select a model, on one and test on the other."
)


def read(request: SourceRequest) -> Published:
    split = request.split_among(SPLITS)
    return read_dense_events(request, f"activitynet_captions/{split}", () if split == "train" else (SAME_VIDEOS,))


FORMAT = Format("ActivityNet Captions: JSON by video", ("temporal_grounding",), read)
