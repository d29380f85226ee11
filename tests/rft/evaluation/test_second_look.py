from collections.abc import Iterator, Sequence

import pytest

from rft.data.dataset import to_prompt
from rft.errors import DataError
from rft.evaluation.second_look import SecondLook, look_windows
from rft.recipe import Recipe, SecondLookRecipe
from rft.tasks import TASKS
from rft.tasks.types import Row
from rft.types import Completion, FinishReason, Prompt, Sampling

RECIPE = Recipe.model_validate(
    {"model": "m", "tasks": {name: {"think": False} for name in TASKS}, "data": {"train": ()}, "steps": 1}
)
SAMPLING = Sampling(2, 0.0, 1.0, 0, 32)
MULTIPLE_CHOICE = TASKS["multiple_choice"].example.model_copy(update={"id": "mc", "duration_s": 20.0})
GROUNDED = TASKS["grounded_qa"].example.model_copy(update={"id": "gqa", "duration_s": None})
GROUNDING = TASKS["temporal_grounding"].example.model_copy(update={"id": "tg"})


def said(text: str, finish_reason: FinishReason = "stop") -> Completion:
    return Completion(text, (1,), (-0.5,), 10, finish_reason, 3)


class Scripted:
    """Answers each call with the next list of groups; keeps the prompts."""

    def __init__(self, *calls: list[tuple[Completion, ...]]) -> None:
        self.calls = list(calls)
        self.prompts: list[tuple[Prompt, ...]] = []
        self.seeds: list[int] = []

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int, *, may_stop: bool = True
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        self.prompts.append(tuple(prompts))
        self.seeds.append(seed)
        groups = self.calls[len(self.prompts) - 1]
        assert len(groups) == len(prompts)
        assert all(len(group) == sampling.num_generations for group in groups)
        # Groups finish in any order.
        yield from reversed(list(enumerate(groups)))


def second_look_of(pool: Scripted, *rows: Row, look: SecondLookRecipe | None = None) -> tuple[SecondLook, list[Prompt]]:
    second_look = SecondLook(pool, {row.id: row for row in rows}, RECIPE, look or SecondLookRecipe())
    return second_look, [to_prompt(row, RECIPE) for row in rows]


def test_the_second_look_sees_the_named_spans_closer_and_its_answer_counts() -> None:
    first = (
        said("<answer>A</answer><glue>[(4, 6), (5, 7), (19.5, 30)]</glue>"),
        said("<answer>A</answer>"),
    )
    pool = Scripted([first], [(said("<answer>B</answer>"),)])
    second_look, prompts = second_look_of(pool, MULTIPLE_CHOICE)
    ((index, answers),) = second_look.generate(prompts, SAMPLING, 5)
    assert index == 0
    assert [answer.text for answer in answers] == [
        "<answer>B</answer><glue>[(4, 6), (5, 7), (19.5, 30)]</glue>",
        "<answer>A</answer>",
    ]
    (second,) = pool.prompts[1]
    assert second.media.windows == ((3.0, 8.0), (18.5, 20.0))
    assert second.media.sampling.fps == 2 * RECIPE.video.fps
    assert second.media.path == prompts[0].media.path
    assert "glue" in pool.prompts[0][0].text
    assert "glue" not in second.text
    assert (second_look.num_questions, second_look.num_second_looks) == (2, 1)


def test_a_second_look_that_fails_leaves_the_first_answer() -> None:
    first = said("<answer>A</answer><glue>[(4, 6)]</glue>")
    pool = Scripted([(first, first)], [(said("", "error"),), (said("<answer>C</answer>"),)])
    second_look, prompts = second_look_of(pool, GROUNDED)
    ((_, answers),) = second_look.generate(prompts, SAMPLING, 0)
    assert [answer.text[:18] for answer in answers] == ["<answer>A</answer>", "<answer>C</answer>"]
    assert second_look.num_second_looks == 1


def test_rows_without_options_are_looked_at_once_in_the_order_of_the_prompts() -> None:
    span = said("<answer>1 to 2</answer>")
    letter = said("<answer>A</answer><glue>[]</glue>")
    pool = Scripted([(span, span), (letter, letter)], [])
    second_look, prompts = second_look_of(pool, GROUNDING, MULTIPLE_CHOICE)
    assert [index for index, _ in second_look.generate(prompts, SAMPLING, 0)] == [0, 1]
    assert pool.prompts[0][0].text == prompts[0].text
    assert (second_look.num_questions, second_look.num_second_looks) == (2, 0)
    with pytest.raises(DataError, match="no row has options"):
        second_look_of(pool, GROUNDING)


def test_budgets_of_the_second_look() -> None:
    pool = Scripted([(said("<answer>A</answer><glue>[(4, 6)]</glue>"),) * 2], [(said("<answer>B</answer>"),)] * 2)
    second_look, prompts = second_look_of(
        pool, GROUNDED, look=SecondLookRecipe(fps=6.0, total_pixels=1000, margin_s=0.0)
    )
    list(second_look.generate(prompts, SAMPLING, 0))
    second = pool.prompts[1][1]
    assert (second.media.sampling.fps, second.media.sampling.total_pixels) == (6.0, 1000)
    assert second.media.windows == ((4.0, 6.0),)
    assert len({prompt.prompt_id for prompt in pool.prompts[1]}) == 2


@pytest.mark.parametrize(
    ("spans", "clip_s", "windows"),
    [
        ([(1.0, 2.0)], None, ((0.0, 3.0),)),
        ([(5.0, 6.0), (1.0, 2.0)], 6.5, ((0.0, 3.0), (4.0, 6.5))),
        ([(7.0, 8.0)], 6.5, ()),
        ([(3.0, 2.0)], 6.5, ()),
        ([(3.0, 3.0)], 6.5, ((2.0, 4.0),)),
        ([], 6.5, ()),
    ],
)
def test_windows(spans: list[tuple[float, float]], clip_s: float | None, windows: object) -> None:
    assert look_windows(spans, clip_s, 1.0) == windows
