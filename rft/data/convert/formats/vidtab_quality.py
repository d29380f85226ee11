"""VidTAB's quality assessment (VideoEval, Quality_Access): an instruction that names two labels, and the right one."""

import re
from collections import Counter

from pydantic import BaseModel, ConfigDict

from rft.data.convert.source import Format, Published, SourceRequest, read_json

PREFIX = "Quality_Access_"
SPLITS = {f"{PREFIX}{split}": split for split in ("4shot", "16shot", "100shot", "test")}

SHARED_SHOTS = "The 4, 16 and 100 shot files share videos: do not train on one of them and hold out another."

_LIST = re.compile(r"\[([^\[\]]*)\]")


class Clip(BaseModel):
    """{"video": "0506.mp4", "instruction": "... ['low quality', 'high quality'].", "answer": "low quality"}."""

    model_config = ConfigDict(frozen=True)

    video: str
    instruction: str
    answer: str


def labels_in(instruction: str) -> list[str]:
    """The labels of the bracketed list that an instruction ends with; empty without one."""
    lists = _LIST.findall(instruction)
    return [label for part in lists[-1].split(",") if (label := part.strip(" '\""))] if lists else []


def read(request: SourceRequest) -> Published:
    split = request.split_among(SPLITS)
    dataset = f"vidtab_quality/{split}"
    clips = read_json(request.source, tuple[Clip, ...])
    drafts = tuple(
        request.draft(
            dataset,
            clip.video.rpartition(".")[0] or clip.video,
            [clip.video],
            question=clip.instruction,
            labels=labels_in(clip.instruction),
            target={"label": clip.answer},
        )
        for clip in clips
    )
    counts = Counter(clip.answer for clip in clips)
    facts = (("clips by label", ", ".join(f"{label} {count:,}" for label, count in sorted(counts.items()))),)
    return Published(drafts, facts, () if split == "test" else (SHARED_SHOTS,))


FORMAT = Format(("quality",), read)
