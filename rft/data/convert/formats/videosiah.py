"""VideoSIAH of LongVT (arXiv:2511.20785): its rows for RL and its benchmark VideoSIAH-Eval, as parquet or JSON.

Answers are free text: rows of the task caption, whose query is the question. A model should judge them.
"""

from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field

from rft.data.convert.source import Format, Published, SourceRequest, read_json, value_counts

SPLITS = {"rl_selfqa_1.7k_cleaned": "rl", "rl_selfqa_test": "rl_test"}


class Question(BaseModel):
    """{"video_path", "question", "answer"} of the benchmark, or a row for RL.

    {"videos": [{"video": "file:///data/a.mp4"}], "extra_info": {"question"}, "reward_model": {"ground_truth"}}
    """

    model_config = ConfigDict(frozen=True)

    video: str = Field(validation_alias=AliasChoices("video_path", AliasPath("videos", 0, "video")))
    question: str = Field(validation_alias=AliasChoices("question", AliasPath("extra_info", "question")))
    answer: str = Field(validation_alias=AliasChoices("answer", AliasPath("reward_model", "ground_truth")))
    videos: tuple[Any, ...] = Field((), max_length=1)
    data_source: str = "-"

    @property
    def places(self) -> list[str]:
        """Where the video may be below the video root; of a whole path, the name alone."""
        path, name = self.video.removeprefix("file://"), self.video.rpartition("/")[2]
        return [name] if path.startswith("/") else [path, name]


def read(request: SourceRequest) -> Published:
    """One draft per question. DataError: the file has another shape."""
    dataset = f"videosiah/{request.split_among(SPLITS)}"
    questions = read_json(request.source, tuple[Question, ...])
    drafts = tuple(
        request.draft(dataset, number, one.places, query=one.question, target={"text": one.answer})
        for number, one in enumerate(questions)
    )
    return Published(drafts, (("questions by source", value_counts(one.data_source for one in questions)),))


FORMAT = Format(("caption",), read)
