"""MTVR, VITAL's multi-task video reasoning rows (arXiv:2508.04416): the files of MTVR_RL and MTVR_Tool_RL.

Events to find become rows, and lettered questions over one video or image; free answers are counted and left out.
"""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, ValidationError

from rft.data.convert.lettered import lettered_question
from rft.data.convert.source import Anomaly, Draft, Format, Published, SourceRequest, read_json, value_counts

TASK_OF = {
    "charades": "temporal_grounding",
    "actnet": "temporal_grounding",
    "vidchapter": "temporal_grounding",
    "video_r1/multiple_choice": "multiple_choice",
}
"""Source of a row, without the end that names its reward -> our task; rows of other sources are left out."""
REWARD_END = "_cutreward"

_SENTENCE = re.compile(r"textual sentence:\s*(.*?)\s*Please return its start time and end time", re.DOTALL)
_SPAN = TypeAdapter(tuple[FiniteFloat, FiniteFloat])


class Problem(BaseModel):
    """{"id", "text", "solution": [84.0, 105.0] or "B", "video" or "image", "duration", "data_source": "vidchapter"}."""

    model_config = ConfigDict(frozen=True)

    text: str
    """The whole prompt: a sentence between fixed words, or a question with its options below each other."""
    solution: Any
    data_source: str
    video: str | None = None
    image: str | None = None
    duration: float | None = None

    @property
    def source(self) -> str:
        return self.data_source.removesuffix(REWARD_END)


def read(request: SourceRequest) -> Published:
    """One draft per problem of a known source. DataError: the file has another shape, as those for imitation have."""
    split = request.split or f"{request.source.parent.name}_{request.source.stem}".lower().removeprefix("mtvr_")
    dataset = f"mtvr/{split}"
    problems = read_json(request.source, tuple[Problem, ...])
    drafts, unread = [], []
    for number, problem in enumerate(problems):
        if problem.source not in TASK_OF:
            continue
        draft = _draft(request, dataset, number, problem)
        if draft is None:
            unread.append(Anomaly("no_annotation", f"{dataset}/{number}", str(problem.solution)))
        else:
            drafts.append(draft)
    left_out = sum(problem.source not in TASK_OF for problem in problems)
    named = value_counts(problem.source for problem in problems)
    facts = (("problems by source", named), ("left out: free answers", f"{left_out:,}"))
    return Published(tuple(drafts), facts, anomalies=tuple(unread))


def _draft(request: SourceRequest, dataset: str, number: int, problem: Problem) -> Draft | None:
    path, task = problem.video or problem.image, TASK_OF[problem.source]
    asked = _event(problem) if task == "temporal_grounding" else lettered_question(problem.text, str(problem.solution))
    if path is None or asked is None:
        return None
    draft = request.draft(dataset, number, [path], task=task, **asked)
    return draft if problem.video else draft.of_image


def _event(problem: Problem) -> dict[str, Any] | None:
    sentence = _SENTENCE.search(problem.text)
    try:
        text = problem.solution
        span = _SPAN.validate_json(text) if isinstance(text, str) else _SPAN.validate_python(text)
    except ValidationError:
        return None
    if sentence is None:
        return None
    return {"duration_s": problem.duration, "query": sentence[1], "target": {"span": list(span)}}


FORMAT = Format((), read)
