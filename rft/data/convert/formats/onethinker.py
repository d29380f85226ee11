"""OneThinker (github.com/tulerfeng/OneThinker): its rows for RL, onethinker_rl_train.json.

Multiple choice over one video or one image becomes rows; the other kinds of problem are counted and left out.
"""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rft.data.convert.lettered import letter_of, of_choice, without_letters
from rft.data.convert.source import Draft, Format, Published, SourceRequest, read_json

SPLITS = {"onethinker_rl_train": "rl", "onethinker_rl_train_unsampled": "rl_unsampled"}

_PLACE = re.compile(r"<(?:video|image)>\s*")
"""Where the prompt shows the video or image; ours shows it by its own rule."""


class Problem(BaseModel):
    """{"problem": "<video>What ...", "data_type", "problem_type", "options": ["A. ..."], "answer", "videos": [..]}."""

    model_config = ConfigDict(frozen=True)

    problem: str
    data_type: Literal["video", "image", "text"]
    problem_type: str
    options: tuple[str, ...] | None = None
    answer: str
    """ "<answer>B</answer>"."""
    videos: tuple[str, ...] | None = None
    images: tuple[str, ...] | None = None
    data_source: str = "-"


def read(request: SourceRequest) -> Published:
    """One draft per question with options. DataError: the file has another shape."""
    dataset = f"onethinker/{request.split_among(SPLITS)}"

    def draft(number: int, problem: Problem) -> Draft | str:
        letter, files = letter_of(problem.answer), (*(problem.videos or ()), *(problem.images or ()))
        if letter is None:
            return problem.answer
        return _draft(request, dataset, number, problem, letter) if len(files) == 1 else f"{len(files)} files"

    return of_choice(dataset, read_json(request.source, tuple[Problem, ...]), draft)


def _draft(request: SourceRequest, dataset: str, number: int, problem: Problem, letter: str) -> Draft:
    (path,) = problem.videos or problem.images or ()
    draft = request.draft(
        dataset,
        number,
        [path.removeprefix("./")],
        question=_PLACE.sub("", problem.problem).strip(),
        options=without_letters(problem.options or ()),
        target={"choice": letter},
    )
    return draft if problem.videos else draft.of_image


FORMAT = Format(("multiple_choice",), read)
