"""LongVideo-Reason (arXiv:2507.07966): train.jsonl, val.jsonl and test.jsonl, and with --task caption openended.jsonl.

Options stand in the question's text. An open question becomes a row of the task caption, whose target is the answer.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

from rft.data.convert.lettered import letter_of, lettered_question, without_tags
from rft.data.convert.source import Anomaly, Format, Published, SourceRequest, read_json, value_counts

SPLITS = {name: name for name in ("train", "val", "test", "openended")}


class Question(BaseModel):
    """{"problem": "Why ...?\\nA. ...\\nB. ...", "reasoning", "videos": "a.mp4", "answer": "<answer>B</answer>"}."""

    model_config = ConfigDict(frozen=True)

    problem: str
    videos: str
    """Path of the one video."""
    answer: str
    reasoning: str = ""
    """How to think, for the supervised stage."""


def read(request: SourceRequest) -> Published:
    """One draft per question of the task. DataError: the file has another shape."""
    dataset = f"longvideo_reason/{request.split_among(SPLITS)}"
    questions = read_json(request.source, tuple[Question, ...])
    drafts, unread = [], []
    for number, question in enumerate(questions):
        is_open = request.task == "caption"
        asked = _open(question) if is_open else lettered_question(question.problem, question.answer)
        if asked is None:
            unread.append(Anomaly("no_annotation", f"{dataset}/{number}", question.answer))
            continue
        answer = f"<answer>{without_tags(question.answer)}</answer>"
        shown = f"<think>{question.reasoning}</think>\n{answer}" if question.reasoning else None
        places = [question.videos, question.videos.rpartition("/")[2]]
        drafts.append(request.draft(dataset, number, places, **asked, demonstration=shown))
    letters = value_counts(letter_of(question.answer) or "none" for question in questions)
    return Published(tuple(drafts), (("questions by right letter", letters),), anomalies=tuple(unread))


def _open(question: Question) -> dict[str, Any] | None:
    answer = without_tags(question.answer)
    return {"query": question.problem, "target": {"text": answer}} if not letter_of(answer) else None


FORMAT = Format(("multiple_choice", "caption"), read)
