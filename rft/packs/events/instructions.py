"""Instruction files whose answers are texts with times: TimeIT and TimePro, VTimeLLM, ActivityNet-RTL."""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, RootModel

from rewards.parsing import parse_ranges
from rft.data.convert.dense_events import SUFFIXES
from rft.data.convert.source import Anomaly, Draft, Format, Published, SourceRequest, read_json, value_counts

PART_S = 2.0
"""Seconds of QVHighlights' clips."""

_N = r"\d+(?:\.\d+)?"
_NUMBERS = rf"({_N}(?:, {_N})*)"
_SPAN = rf"({_N}) (?:-|to) ({_N})"
# "0.0 - 13.0 seconds, cut.  13.0 - 25.0 seconds, fry.", "From 0 to 9.4, a man waves.", or starts alone.
_EVENT = re.compile(rf"(?:^|(?<=\s\s)|(?<=[.!?]\s))(?:From {_SPAN}(?: seconds)?|{_SPAN} seconds|({_N}) seconds), *")
# "A man waves from 0 to 9.4. He sits down, from 12 to 15.3."
_WORDS_FIRST = re.compile(rf"(\S.*?),? from {_SPAN}(?: seconds)?(?:[.;]\s*|$)", re.DOTALL)
_SPAN_ALONE = re.compile(rf"(?:The given query happens in |From )?{_SPAN}(?: seconds)?\.?")
_MOMENT_ALONE = re.compile(rf"The given query happens in ({_N}) seconds\.?")
_HIGHLIGHTS = re.compile(
    rf"There are (\d+) highlight moments in the {_NUMBERS} seconds?\. Their saliency scores are {_NUMBERS}\.?"
)
_CLIP_NAME = re.compile(rf"_({_N})_({_N})\.\w+$")
_BRACKETED_TIME = re.compile(r"<(\d*\.\d+|\d+\.?)>")
_QUOTED = re.compile(r"(?<!\w)['\"](.+)['\"](?!\w)", re.DOTALL)
_ASKS_WHEN = re.compile(r"\bwhen\b|\bat (?:what|which) (?:time|point)\b", re.IGNORECASE)
_BEFORE_INSTRUCTION = "possible transcribed speech, "
_BEFORE_QUERY = "sentence query: "


class Asked(BaseModel):
    """An instruction, a question, or both, and the answer."""

    model_config = ConfigDict(frozen=True)

    i: str = ""
    q: str = ""
    a: str


class Conversation(BaseModel):
    """{"video": "a.mp4", "QA": [{"q": "...", "a": "..."}]}; `start`, `end`: the part that is shown, in seconds."""

    model_config = ConfigDict(frozen=True)

    video: str
    QA: tuple[Asked, ...]
    start: FiniteFloat | None = None
    end: FiniteFloat | None = None


class Meta(BaseModel):
    """Length of what is shown in seconds, the part of the file that is shown, and the time of each token."""

    model_config = ConfigDict(frozen=True)

    duration: float = Field(gt=0, allow_inf_nan=False)
    token: Mapping[str, FiniteFloat]
    split: tuple[FiniteFloat, FiniteFloat] | None = None


class Turn(BaseModel):
    """What a human asks, or what the model is to say."""

    model_config = ConfigDict(frozen=True)

    value: str


class Dialogue(BaseModel):
    """{"id": "3n3o", "conversations": [{"value": "..."}, {"value": "From <s0> to <e0>, ..."}], "meta": {...}}."""

    model_config = ConfigDict(frozen=True)

    id: str
    conversations: tuple[Turn, ...]
    meta: Meta | None = None


class ReasonedVideo(BaseModel):
    """Questions about a training video: {"duration": 82.7, "QA": [{"q": "When ...?", "a": "<10.2> <15.5> He ..."}]}."""

    model_config = ConfigDict(frozen=True)

    duration: float = Field(gt=0, allow_inf_nan=False)
    QA: tuple[Asked, ...]


class ReasonedQuestion(BaseModel):
    """One question of the evaluation file."""

    model_config = ConfigDict(frozen=True)

    vid: str
    duration: float = Field(gt=0, allow_inf_nan=False)
    question: str
    answer: str


class Reasoned(RootModel[dict[str, ReasonedVideo] | tuple[ReasonedQuestion, ...]]):
    """The training file, by video, or the evaluation file."""


def quoted_event(prompt: str) -> str:
    """The quoted event of a prompt, or the whole prompt."""
    quoted = _QUOTED.search(prompt.rpartition(_BEFORE_QUERY)[2])
    return quoted[1] if quoted else prompt


def timed_fields(question: str, answer: str, video: str) -> dict[str, Any] | str:
    """Task, question and target of an answer with times, in the fields of a row; a text, why none, where none fits."""
    instruction, answer = question.rpartition(_BEFORE_INSTRUCTION)[2], answer.strip()
    if "transcri" in instruction.lower():
        return "speech, which frames do not show"
    if answer.startswith("The highlight timestamps"):
        return "key frames with scores, and none for what lies between them"
    if highlights := _HIGHLIGHTS.fullmatch(answer):
        return _saliency(instruction, video, *highlights.groups())
    if alone := _SPAN_ALONE.fullmatch(answer) or _MOMENT_ALONE.fullmatch(answer):
        return _grounding(instruction, float(alone[1]), float(alone[alone.lastindex or 1]))
    ranges = parse_ranges(answer) or ()
    if len(ranges) == 1 and _ASKS_WHEN.search(instruction):
        return _grounding(instruction, *ranges[0])
    events = _events(answer)
    lengths = {len(times) for times, _ in events}
    if lengths == {1}:
        return _chapters(events)
    if lengths != {2}:
        return "no span alone, and no list of spans with words"
    return {"task": "timed_captions", "query": question, **_captions(events)}


def _grounding(instruction: str, start_s: float, end_s: float) -> dict[str, Any]:
    query = quoted_event(instruction).rstrip(" ?")
    return {"task": "temporal_grounding", "query": query, "target": {"span": [start_s, end_s]}}


def _events(answer: str) -> list[tuple[list[float], str]]:
    """Every ([start, end], words) or ([start], words) of an answer that is nothing else; []: it is not."""
    found = list(_EVENT.finditer(answer))
    if found and found[0].start() == 0:
        ends = [match.start() for match in found[1:]] + [len(answer)]
        words = [answer[match.end() : end].strip(" .,") for match, end in zip(found, ends, strict=True)]
        times = [[float(time) for time in match.groups() if time is not None] for match in found]
        return list(zip(times, words, strict=True))
    spoken = list(_WORDS_FIRST.finditer(answer)) if _WORDS_FIRST.match(answer) else []
    is_all = sum(match.end() - match.start() for match in spoken) == len(answer)
    return [([float(match[2]), float(match[3])], match[1]) for match in spoken] if is_all else []


def _chapters(events: list[tuple[list[float], str]]) -> dict[str, Any] | str:
    """Chapters that end where the next one starts; the clip is cut where the last starts, as its end is not stated."""
    starts = [start for (start,), _ in events]
    if len(starts) < 2 or any(later <= earlier for earlier, later in pairwise(starts)):
        return "starts alone, of one event or out of order"
    chapters = [([start, end], words) for (start, end), (_, words) in zip(pairwise(starts), events, strict=False)]
    return {"task": "timed_captions", "end_s": starts[-1], **_captions(chapters)}


def _captions(events: Iterable[tuple[list[float], str]]) -> dict[str, Any]:
    return {"target": {"captions": [{"span": span, "text": text} for span, text in events]}}


def _saliency(instruction: str, video: str, count: str, times: str, scores: str) -> dict[str, Any] | str:
    """Scores of all parts of a clip whose name states its length; parts that the answer does not name have 0."""
    at, means = ([float(number) for number in numbers.split(", ")] for numbers in (times, scores))
    if not int(count) == len(at) == len(means):
        return "not as many times as scores"
    if any(time % PART_S for time in at):
        return "highlights that are not the starts of parts of 2 s"
    name = _CLIP_NAME.search(video)
    if name is None:
        return "highlights of a video whose name does not state its length"
    parts = [[0.0] for _ in range(int((float(name[2]) - float(name[1])) / PART_S))]
    if max(at) >= len(parts) * PART_S:
        return "a highlight past the end"
    for time, mean in zip(at, means, strict=True):
        parts[int(time / PART_S)] = [mean]
    target = {"part_s": PART_S, "saliency": parts}
    return {"task": "saliency", "query": quoted_event(instruction), "target": target}


def _timeit(request: SourceRequest) -> Published:
    found = []
    for number, one in enumerate(read_json(request.source, tuple[Conversation, ...])):
        part = {} if one.start is None or one.end is None else {"start_s": one.start, "end_s": one.end}
        videos = [one.video, one.video.rpartition("/")[2]]
        for place, qa in enumerate(one.QA):
            fields = timed_fields(f"{qa.i} {qa.q}".strip(), qa.a, one.video)
            found.append((f"{number}/{place}", videos, part, fields))
    return _published(request, found)


def _vtimellm(request: SourceRequest) -> Published:
    found = []
    for number, one in enumerate(read_json(request.source, tuple[Dialogue, ...])):
        part: dict[str, Any] = {}
        if one.meta:
            start, end = one.meta.split or (None, None)
            part = {"duration_s": one.meta.duration} if start is None else {"start_s": start, "end_s": end}
        texts = [_with_times(turn.value, one.meta) for turn in one.conversations]
        for place, (question, answer) in enumerate(zip(texts[::2], texts[1::2], strict=False)):
            fields = timed_fields(question.removeprefix("<video>").strip(), answer, one.id)
            found.append((f"{number}/{place}", [f"{one.id}{suffix}" for suffix in SUFFIXES], part, fields))
    return _published(request, found)


def _with_times(text: str, meta: Meta | None) -> str:
    for token, time in meta.token.items() if meta else ():
        text = text.replace(token, f"{time}")
    return text


def _activitynet_rtl(request: SourceRequest) -> Published:
    """Questions whose answer is `<start> <end>` in seconds somewhere in an explanation, which is left out."""
    source = read_json(request.source, Reasoned).root
    if isinstance(source, dict):
        asked = [(video, one.duration, qa.q, qa.a) for video, one in source.items() for qa in one.QA]
    else:
        asked = [(f"v_{one.vid}", one.duration, one.question, one.answer) for one in source]
    found = []
    for number, (video, duration_s, question, answer) in enumerate(asked):
        times = [float(time) for time in _BRACKETED_TIME.findall(answer)[:2]]
        fields = _grounding(question, min(times), max(times)) if len(times) == 2 else "no two times in brackets"
        found.append((str(number), [f"{video}{suffix}" for suffix in SUFFIXES], {"duration_s": duration_s}, fields))
    return _published(request, found)


def _published(
    request: SourceRequest, found: Iterable[tuple[str, list[str], dict[str, Any], dict[str, Any] | str]]
) -> Published:
    """Drafts of all (key, videos, part of the video, fields); those with a reason in place of fields are left out."""
    drafts: list[Draft] = []
    anomalies: list[Anomaly] = []
    for key, videos, part, fields in found:
        if isinstance(fields, str):
            anomalies.append(Anomaly("no_annotation", f"{request.own_dataset}/{key}", fields))
            continue
        row = {**part, **fields}
        if "end_s" in fields:
            row["end_s"] += part.get("start_s", 0.0)
        drafts.append(request.draft(request.own_dataset, key, videos, **row))
    facts = [("answers by task", value_counts(draft.fields["task"] for draft in drafts))]
    if anomalies:
        facts.append(("answers left out, by reason", value_counts(anomaly.detail for anomaly in anomalies)))
    return Published(tuple(drafts), tuple(facts), (), tuple(anomalies))


INSTRUCTIONS = {
    "timeit": Format((), _timeit),
    "vtimellm": Format((), _vtimellm),
    "activitynet_rtl": Format(("temporal_grounding",), _activitynet_rtl),
}
