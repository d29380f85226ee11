"""GOT-10k tracks: the eight-box JSON of VideoChat-R1, or the data set's own folders.

A folder per clip, with frames, groundtruth.txt and meta_info.ini; list.txt names them.
"""

import configparser
import re
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, FiniteFloat

from rft.data.convert.source import Anomaly, Format, Published, SourceRequest, read_json
from rft.errors import refuse

SPLITS = {"got_train": "train", "train": "train", "got_val": "val", "val": "val"}
"""File name -> split, of the JSON."""

SOURCE_FPS = 10.0
"""Frames per second of the folders."""

NUM_LATER_BOXES = 7
"""Boxes after the start box, evenly spaced, as in the published JSON."""


class Track(BaseModel):
    """{"path": ".../GOT-10k_Val_000001", "object": "sloth", "gt": [[0.09, 0.0, 0.8, 0.797], ...]}."""

    model_config = ConfigDict(frozen=True)

    path: str
    object: str
    gt: tuple[tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat], ...]
    """Left, top, right, bottom as parts of the image; the start box, then evenly spaced ones."""


def read(request: SourceRequest) -> Published:
    """Folders where the source is one, else the JSON; its cluster paths are cut to `split/clip`."""
    if request.source.is_dir():
        return _read_folders(request)
    dataset = f"got10k/{request.split_among(SPLITS)}"
    tracks = read_json(request.source, tuple[Track, ...])
    drafts = []
    for track in tracks:
        path = PurePosixPath(track.path.replace("\\", "/"))
        folder, name = path.parent.name, path.name
        drafts.append(
            request.draft(
                dataset,
                name,
                [f"{folder}/{name}", name, f"GOT-10k/{folder}/{name}"],
                source_fps=SOURCE_FPS,
                object=track.object,
                target={"boxes": [list(box) for box in track.gt]},
            )
        )
    counts = sorted({len(track.gt) for track in tracks})
    facts = (
        ("distinct objects", f"{len({track.object for track in tracks}):,}"),
        ("boxes per clip", " or ".join(map(str, counts))),
    )
    return Published(tuple(drafts), facts)


def _read_folders(request: SourceRequest) -> Published:
    """One draft per folder of a split such as GOT-10k/train. DataError: every folder that cannot be read.

    The start box is that of the first frame; the other 7 lie evenly over the frames after it. Boxes become parts of
    the image, with 3 decimals. What has no annotation, or too short a one, cannot be a draft: an anomaly.
    """
    split = request.split_among({"train": "train", "val": "val", "test": "test"})
    root = request.source
    if (root / split).is_dir():
        root = root / split
    dataset = f"got10k/{split}"
    drafts, anomalies, problems = [], [], []
    names, is_listed = _names(root)
    for name in names:
        row_id = f"{dataset}/{name}"
        if not (root / name / "groundtruth.txt").is_file():
            anomalies.append(Anomaly("no_annotation", row_id, "no groundtruth.txt"))
            continue
        try:
            boxes, chosen = _boxes(root / name)
            if len(boxes) <= NUM_LATER_BOXES:
                anomalies.append(Anomaly("no_annotation", row_id, f"{len(boxes)} boxes"))
                continue
            draft = request.draft(
                dataset,
                name,
                [f"{split}/{name}", name, f"GOT-10k/{split}/{name}"],
                source_fps=SOURCE_FPS,
                duration_s=len(boxes) / SOURCE_FPS,
                object=_meta(root / name, "object_class"),
                target={"boxes": [boxes[i] for i in chosen]},
            )
            absent = _absent(root / name)
        except ValueError as error:
            problems.append(f"{root / name}: {error}")
            continue
        drafts.append(draft)
        if any(i in absent for i in chosen):
            anomalies.append(
                Anomaly("absent_object", row_id, f"frames {', '.join(str(i + 1) for i in chosen if i in absent)}")
            )
    refuse(problems if names else [f"{root}: no list.txt and no folder with groundtruth.txt"])
    facts = (
        ("clips named by", "list.txt" if is_listed else "the folders"),
        ("distinct objects", f"{len({draft.fields['object'] for draft in drafts}):,}"),
    )
    return Published(tuple(drafts), facts, (), tuple(anomalies))


def even_indices(num_frames: int) -> list[int]:
    """Frame indices of the 8 boxes: 0 for the start box, then 7 spaced evenly from 1 to the last frame."""
    last = NUM_LATER_BOXES - 1
    return [0, *(round(1 + i * (num_frames - 2) / last) for i in range(NUM_LATER_BOXES))]


def _names(root: Path) -> tuple[list[str], bool]:
    """The clips of a split, and whether list.txt names them."""
    for listing in (root / "list.txt", root / "meta_info" / "list.txt"):
        if listing.is_file():
            return [line.strip() for line in listing.read_text(encoding="utf-8").split("\n") if line.strip()], True
    return sorted(file.parent.name for file in root.glob("*/groundtruth.txt")), False


def _boxes(folder: Path) -> tuple[list[list[float]], list[int]]:
    """(box of every frame as parts of the image, indices of the 8 requested frames). ValueError: not such a file."""
    width, height = _image_size(folder)
    boxes = []
    for number, line in enumerate((folder / "groundtruth.txt").read_text().split("\n"), start=1):
        if line.strip():
            try:
                x, y, w, h = map(float, re.split(r"[,\s]+", line.strip()))
            except ValueError:
                raise ValueError(
                    f"groundtruth.txt:{number}: not 'left,top,width,height': {line.strip()[:40]!r}"
                ) from None
            boxes.append([round(v, 3) for v in (x / width, y / height, (x + w) / width, (y + h) / height)])
    return boxes, even_indices(len(boxes))


def _image_size(folder: Path) -> tuple[int, int]:
    """(width, height) of the first frame, or what meta_info.ini says where no frames are here."""
    frame = next((file for file in sorted(folder.glob("*.jpg"))), None)
    if frame is not None:
        from PIL import Image

        with Image.open(frame) as image:
            return image.size
    width, height = map(int, re.findall(r"\d+", _meta(folder, "resolution"))[:2])
    return width, height


def _meta(folder: Path, key: str) -> str:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(folder / "meta_info.ini", encoding="utf-8")
        return parser["METAINFO"][key]
    except (KeyError, configparser.Error) as error:
        raise ValueError(f"meta_info.ini does not state {key} under [METAINFO]") from error


def _absent(folder: Path) -> set[int]:
    """Frames in which absence.label says that the object is not seen."""
    file = folder / "absence.label"
    marks = file.read_text().split() if file.is_file() else []
    return {i for i, mark in enumerate(marks) if mark == "1"}


FORMAT = Format(("tracking",), read)
