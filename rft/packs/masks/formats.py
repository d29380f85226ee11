"""Published expressions about objects in videos, with their masks: MeViS and ReVOS, Ref-YouTube-VOS, ReasonVOS.

Each source is the meta_expressions file; its masks lie where the data set has them. A row asks about a few moments,
evenly spaced; the masks of a row's objects are united.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from rft.data.convert.source import Anomaly, Draft, Format, Published, SourceRequest, read_json
from rft.errors import DataError
from rft.packs.masks.mask import Mask, Rle, mask_of, read_rle, rle_of

SOURCE_FPS = 6.0
"""Frames per second of the folders of frames: that of YouTube-VOS, every fifth of 30. The others state none."""

NUM_MOMENTS = {"mask_keyframe": 8}
"""Task -> asked moments of a row, where they are not 4."""

TYPES = {0: "referring", 1: "reasoning", 2: "empty"}
"""type_id of ReVOS -> part of the evaluation."""

TASKS = ("mask_keyframe", "mask_outline", "mask_boxes")


class Expression(BaseModel):
    """{"exp": "the dog that runs", "anno_id": [3, 4], "type_id": 0}; of ReasonVOS "exp_text" for "exp"."""

    model_config = ConfigDict(frozen=True)

    exp: str | None = None
    exp_text: str | None = None
    exp_id: int | str | None = None
    obj_id: int | str | list[int | str] | None = None
    anno_id: list[int | str] | None = None
    """None: the split is published without masks."""
    type_id: int | None = None

    @property
    def text(self) -> str:
        return self.exp or self.exp_text or ""


class Clip(BaseModel):
    """{"frames": ["00000", "00005"], "expressions": {"0": {"exp": ..}}}; expressions as a list too."""

    model_config = ConfigDict(frozen=True)

    frames: list[str]
    expressions: dict[str, Expression] | list[Expression]
    source: str | None = None
    is_sent: bool | None = None

    @property
    def named(self) -> list[tuple[str, Expression]]:
        """(name, expression)."""
        if isinstance(self.expressions, dict):
            return list(self.expressions.items())
        return [(str(i if one.exp_id is None else one.exp_id), one) for i, one in enumerate(self.expressions)]


class Expressions(BaseModel):
    videos: dict[str, Clip]


Found = tuple[Sequence[Rle | None], Mapping[str, Any]]
"""Masks of the asked frames, and the other parts of the target: class name, subsets."""


def read_mask_dict(request: SourceRequest) -> Published:
    """MeViS and ReVOS: mask_dict.json beside the expressions holds a run-length code or null per frame and object."""
    path = request.source.with_name("mask_dict.json")
    if not path.is_file():
        raise DataError(f"{path}: not there. The masks lie beside the expressions; a split without them has no rows.")
    masks = read_json(path, dict[str, list[Any]])

    def find(video: str, clip: Clip, expression: Expression, frames: Sequence[int]) -> Found:
        if expression.anno_id is None:
            raise ValueError("no anno_id: the split is published without masks")
        names = [str(name) for name in expression.anno_id]
        lacking = [name for name in names if len(masks.get(name, [])) != len(clip.frames)]
        if lacking:
            raise ValueError(f"objects {', '.join(lacking)}: not one mask per frame in mask_dict.json")
        of_frames = [union([read_rle(masks[name][i]) for name in names if masks[name][i]]) for i in frames]
        subsets = [TYPES.get(expression.type_id, str(expression.type_id))] if expression.type_id is not None else []
        return of_frames, {"subsets": subsets} if subsets else {}

    return _rows(request, _dataset(request), find, lambda video: f"JPEGImages/{video}")


def read_youtube(request: SourceRequest) -> Published:
    """Ref-YouTube-VOS and Ref-DAVIS17 in its form: Annotations/VIDEO/FRAME.png, whose pixels hold the object's number.

    The frames' folder `train` or `valid` is searched beside the expressions and in the folders above them.
    """
    split = request.split or request.source.parent.name
    root = _above(request.source, f"{split}/Annotations")
    meta = root / split / "meta.json"
    classes = read_json(meta, dict[str, Any])["videos"] if meta.is_file() else {}

    def find(video: str, clip: Clip, expression: Expression, frames: Sequence[int]) -> Found:
        number = int(str(expression.obj_id)) if expression.obj_id is not None else None
        if number is None:
            raise ValueError("no obj_id: the split is published without masks")
        of_frames = [_png(root / split / "Annotations" / video / f"{clip.frames[i]}.png", number) for i in frames]
        name = classes.get(video, {}).get("objects", {}).get(str(number), {}).get("category")
        return of_frames, {"object_class": name} if name else {}

    return _rows(request, f"ref_youtube_vos/{split}", find, lambda video: f"{split}/JPEGImages/{video}")


def read_reason(request: SourceRequest) -> Published:
    """ReasonVOS: Annotations/SOURCE_VIDEO_OBJECT/FRAME.png, every pixel that is not 0 belongs to the object."""
    root = request.source.parent

    def find(video: str, clip: Clip, expression: Expression, frames: Sequence[int]) -> Found:
        folder = root / "Annotations" / f"{(clip.source or '').lower()}_{video}_{expression.obj_id}"
        files = sorted(folder.glob("*.png"))
        if len(files) != len(clip.frames):
            raise ValueError(f"{folder.name}: {len(files)} masks, {len(clip.frames)} frames")
        subset = "reasoning sentence" if clip.is_sent else "reasoning phrase"
        return [_png(files[i], None) for i in frames], {"subsets": [subset]}

    return _rows(request, "reason_vos/test", find, lambda video: f"JPEGImages/{video}")


def _rows(
    request: SourceRequest,
    dataset: str,
    find: Callable[[str, Clip, Expression, Sequence[int]], Found],
    folder_of: Callable[[str], str],
) -> Published:
    """A draft per expression. `find`: masks of the frames, ValueError where there are none; `folder_of`: of frames."""
    drafts: list[Draft] = []
    anomalies: list[Anomaly] = []
    videos = read_json(request.source, Expressions).videos
    for video, clip in videos.items():
        frames = moments(len(clip.frames), NUM_MOMENTS.get(request.task, 4))
        clip = clip.model_copy(update={"frames": sorted(clip.frames)})
        for name, expression in clip.named:
            key = f"{video}/{name}"
            try:
                masks, parts = find(video, clip, expression, frames)
            except (ValueError, OSError) as error:
                anomalies.append(Anomaly("no_annotation", f"{dataset}/{key}", str(error)))
                continue
            target = {
                "times": [round(i / SOURCE_FPS, 3) for i in frames],
                "masks": [mask.to_json() if mask else None for mask in masks],
                **parts,
            }
            duration_s = len(clip.frames) / SOURCE_FPS
            fields = {"source_fps": SOURCE_FPS, "duration_s": round(duration_s, 3), "query": expression.text}
            drafts.append(request.draft(dataset, key, [folder_of(video), video], **fields, target=target))
            if None in masks or any(mask and not mask_of(mask).area for mask in masks):
                anomalies.append(Anomaly("absent_object", f"{dataset}/{key}"))
    facts = (
        ("expressions", f"{sum(len(clip.named) for clip in videos.values()):,}"),
        ("of several objects", f"{sum(len(e.anno_id or ()) > 1 for c in videos.values() for _, e in c.named):,}"),
        ("frames per second, not published", f"{SOURCE_FPS:g}"),
    )
    return Published(tuple(drafts), facts, (), tuple(anomalies))


def _dataset(request: SourceRequest) -> str:
    """ "revos/valid" of ReVOS/meta_expressions_valid_.json, "mevis/train" of mevis/train/meta_expressions.json."""
    folder = request.source.absolute().parent
    split = request.source.stem.removeprefix("meta_expressions").strip("_")
    name = folder.name if split else folder.parent.name
    return f"{name.lower()}/{request.split or split or folder.name}"


def moments(num_frames: int, most: int) -> list[int]:
    """Frame indices in the middle of `most` equal parts of a video; all of them where it has no more."""
    count = min(num_frames, most)
    return [int((i + 0.5) * num_frames / count) for i in range(count)]


def union(rles: Sequence[Rle]) -> Rle | None:
    """One mask of several; None without any. ValueError: their sizes differ."""
    if len({(rle.height, rle.width) for rle in rles}) > 1:
        raise ValueError("masks of one frame differ in size")
    if len(rles) < 2:
        return rles[0] if rles else None
    bits = 0
    for rle in rles:
        bits |= mask_of(rle).bits
    return rle_of(Mask(rles[0].height, rles[0].width, bits))


def _png(path: Path, number: int | None) -> Rle:
    """The mask of the pixels that hold an object's number, or any but 0. OSError: no such image."""
    with Image.open(path) as image:
        pixels = np.asarray(image if image.mode in ("P", "L") else image.convert("L"))
    mask = pixels == number if number is not None else pixels > 0
    bits = int.from_bytes(np.packbits(mask.T).tobytes()) >> -mask.size % 8
    return rle_of(Mask(mask.shape[0], mask.shape[1], bits))


def _above(path: Path, inside: str) -> Path:
    """The nearest folder above a file that holds another one. DataError: none does."""
    found = next((folder for folder in path.absolute().parents if (folder / inside).is_dir()), None)
    if found is None:
        raise DataError(f"{path}: no folder above it holds {inside}. Unpack the data set's masks there.")
    return found


FORMATS = {
    "mask_dict": Format(TASKS, read_mask_dict),
    "ref_youtube_vos": Format(TASKS, read_youtube),
    "reason_vos": Format(TASKS, read_reason),
}
