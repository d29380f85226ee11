"""VNBench (VideoNIAH, arXiv:2406.09367): questions about needles in short videos, each asked in several tries."""

from collections import Counter
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, Field

from rewards.targets.choice import LETTERS
from rft.data.convert.source import Format, Published, SourceRequest, read_json, value_counts


class VNQuestion(BaseModel):
    """{"video", "question", "options", "gt", "type", "try"}: one try; gt is the text of the right option."""

    model_config = ConfigDict(frozen=True)

    video: str
    question: str
    options: tuple[str | int, ...]
    gt: str | int
    type: str
    place: int = Field(alias="try")

    @property
    def name(self) -> str:
        """That of the question in all its tries: each has a video of its own."""
        return PurePosixPath(self.video).stem


def _vnbench(request: SourceRequest) -> Published:
    """One row per try; the data set is the type of question, as the published figures are."""
    questions = read_json(request.source, tuple[VNQuestion, ...])
    tries = Counter(one.name for one in questions)
    drafts = []
    for one in questions:
        options = [str(option) for option in one.options]
        letter = LETTERS[options.index(str(one.gt))] if str(one.gt) in options[: len(LETTERS)] else ""
        target = {"choice": letter, "tries_of": one.name, "try": one.place, "tries": tries[one.name]}
        videos = [one.video.removeprefix("./"), PurePosixPath(one.video).name]
        key = f"{one.name}/{one.place}"
        fields = {"question": one.question, "options": options, "target": target}
        drafts.append(request.draft(f"vnbench/{one.type}", key, videos, **fields))
    facts = (
        ("rows by type", value_counts(one.type for one in questions)),
        ("questions by number of tries", value_counts(f"{count}:" for count in tries.values())),
    )
    return Published(tuple(drafts), facts)


FORMATS = {"vnbench": Format(("circular_choice",), _vnbench)}
