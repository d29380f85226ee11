"""Video-R1 (arXiv:2503.21776): its rows for RL, Video-R1-260k.json, and for the stage before, Video-R1-COT-165k.json.

Multiple choice over videos and images becomes rows; free text, numbers and OCR are counted and left out.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from rft.data.convert.lettered import letter_of, of_choice, without_letters
from rft.data.convert.source import Draft, Format, Published, SourceRequest, read_json

SPLITS = {"Video-R1-260k": "260k", "Video-R1-COT-165k": "cot_165k"}


class Problem(BaseModel):
    """{"problem_id": 2, "problem", "data_type": "video", "problem_type", "options": ["A. ..."], "solution", "path"}."""

    model_config = ConfigDict(frozen=True)

    problem: str
    data_type: Literal["video", "image"]
    problem_type: str
    options: tuple[str, ...] = ()
    solution: str
    """ "<answer>B</answer>"."""
    path: str
    """ "./NeXT-QA/NExTVideo/1164/3238737531.mp4"."""
    data_source: str = "-"
    process: str = ""
    """ "<think>...</think>", in the rows for the supervised stage."""


def read(request: SourceRequest) -> Published:
    """One draft per question with options. DataError: the file has another shape."""
    dataset = f"video_r1/{request.split_among(SPLITS)}"

    def draft(number: int, problem: Problem) -> Draft | str:
        letter = letter_of(problem.solution)
        return problem.solution if letter is None else _draft(request, dataset, number, problem, letter)

    return of_choice(dataset, read_json(request.source, tuple[Problem, ...]), draft)


def _draft(request: SourceRequest, dataset: str, number: int, problem: Problem, letter: str) -> Draft:
    draft = request.draft(
        dataset,
        number,
        [problem.path.removeprefix("./")],
        question=problem.problem,
        options=without_letters(problem.options),
        target={"choice": letter},
        demonstration=f"{problem.process}\n{problem.solution}" if problem.process else None,
    )
    return draft if problem.data_type == "video" else draft.of_image


FORMAT = Format(("multiple_choice",), read)
