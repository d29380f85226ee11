"""GOT-10k tracks: the eight-box JSON of VideoChat-R1, or the data set's own folders."""

from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter

from rft.commands.data.convert.got10k_folders import SOURCE_FPS, read_folders
from rft.commands.data.convert.json_source import read_json
from rft.commands.data.convert.types import Draft, Format, Published, SourceRequest, split_of

SPLITS = {"got_train": "train", "train": "train", "got_val": "val", "val": "val"}


class Track(BaseModel):
    """{"path": ".../GOT-10k_Val_000001", "object": "sloth", "gt": [[0.09, 0.0, 0.8, 0.797], ...]}."""

    model_config = ConfigDict(frozen=True)

    path: str
    object: str
    gt: tuple[tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat], ...]
    """Left, top, right, bottom as parts of the image; the start box, then evenly spaced ones."""


_SHAPE = TypeAdapter(tuple[Track, ...])


def read(request: SourceRequest) -> Published:
    """Folders where the source is one, else the JSON; its cluster paths are cut to `split/clip`."""
    if request.source.is_dir():
        return read_folders(request)
    dataset = f"got10k/{split_of(request, SPLITS)}"
    tracks = read_json(request.source, _SHAPE)
    drafts = []
    for track in tracks:
        path = PurePosixPath(track.path.replace("\\", "/"))
        fields = {
            "id": f"{dataset}/{path.name}",
            "task": request.task,
            "video": f"{path.parent.name}/{path.name}",
            "source_fps": SOURCE_FPS,
            "object": track.object,
            "target": {"boxes": [list(box) for box in track.gt]},
            "dataset": dataset,
        }
        drafts.append(Draft(fields, (path.name, f"GOT-10k/{path.parent.name}/{path.name}")))
    counts = sorted({len(track.gt) for track in tracks})
    facts = (
        ("distinct objects", f"{len({track.object for track in tracks}):,}"),
        ("boxes per clip", " or ".join(map(str, counts))),
    )
    return Published(tuple(drafts), facts)


FORMAT = Format("GOT-10k: the eight-box JSON, or its folders of a split", ("tracking",), read)
