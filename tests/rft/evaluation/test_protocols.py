"""How others ask and read: prompts, settings and replies of each protocol."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from rewards.targets.span import SpanTarget
from rft.commands.eval.request import eval_recipe
from rft.data.sampling import choose_frames
from rft.errors import RecipeError
from rft.evaluation.protocols import PROTOCOLS, first_range, whole_reply
from rft.types import Completion, Prompt, Sampling


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("The event happens in the 24.3 - 30.4 seconds.", "24.3 to 30.4"),
        ("from 3 to 9, or 12 to 15", "3 to 9"),
        ("It happens in 9.5 - 2 seconds", "2 to 9.5"),
        ("It starts at 4.0 s. It ends at 11 s.", "4.0 to 11"),
        ("I cannot see it.", "I cannot see it."),
        ("At 7 seconds", "At 7 seconds"),
    ],
)
def test_lmms_evals_first_range_is_the_answer(reply: str, answer: str) -> None:
    assert first_range(reply) == f"<answer>{answer}</answer>"


def test_a_reply_without_tags_is_the_answer() -> None:
    assert whole_reply("2 to 5 s") == "<answer>2 to 5 s</answer>"
    assert whole_reply("well <answer>2 to 5</answer>") == "well <answer>2 to 5</answer>"


class Replies:
    """A sampler that keeps what it was asked, and replies with its last word."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int, *, may_stop: bool = True
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        self.asked = [prompt.text for prompt in prompts]
        for index in reversed(range(len(prompts))):
            yield index, (Completion(f"It happens in {index}.5 - 9 seconds", (), (), 0, "stop", 0),)


@pytest.mark.parametrize(
    ("name", "text", "completion"),
    [
        ("paper", "When?", "It happens in 1.5 - 9 seconds"),
        ("qwen", "<media>At what time does this happen in the video: a dog jumps? ", "<answer>It happens in 1.5 - 9"),
        ("lmms-eval", "<media>A sentence describes an event", "<answer>1.5 to 9</answer>"),
    ],
)
def test_a_protocol_asks_its_question_and_reads_the_reply(name: str, text: str, completion: str) -> None:
    target, row = SpanTarget(1.0, 2.0), {"query": "a dog jumps."}
    prompts = [Prompt(f"p{i}", "temporal_grounding", "When?", None, target, row=row) for i in range(2)]
    replies = Replies()
    found = dict(PROTOCOLS[name].asked_by(replies).generate(prompts, Sampling(1, 0.0, 1.0, 0, 50), 0))
    assert replies.asked[0].startswith(text)
    assert found[1][0].text.startswith(completion)


def test_settings_make_a_recipe_and_the_command_line_wins(
    tmp_path: Path, model_folder: Path, example_rows: Callable[..., Path]
) -> None:
    rows = example_rows(tmp_path / "rows.jsonl", ["temporal_grounding"])
    limits = {"paper": 3584, "qwen": 24576, "lmms-eval": 115200}
    for name, tokens in limits.items():
        recipe = eval_recipe(str(model_folder), [rows], None, None, None, [], protocol=name)
        assert recipe.video.total_pixels == tokens * 28 * 28
        assert recipe.eval.num_samples == 0
    settings = ["sampling.max_completion_length=99", "video.stated_fps=null"]
    recipe = eval_recipe(str(model_folder), [rows], None, None, None, settings, protocol="lmms-eval")
    assert (recipe.sampling.max_completion_length, recipe.video.stated_fps) == (99, None)
    sampling = recipe.video.sampling()
    assert [len(choose_frames([i / 30 for i in range(n)], 30.0, sampling)) for n in (330, 3300)] == [32, 32]


def test_a_task_without_the_protocol_is_refused(
    tmp_path: Path, model_folder: Path, example_rows: Callable[..., Path]
) -> None:
    rows = example_rows(tmp_path / "rows.jsonl", ["temporal_grounding", "tracking"])
    with pytest.raises(RecipeError, match="--protocol: qwen is not known for task tracking, only for temporal_ground"):
        eval_recipe(str(model_folder), [rows], None, None, None, [], protocol="qwen")
    eval_recipe(str(model_folder), [rows], None, None, None, [], "temporal_grounding", "qwen")
