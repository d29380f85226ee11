"""MUSEG's training and evaluation files: one span of a sentence, all spans of an action (arXiv:2505.20715)."""

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, FiniteFloat

from rft.data.convert.source import Published, SourceRequest, read_json, value_counts
from rft.packs.events.instructions import quoted_event

_BEFORE_SENTENCE = "textual sentence: "


class Segments(BaseModel):
    """{"problem": "... 'throw' ...", "solution": [[3, 9]], "video": "videos/a.mp4", "duration": 80.0, "task": "tal"}.

    The evaluation files say "question" and "groundtruth", and have neither length nor task.
    """

    model_config = ConfigDict(frozen=True)

    problem: str = Field(validation_alias=AliasChoices("problem", "question"))
    solution: tuple[tuple[FiniteFloat, FiniteFloat], ...] = Field(
        min_length=1, validation_alias=AliasChoices("solution", "groundtruth")
    )
    video: str
    duration: float | None = Field(None, gt=0, allow_inf_nan=False)
    task: str | None = None

    @property
    def is_of_one_span(self) -> bool:
        return self.task == "tvg" or (self.task is None and _BEFORE_SENTENCE in self.problem)

    @property
    def query(self) -> str:
        """The sentence after its introduction, or the quoted sentence or action."""
        _, introduction, sentence = self.problem.partition(_BEFORE_SENTENCE)
        return sentence.strip(" .") if introduction else quoted_event(self.problem)


def museg(request: SourceRequest) -> Published:
    """One draft per problem; `temporal_grounding` for sentences, `event_spans` for actions."""
    dataset = f"museg/{request.split or request.source.stem}"
    drafts = []
    for number, one in enumerate(read_json(request.source, tuple[Segments, ...])):
        spans = [list(span) for span in one.solution]
        row = {"task": "event_spans", "target": {"spans": spans}}
        if one.is_of_one_span:
            row = {"task": "temporal_grounding", "target": {"span": spans[0]}}
        videos = [one.video, one.video.removeprefix("videos/")]
        drafts.append(request.draft(dataset, number, videos, duration_s=one.duration, query=one.query, **row))
    facts = (("problems by task", value_counts(draft.fields["task"] for draft in drafts)),)
    return Published(tuple(drafts), facts)
