"""Published questions along streams: OVBench, OVO-Bench, StreamingBench."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rft.data.convert.source import Anomaly, Draft, Format, Published, SourceRequest, read_json, value_counts
from rft.errors import DataError
from rft.packs.streams.streamingbench import read_choices, read_proactive_outputs

LETTERS = "ABCDEFG"

LEAST_S = 0.1
"""End of a question that is asked at 0 s, of the first frame: a clip has to have a length."""

OVBENCH_SUBTASKS = {
    "FuturePrediction": ("action anticipation", "goal and step prediction", "movement prediction"),
    "Hallucination": ("action persistence", "step verification", "object presence"),
    "PastMemory": ("action retrieval", "procedure recall", "trajectory retrieval"),
    "SpatialPerception": ("action location", None, "object position"),
    "SpatioTemporalPerception": ("action trajectory", None, "object trajectory"),
    "TemporalPerception": ("action sequence", "step localization", "object existence state"),
}
"""Type of a question -> its subtask in the published table, by column of OVBENCH_SOURCES."""
OVBENCH_SOURCES = {"ava": 0, "coin": 1, "hirest": 1, "tao": 2}
"""Source, as the file is named -> its column."""


class OVQuestion(BaseModel):
    """{"question", "candidates", "answer", "answer_type", "sub_answer_type", "video", "start", "end", "fps"?}."""

    model_config = ConfigDict(frozen=True)

    question: str
    candidates: tuple[str, ...]
    answer: str
    answer_type: str
    video: str
    end: float = Field(ge=0, allow_inf_nan=False)
    fps: float | None = None


def _ovbench(request: SourceRequest) -> Published:
    """One row per question; the four sources are one data set, whose kinds are the 16 subtasks."""
    source = request.split_among({name: name for name in OVBENCH_SOURCES})
    if source not in OVBENCH_SOURCES:
        raise DataError(f"--split: {source!r} is no source of OVBench. Give one of {', '.join(OVBENCH_SOURCES)}.")
    drafts, anomalies, at_start = [], [], 0
    questions = read_json(request.source, tuple[OVQuestion, ...])
    for number, one in enumerate(questions):
        at_start += one.end == 0
        letter = LETTERS[one.candidates.index(one.answer)] if one.answer in one.candidates else ""
        kind = OVBENCH_SUBTASKS.get(one.answer_type, (None,) * 3)[OVBENCH_SOURCES[source]]
        key = f"{source}/{number}"
        if kind is None:
            anomalies.append(Anomaly("no_annotation", f"ovbench/{key}", f"no subtask of {source}: {one.answer_type}"))
            continue
        drafts.append(
            request.draft(
                "ovbench",
                key,
                [one.video],
                end_s=max(one.end, LEAST_S),
                source_fps=one.fps,
                question=one.question,
                options=list(one.candidates),
                target={"choice": letter, "kind": kind},
            )
        )
    facts = (
        ("questions by number of options", value_counts(str(len(one.candidates)) for one in questions)),
        ("questions by kind", value_counts(draft.fields["target"]["kind"] for draft in drafts)),
        (f"asked at 0 s, taken as at {LEAST_S:g} s", f"{at_start:,}"),
    )
    return Published(tuple(drafts), facts, (), tuple(anomalies))


class OVOItem(BaseModel):
    """An item of OVO-Bench: one question at `realtime`, or several times of asking in `test_info`."""

    model_config = ConfigDict(frozen=True)

    id: int
    task: str
    video: str
    question: str = ""
    options: tuple[str, ...] = ()
    gt: int | None = None
    realtime: float | None = None
    activity: str = ""
    test_info: tuple[Mapping[str, Any], ...] = ()


def _ovo_bench(request: SourceRequest) -> Published:
    """Each time of asking is a row, `ovo_bench/ID/PLACE`: its place in `test_info`, 0 for questions with options.

    Repetitions are counts; what asks for a step, or whether something can be answered yet, is yes or no.
    """
    drafts: list[Draft] = []
    anomalies = []
    items = read_json(request.source, tuple[OVOItem, ...])
    for item in items:
        rows = list(_ovo_rows(item))
        if not rows:
            anomalies.append(Anomaly("no_annotation", f"ovo_bench/{item.id}", f"task {item.task}"))
        for place, fields in enumerate(rows):
            draft = request.draft("ovo_bench", f"{item.id}/{place}", [item.video], **fields)
            drafts.append(Draft({**draft.fields, "dataset": f"ovo_bench/{item.task}"}, draft.other_places))
    facts = (("items by task", value_counts(item.task for item in items)),)
    return Published(tuple(drafts), facts, (), tuple(anomalies))


def _ovo_rows(item: OVOItem) -> Iterator[dict[str, Any]]:
    if item.realtime is not None and item.gt is not None:
        choice = LETTERS[item.gt] if 0 <= item.gt < len(LETTERS) else ""
        target: dict[str, Any] = {"choice": choice, "kind": f"ovo {item.task}"}
        yield {"task": "stream_choice", "end_s": max(item.realtime, LEAST_S), "question": item.question,
               "options": list(item.options), "target": target}  # fmt: skip
    for asked in item.test_info:
        fields = {"end_s": max(float(asked["realtime"]), LEAST_S)}
        if item.task == "REC":
            question = f"How often has this happened so far: {item.activity}?"
            yield fields | {"task": "stream_count", "question": question, "target": {"count": asked["count"]}}
        elif asked.get("type") in (0, 1):
            step = (
                f"Is the person now doing this step: {asked['step']}?"
                if "step" in asked
                else (f"Can this be answered from what has been seen so far: {item.question}")
            )
            yield fields | {"task": "stream_yes_no", "question": step, "target": {"yes": asked["type"] == 1}}


FORMATS = {
    "ovbench": Format(("stream_choice",), _ovbench),
    "ovo_bench": Format((), _ovo_bench),
    "streamingbench": Format(("stream_choice",), read_choices),
    "streamingbench_proactive": Format(("stream_reply",), read_proactive_outputs),
}
