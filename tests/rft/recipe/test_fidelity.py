"""The recipe line `fidelity`: what it sets, what wins over it, and what a plan says of it."""

from typing import Any

import pytest

from rft.errors import problem_text
from rft.recipe import Recipe
from rft.recipe.fidelity import published_settings, setting_lines
from rft.recipe.load import parse_recipe, recipe_text

TASKS_AND_MORE = """
model: m
tasks: {temporal_grounding: {}, tracking: {}}
data: {train: [rows.jsonl]}
steps: 10
cold_start: {data: [rows.jsonl], steps: 2}
"""


def recipe(*overrides: str, text: str = TASKS_AND_MORE) -> Recipe:
    return parse_recipe(text, "r.yaml", overrides)


def in_force(loaded: Recipe, key: str) -> Any:
    value: Any = loaded
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


def test_without_the_line_nothing_is_set() -> None:
    plain = recipe()
    assert plain.fidelity is None
    assert (plain.sampling.top_k, plain.algorithm.epsilon, plain.algorithm.beta) == (0, 0.2, 0.0)
    assert plain.tasks["tracking"].frames == "sampled"
    assert setting_lines(plain) == ()


def test_as_published_trains_as_the_released_code() -> None:
    loaded = recipe("fidelity=as_published")
    sampling, algorithm, learner = loaded.sampling, loaded.algorithm, loaded.learner
    assert (sampling.num_generations, sampling.temperature, sampling.top_k, sampling.top_p) == (8, 1.0, 50, 1.0)
    assert (algorithm.epsilon, algorithm.beta, algorithm.zero_std_groups) == (None, 0.04, "keep")
    assert (algorithm.loss_type, algorithm.advantage, algorithm.num_iterations) == ("grpo", "group_norm", 1)
    assert (learner.learning_rate, learner.lr_scheduler_type, learner.min_lr_ratio) == (1e-6, "linear", 0.0)
    assert learner.seconds_per_grid == "one"
    assert loaded.tasks["tracking"].frames == "seven"
    assert loaded.tasks["temporal_grounding"].frames == "sampled"
    assert loaded.cold_start is not None
    assert (loaded.cold_start.loss_on, loaded.cold_start.learning_rate) == ("all", 2e-5)
    pixels = (loaded.video.min_pixels, loaded.video.max_pixels, loaded.video.total_pixels)
    assert pixels == (12_544, 602_112, 2_809_856)


def test_corrected_mends_what_was_wrong_and_keeps_the_method() -> None:
    published, corrected = recipe("fidelity=as_published"), recipe("fidelity=corrected")
    assert (corrected.sampling.top_k, corrected.algorithm.epsilon) == (0, 0.2)
    assert (corrected.algorithm.zero_std_groups, corrected.learner.seconds_per_grid) == ("drop", "clip")
    assert corrected.tasks["tracking"].frames == "one_per_box"
    differing = {c.key for c in published_settings() if in_force(published, c.key) != in_force(corrected, c.key)}
    assert differing == {c.key for c in published_settings() if c.differs}
    for setting in published_settings():
        assert in_force(published, setting.key) == setting.as_published
        assert in_force(corrected, setting.key) == setting.corrected


def test_what_a_recipe_or_the_command_line_says_wins() -> None:
    written = TASKS_AND_MORE + "fidelity: as_published\nsampling: {top_k: 20}\nalgorithm: {zero_std_groups: drop}\n"
    loaded = recipe("learner.learning_rate=1e-5", "algorithm.epsilon=0.1", text=written)
    assert (loaded.sampling.top_k, loaded.sampling.num_generations) == (20, 8)
    assert (loaded.algorithm.zero_std_groups, loaded.algorithm.epsilon, loaded.algorithm.beta) == ("drop", 0.1, 0.04)
    assert loaded.learner.learning_rate == 1e-5
    lines = setting_lines(loaded)
    assert any(line.startswith("sampling.top_k 20, set by hand; as_published: 50; corrected: 0 (") for line in lines)
    assert "learner.learning_rate 1e-05, set by hand; as_published: 1e-06" in lines
    assert any(line.startswith("learner.seconds_per_grid one; corrected: clip (") for line in lines)
    assert not any(line.startswith("sampling.num_generations") for line in lines)


def test_a_plan_names_every_choice_that_differs() -> None:
    lines = setting_lines(recipe("fidelity=corrected"))
    assert lines[0].startswith("corrected: answers are read as they were meant")
    differing = [setting.key for setting in published_settings() if setting.differs]
    assert [line.split(" ")[0] for line in lines[1:]] == differing
    assert len(differing) >= 6


def test_sections_that_a_recipe_has_not_are_not_made() -> None:
    text = "model: m\ntasks: {temporal_grounding: {}}\ndata: {train: [rows.jsonl]}\nsteps: 1\nfidelity: as_published\n"
    loaded = recipe(text=text)
    assert loaded.cold_start is None
    assert set(loaded.tasks) == {"temporal_grounding"}
    assert {"cold_start.loss_on: not used here", "tasks.tracking.frames: not used here"} < set(setting_lines(loaded))


def test_the_resolved_recipe_reads_back_equal() -> None:
    for fidelity in ("as_published", "corrected"):
        loaded = recipe(f"fidelity={fidelity}")
        assert parse_recipe(recipe_text(loaded), "resolved") == loaded


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("fidelity=as_pubished", "got the text 'as_pubished', which is not one of as_published, corrected."),
        ("fidelity=[as_published]", "got a list, which is not one of as_published, corrected."),
    ],
)
def test_a_wrong_word_is_an_error(override: str, problem: str) -> None:
    with pytest.raises(Exception, match="1 problem") as caught:
        recipe(override)
    assert problem in str(caught.value), problem_text("r", [])


def test_a_section_that_is_no_section_is_still_an_error() -> None:
    with pytest.raises(Exception, match=r"sampling .*expected keys with values"):
        recipe("fidelity=corrected", text=TASKS_AND_MORE + "sampling: 5\n")
