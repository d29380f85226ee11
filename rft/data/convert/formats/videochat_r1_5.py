"""VideoChat-R1.5 (arXiv:2509.21100): its list of training sets, cotraining.json, with the files that it names.

Events, questions with spans and lettered questions become rows; boxes in images are counted and left out.
"""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

from rft.data.convert.lettered import letter_of, without_letters
from rft.data.convert.source import Anomaly, Draft, Format, Published, SourceRequest, read_json

TASK_OF = {"tg": "temporal_grounding", "gqa": "grounded_qa", "mc": "multiple_choice"}
"""Kind of a set -> our task; sets of other kinds (igqa, detection) ask for boxes in an image."""


class TrainingSet(BaseModel):
    """{"media_type": "video", "task_type": "gqa", "json_path": "a/nextgqa.json", "visual_base": "/data/NExTVideo"}."""

    model_config = ConfigDict(frozen=True)

    media_type: Literal["video", "image"]
    task_type: str
    json_path: str


class Annotation(BaseModel):
    """{"video" or "image", "question", "options", "answer": "(B)", "glue": [[1.0, 4.5]], "duration"}."""

    model_config = ConfigDict(frozen=True)

    question: str
    video: str | None = None
    image: str | None = None
    options: tuple[str, ...] = ()
    answer: str = ""
    glue: tuple[tuple[FiniteFloat, FiniteFloat], ...] = ()
    """Target spans, in seconds; that of an event stands alone: [1.0, 4.5]."""
    duration: float | None = Field(None, gt=0, allow_inf_nan=False)

    @field_validator("glue", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return [value] if isinstance(value, list) and not any(isinstance(part, list) for part in value) else value


def read(request: SourceRequest) -> Published:
    """One draft per annotation, each with the task of its set. DataError: a file is missing or has another shape."""
    sets = read_json(request.source, dict[str, TrainingSet])
    drafts: list[Draft] = []
    unread: list[Anomaly] = []
    kinds: Counter[str] = Counter()
    for name, of_set in sets.items():
        if of_set.task_type not in TASK_OF:
            kinds[f"{of_set.task_type} set left out"] += 1
            continue
        annotations = read_json(_beside(request.source, of_set.json_path), tuple[Annotation, ...])
        kinds[of_set.task_type] += len(annotations)
        for number, annotation in enumerate(annotations):
            draft = _draft(request, f"videochat_r1_5/{name}", number, TASK_OF[of_set.task_type], annotation)
            if draft is None:
                unread.append(Anomaly("no_annotation", f"videochat_r1_5/{name}/{number}", annotation.answer))
            else:
                drafts.append(draft)
    named = ", ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items()))
    return Published(tuple(drafts), (("annotations by kind", named),), anomalies=tuple(unread))


def _beside(source: Path, path: str) -> Path:
    """The published path from the folder of the list, or the file of that name in it."""
    whole = source.parent / path
    return whole if whole.exists() else source.parent / Path(path).name


def _draft(request: SourceRequest, dataset: str, number: int, task: str, annotation: Annotation) -> Draft | None:
    """None: not annotated as its task needs."""
    path, spans = annotation.video or annotation.image, [list(span) for span in annotation.glue]
    asked = _event(annotation, spans) if task == "temporal_grounding" else _lettered(annotation)
    if path is None or asked is None:
        return None
    if task == "grounded_qa":
        asked["target"]["spans"] = spans
    draft = request.draft(dataset, number, [path], task=task, duration_s=annotation.duration, **asked)
    return draft if annotation.video else draft.of_image


def _event(annotation: Annotation, spans: list[list[float]]) -> dict[str, Any] | None:
    return {"query": annotation.question, "target": {"span": spans[0]}} if len(spans) == 1 else None


def _lettered(annotation: Annotation) -> dict[str, Any] | None:
    letter, options = letter_of(annotation.answer), without_letters(annotation.options)
    return {"question": annotation.question, "options": options, "target": {"choice": letter}} if letter else None


FORMAT = Format((), read)
