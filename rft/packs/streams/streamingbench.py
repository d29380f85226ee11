"""StreamingBench's files (arXiv:2411.03628): questions with options, and outputs that are due at a time."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from rft.data.convert.source import Anomaly, Published, SourceRequest, read_json, value_counts

WATCHED_S = 4.0
"""Seconds past the true time up to which StreamingBench polls."""
LETTERS = "ABCD"
SETS = {
    "Emotion Recognition": "omni",
    "Scene Understanding": "omni",
    "Source Discrimination": "omni",
    "Multimodal Alignment": "omni",
    "Anomaly Context Understanding": "anomaly_context",
    "Misleading Context Understanding": "misleading_context",
    "Sequential Question Answering": "sequential",
}
"""Type of a question -> its data set; "real" holds the other types."""

_LABELLED = re.compile(r"([A-G])\.\s*+(?:\1\.\s*+)?+(.*+)", re.DOTALL)
_CLOCK = re.compile(r"(?:(\d{1,2}):)?(\d{1,2}):([0-5]?\d)")


class Sample(BaseModel):
    """A part of a video: {"time": "[0:09:40 - 0:10:10]", "questions": [{"question", "time_stamp", ...}], "video_path"}.

    A question has "task_type", "options" and "answer", or "ground_truth_time_stamp" and "ground_truth_output".
    """

    model_config = ConfigDict(frozen=True)

    questions: tuple[Mapping[str, Any], ...]
    video_path: str

    @property
    def videos(self) -> list[str]:
        """Where the video may be."""
        return [self.video_path.removeprefix("./"), self.video_path.rpartition("/")[2]]


def read_choices(request: SourceRequest) -> Published:
    """The files real, omni and sqa. A list of samples in the place of one, as in sqa, is a series of questions.

    A question of a series says which were asked before it, with their answers.
    """
    drafts, anomalies, pieces = [], [], []
    for number, entry in enumerate(read_json(request.source, tuple[Sample | tuple[Sample, ...], ...])):
        series = entry if isinstance(entry, tuple) else (entry,)
        before: list[str] = []
        asked = [(sample, one) for sample in series for one in sample.questions]
        for place, (sample, one) in enumerate(asked):
            name = f"streamingbench/{SETS.get(one['task_type'], 'real')}"
            key, end_s, options = f"{number}/{place}", _clock_s(one["time_stamp"]), _options(one["options"])
            if end_s is None:
                anomalies.append(Anomaly("no_annotation", f"{name}/{key}", f"asked at {one['time_stamp']}, no time"))
                continue
            if len(one["options"]) != len(LETTERS):
                pieces.append(f"{name}/{key}")
            question = "\n".join([*before, one["question"]])
            target = {"choice": one["answer"], "kind": f"streamingbench {one['task_type']}"}
            drafts.append(
                request.draft(name, key, sample.videos, end_s=end_s, question=question, options=options, target=target)
            )
            if isinstance(entry, tuple):
                answer = dict(zip(LETTERS, options, strict=False)).get(one["answer"])
                before.append(f"Asked at {end_s:g} seconds: {one['question']} Answer: {answer}")
    facts = (
        ("questions by kind", value_counts(str(draft.fields["target"]["kind"]) for draft in drafts)),
        (f"options in other than {len(LETTERS)} pieces, put together", f"{len(pieces)}"),
    )
    return Published(tuple(drafts), facts, (), tuple(anomalies))


def read_proactive_outputs(request: SourceRequest) -> Published:
    """Two rows per question: one asked while the evidence is not there yet, one at the end of the polling."""
    drafts, anomalies = [], []
    for number, sample in enumerate(read_json(request.source, tuple[Sample, ...])):
        for place, one in enumerate(sample.questions):
            asked_s, due_s = _clock_s(one["time_stamp"]), _clock_s(one["ground_truth_time_stamp"])
            if asked_s is None or due_s is None or due_s < asked_s:
                row_id = f"streamingbench/proactive/{number}/{place}"
                anomalies.append(Anomaly("no_annotation", row_id, "no time, or due before it is asked"))
                continue
            row = {"question": one["question"], "start_s": asked_s}
            text = one["ground_truth_output"]
            ends = {"due": due_s + WATCHED_S} | ({"early": (asked_s + due_s) / 2} if due_s > asked_s else {})
            for when, end_s in ends.items():
                target = {"due_s": due_s - asked_s if when == "due" else None, "text": text}
                key = f"{number}/{place}/{when}"
                drafts.append(
                    request.draft("streamingbench/proactive", key, sample.videos, end_s=end_s, target=target, **row)
                )
    return Published(tuple(drafts), (), (), tuple(anomalies))


def _options(written: Sequence[str]) -> list[str]:
    """The options without their letters, in the order of these.

    "A. A. a dog" has its letter twice. A piece without a letter goes on with the option before it; a letter again, or
    behind D, is left out. Where a letter is missing, the pieces are the options in the order written.
    """
    options: dict[str, str] = {}
    last = ""
    for piece in written:
        match = _LABELLED.match(piece)
        if match is None and last:
            options[last] = f"{options[last]} {piece}".strip()
        elif match and match[1] not in options and match[1] in LETTERS:
            last = match[1]
            options[last] = match[2].strip()
    if len(options) == len(LETTERS):
        return [options[letter] for letter in LETTERS]
    return [match[2] if (match := _LABELLED.match(piece)) else piece for piece in written]


def _clock_s(clock: str) -> float | None:
    """Seconds of "0:01:02" or "01:02"; None where it is no such time."""
    match = _CLOCK.fullmatch(clock)
    return 3600.0 * int(match[1] or 0) + 60 * int(match[2]) + int(match[3]) if match else None
