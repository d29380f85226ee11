"""Reading recipes: scalars, doubled keys, every problem at once, overrides."""

from pathlib import Path

import pytest
import yaml

from rft.errors import RecipeError
from rft.recipe import Recipe
from rft.recipe.docs import recipe_page
from rft.recipe.load import OLD_KEYS, load_recipe, parse_recipe, recipe_text
from rft.recipe.strict_yaml import parse_scalar, parse_yaml

GOOD = """\
model: models/tiny
tasks:
  temporal_grounding: {rewards: {temporal_iou: 1, think_format: {weight: 0.5}}}
data: {train: [rows.jsonl]}
steps: 10
learner: {learning_rate: 1e-6}
"""


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml", overrides)
    first, *problems = str(caught.value).splitlines()
    assert first == f"r.yaml: {len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return [line.removeprefix("  ") for line in problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("5E3", 5000.0),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("10", 10),
        ("010", 10),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("2026-11-19", "2026-11-19"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("1e", "1e"),
        (".", "."),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    read = parse_scalar(text)
    assert read == value
    assert type(read) is type(value)
    assert parse_yaml(f"key: {text}").data == {"key": value}


def test_quoted_scalars_are_text() -> None:
    assert parse_yaml("a: '1'\nb: \"true\"\nc: |\n  10\n").data == {"a": "1", "b": "true", "c": "10\n"}


def test_the_seeded_recipe_is_read() -> None:
    recipe = parse_recipe(GOOD, "r.yaml")
    assert recipe.learner.learning_rate == 1e-6
    assert recipe.data.train == (Path("rows.jsonl"),)
    rewards = recipe.tasks["temporal_grounding"].rewards
    assert rewards is not None
    assert {name: part.weight for name, part in rewards.items()} == {"temporal_iou": 1.0, "think_format": 0.5}


def test_a_recipe_keeps_its_values_when_written_and_read_again() -> None:
    odd = ["model='1e-6'", "system_prompt='no: it''s # 1:30'", "learner.lora={r: 4}", "seed=3", "data.train=['null']"]
    recipe = parse_recipe(GOOD, "r.yaml", odd)
    assert recipe.model == "1e-6"
    text = recipe_text(recipe)
    assert parse_recipe(text, "again") == recipe
    assert text.isascii()
    assert set(yaml.safe_load(text)) == set(Recipe.model_fields)


def test_every_problem_is_reported_at_once() -> None:
    text = GOOD.replace("steps: 10", "steps: 1:30") + (
        "sampling:\n  temprature: 2\n  top_p: 1.5\nrollout: {num_workers: true, max_num_seqs: '8'}\nstep: 3\n"
    )
    assert problems(text, "eval.evry=3", "nonsense", "learner.dtype=fp16") == [
        "command line: 'nonsense' is not of the form key=value.",
        "steps (line 5): expected a whole number, got the text '1:30'.",
        "sampling.top_p (line 9): must be at most 1.0, got 1.5.",
        "sampling.temprature (line 8): unknown key. Did you mean 'temperature'?",
        "rollout.num_workers (line 10): expected a whole number, got true.",
        "rollout.max_num_seqs (line 10): expected a whole number, got the text '8'.",
        "learner.dtype (command line): got the text 'fp16', which is not one of float32, bfloat16.",
        "eval.evry (command line): unknown key. Did you mean 'every'?",
        "step (line 11): unknown key. Did you mean 'steps'?",
    ]


def test_a_doubled_key_names_both_lines() -> None:
    assert problems(GOOD + "seed: 1\nseed: 2\n") == ["seed: written twice, on lines 7 and 8. Keep one."]
    assert problems(GOOD + "eval:\n  every: 1\n  max_rows: 5\n  every: 2\n") == [
        "eval.every: written twice, on lines 8 and 10. Keep one."
    ]
    assert problems(GOOD + '"steps": 3\n') == ["steps: written twice, on lines 5 and 7. Keep one."]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("steps: 10", ""), "steps: missing. It has no default."),
        (("steps: 10", "steps: -1"), "steps (line 5): must be at least 0, got -1."),
        (("steps: 10", "steps:"), "steps (line 5): expected a whole number, got nothing."),
        (("steps: 10", "steps: 1e3"), "steps (line 5): expected a whole number, got 1000.0."),
        (("steps: 10", "steps: 10\nseed: .nan"), "seed (line 6): expected a whole number, got nan."),
        (("1e-6", ".inf"), "learner.learning_rate (line 6): expected a finite number, got inf."),
        (("1e-6", "0"), "learner.learning_rate (line 6): must be more than 0.0, got 0."),
        (("[rows.jsonl]", "rows.jsonl"), "data.train (line 4): expected a list, got the text 'rows.jsonl'. "
         "Write [rows.jsonl]."),
        (("{weight: 0.5}", "{wieght: 1}"), "tasks.temporal_grounding.rewards.think_format.wieght (line 3): "
         "unknown key. Did you mean 'weight'?"),
        (("{weight: 0.5}", "yes"), "tasks.temporal_grounding.rewards.think_format (line 3): "
         "expected keys with values, got the text 'yes'."),
        (("{rewards: {temporal_iou: 1, think_format: {weight: 0.5}}}", "{think: no}"),
         "tasks.temporal_grounding.think (line 3): expected true or false, got the text 'no'. Write false."),
        (("data: {train: [rows.jsonl]}", "data: [a]"), "data (line 4): expected keys with values, got a list."),
    ],
)  # fmt: skip
def test_a_wrong_value_is_explained(change: tuple[str, str], problem: str) -> None:
    assert change[0] in GOOD
    assert problems(GOOD.replace(*change)) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no keys. A recipe begins with 'model:'."),
        ("- model\n", "holds no keys. A recipe begins with 'model:'."),
        ("model: [a\n", "line 2: not YAML: expected ',' or ']', but got '<stream end>'."),
        ("a: 1\n\tb: 2\n", "line 2: not YAML: found character '\\t' that cannot start any token."),
        ("a: &x 1\nb: *x\n", "line 2: not YAML: aliases (*name) are not supported."),
        ("a: 1\nb: !!float '1'\n", "line 2: not YAML: tags (!name) are not supported."),
        ("[" * 5000, "nested too deep to be read."),
        ("a: 1\n--- \nb: 2\n", "line 2: not YAML: but found another document."),
    ],
)
def test_what_is_no_recipe_is_explained(text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_overrides_set_nested_keys_and_win() -> None:
    recipe = parse_recipe(
        GOOD,
        "r.yaml",
        ["steps=3", "learner.learning_rate=2e-5", "cold_start={data: [c.jsonl], steps: 5}", "run_dir=runs/a=b",
         "tasks.temporal_grounding.rewards.temporal_iou.args.min_iou=0.3", "cold_start.rows_per_step=4"],
    )  # fmt: skip
    assert (recipe.steps, recipe.learner.learning_rate, recipe.run_dir) == (3, 2e-5, Path("runs/a=b"))
    assert recipe.cold_start is not None
    assert recipe.cold_start.rows_per_step == 4
    rewards = recipe.tasks["temporal_grounding"].rewards
    assert rewards is not None
    assert rewards["temporal_iou"].weight == 1.0
    assert rewards["temporal_iou"].args == {"min_iou": 0.3}


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("sampling.temprature=1", "sampling.temprature (command line): unknown key. Did you mean 'temperature'?"),
        ("temperature=1", "temperature (command line): unknown key. Did you mean 'sampling.temperature'?"),
        ("steps=many", "steps (command line): expected a whole number, got the text 'many'."),
        ("steps.x=1", "steps (command line): expected a whole number, got keys with values."),
        ("steps", "command line: 'steps' is not of the form key=value."),
        ("a..b=1", "command line: 'a..b=1' is not of the form key=value."),
        ("data.train=[a", "data.train (command line): '[a' is not YAML: expected ',' or ']', but got '<stream end>'."),
    ],
)
def test_overrides_get_the_same_errors(override: str, problem: str) -> None:
    assert problems(GOOD, override) == [problem]


@pytest.mark.parametrize(("old", "new"), OLD_KEYS.items())
def test_an_old_key_names_the_new_one(old: str, new: str) -> None:
    section, _, name = old.partition(".")
    message = f"is now called {new}. Rename it."
    assert problems(f"{GOOD}{section}: {{{name}: keep}}\n") == [f"{old} (line 7): {message}"]
    assert problems(GOOD, f"{old}=keep") == [f"{old} (command line): {message}"]
    # The new key exists: a value that it cannot have is no unknown key.
    assert "unknown key" not in problems(GOOD, f"{new}=nonsense")[0]


def test_an_override_given_twice_is_an_error() -> None:
    assert problems(GOOD, "seed=1", "seed=2") == ["seed (command line): given twice. Keep one."]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "latin.yaml").write_bytes(b"model: \xe9")
    assert load_recipe(tmp_path / "good.yaml").steps == 10
    with pytest.raises(RecipeError, match=r"godo\.yaml: no such file\. Did you mean '.*good\.yaml'\?"):
        load_recipe(tmp_path / "godo.yaml")
    with pytest.raises(RecipeError, match=r"latin\.yaml: not UTF-8 text \(byte 7\)"):
        load_recipe(tmp_path / "latin.yaml")
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        load_recipe(tmp_path)


def test_the_page_of_keys_is_in_step_with_the_model() -> None:
    page = Path(__file__).parents[3] / "docs" / "recipe.md"
    assert page.read_text() == recipe_page(), "run: python -m rft.recipe.docs > docs/recipe.md"
    assert "| `num_generations` | whole number, >= 2 | 8 | G, completions per prompt. |" in recipe_page()


def test_every_key_has_a_meaning() -> None:
    rows = [line for line in recipe_page().splitlines() if line.startswith("| `")]
    assert [row for row in rows if row.rstrip("| ").count("|") < 4] == []
