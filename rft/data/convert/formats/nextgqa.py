"""NExT-GQA: multiple-choice questions with the time spans that show the answer."""

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from rft.data.convert.source import Format, Published, SourceRequest, read_json, value_counts

SPLITS = {"nextgqa_val": "val", "val": "val", "nextgqa_test": "test", "test": "test"}

TRAINED_ON = (
    "NExT-GQA trains on val: the questions of its train split have no spans. "
    "Rows of val are then no held-out rows; measure on test."
)


class Question(BaseModel):
    """{"id": "123_4", "video": "0001/123.mp4", "question", "options", "duration", "glue", "type", "answer": "(C)"}."""

    model_config = ConfigDict(frozen=True)

    id: str
    video: str
    question: str
    options: tuple[str, ...]
    """Options, each with its letter: "(A) ..."."""
    duration: float = Field(gt=0, allow_inf_nan=False)
    glue: tuple[tuple[FiniteFloat, FiniteFloat], ...]
    """Target spans, in seconds."""
    type: str = ""
    answer: str = Field(pattern=r"^\([A-G]\)$")


def read(request: SourceRequest) -> Published:
    split = request.split_among(SPLITS)
    dataset = f"nextgqa/{split}"
    questions = read_json(request.source, tuple[Question, ...])
    drafts = []
    for question in questions:
        target: dict[str, object] = {"choice": question.answer[1]}
        if request.task == "grounded_qa":
            target["spans"] = [list(span) for span in question.glue]
        drafts.append(
            request.draft(
                dataset,
                question.id,
                [question.video, question.video.rpartition("/")[2]],
                duration_s=question.duration,
                question=question.question,
                options=list(question.options),
                target=target,
            )
        )
    facts = (
        ("questions by type", value_counts(question.type or "-" for question in questions)),
        ("questions by right letter", value_counts(question.answer[1] for question in questions)),
        ("questions with several spans", f"{sum(len(question.glue) > 1 for question in questions):,}"),
    )
    return Published(tuple(drafts), facts, (TRAINED_ON,) if split == "val" else ())


FORMAT = Format(("grounded_qa", "multiple_choice"), read)
