"""rft check: everything that stops a run, at once, and the plan."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rft.commands.check.check import Checked, check, check_file
from rft.errors import RecipeError
from rft.recipe import Recipe
from rft.recipe.fidelity import published_settings
from rft.tasks import TASKS


def problems_of(recipe: Recipe, resume: bool = False) -> list[str]:
    checked = check(recipe, Path("r.yaml"), resume)
    return [*map(str, checked.problems), *checked.data_problems]


def test_a_good_recipe_has_no_problems_and_a_readable_plan(make: Callable[..., Recipe]) -> None:
    recipe = make({name: {} for name in TASKS}, prompts_per_step=4, run_dir="runs/mine")
    checked: Checked = check(recipe, Path("r.yaml"))
    assert (checked.problems, checked.data_problems) == ((), ())
    plan = dict(checked.plan)
    epochs = 4 * 4 / (8 * len(TASKS))
    assert plan["steps"] == f"4 x 4 prompts x 8 completions = 128 completions, {epochs:.2f} epochs"
    assert plan["run folder"] == "runs/mine, a checkpoint every 100 steps, seed 0"
    tasks = [value for what, value in checked.plan if what == "task"]
    assert tasks[1] == "grounded_qa, think: union_iou 1, choice_accuracy 1, think_format 1; rows: 8 train"
    assert checked.text().startswith("r.yaml: no problems\n")


def test_the_supervised_stage_may_stand_alone(make: Callable[..., Recipe]) -> None:
    recipe = make(steps=0, cold_start={"data": ["rows.jsonl"], "steps": 5}, learner={"warmup_steps": 3})
    checked = check(recipe, Path("r.yaml"))
    assert (checked.problems, checked.data_problems) == ((), ())
    assert dict(checked.plan)["steps"] == "none: the supervised stage alone"


def test_a_clip_of_seven_frames_needs_few_tokens(make: Callable[..., Recipe]) -> None:
    video = {"max_frames": 64, "min_pixels": 784, "max_pixels": 784}
    tokens = [
        dict(check(make({"tracking": {"frames": frames}}, video=video), Path("r.yaml")).plan)["tokens"]
        for frames in ("sampled", "one_per_box", "seven")
    ]
    assert ["(32 visual)" in tokens[0], "(2 visual)" in tokens[1], "(4 visual)" in tokens[2]] == [True] * 3


@pytest.mark.parametrize("fidelity", ["as_published", "corrected"])
def test_the_plan_names_what_fidelity_decides(
    make: Callable[..., Recipe], tmp_path: Path, model_folder: Path, fidelity: str
) -> None:
    make({"temporal_grounding": {}, "tracking": {}})
    path = tmp_path / "r.yaml"
    path.write_text(
        f"model: {model_folder}\ntasks: {{temporal_grounding: {{}}, tracking: {{}}}}\n"
        f"data: {{train: [rows.jsonl]}}\nsteps: 4\nfidelity: {fidelity}\nsampling: {{num_generations: 4}}\n"
    )
    said = [line for what, line in check_file(path).plan if what == "fidelity"]
    assert said[0].startswith(f"{fidelity}: ")
    for setting in published_settings():
        if setting.differs:
            assert sum(line.startswith((f"{setting.key} ", f"{setting.key}:")) for line in said) == 1, setting.key
    assert f"sampling.num_generations 4, set by hand; {fidelity}: 8" in said


def test_an_unwritable_run_folder_is_reported(make: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    # Permissions bind no superuser, so the answer of the system stands in for a read-only disk.
    monkeypatch.setattr("rft.commands.check.check.os.access", lambda path, mode: False)
    assert problems_of(make())[0].endswith("cannot be written to. Set run_dir to another folder.")


def test_a_run_folder_in_use_is_a_note(make: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "runs" / "r").mkdir(parents=True)
    (tmp_path / "runs" / "r" / "metrics.jsonl").touch()
    recipe = make()
    assert any("holds a run already" in note for note in check(recipe, Path("r.yaml")).notes)
    assert not any("holds a run already" in note for note in check(recipe, Path("r.yaml"), resume=True).notes)


def test_a_cut_distribution_is_a_note(make: Callable[..., Recipe]) -> None:
    assert any("top_p" in note for note in check(make(sampling={"top_k": 50}), Path("r.yaml")).notes)
    assert not any("top_p" in note for note in check(make(), Path("r.yaml")).notes)


@pytest.mark.parametrize(
    ("learner", "is_noted"),
    [({}, False), ({"learning_rate": 1e-3}, False), ({"lora": {}}, False), ({"learning_rate": 1e-6}, True)],
)
def test_steps_that_bfloat16_weights_take_by_chance_are_noted(
    make: Callable[..., Recipe], learner: dict[str, Any], is_noted: bool
) -> None:
    dtype = {} if learner == {} else {"master_dtype": "bfloat16"}
    notes = check(make(learner=learner | dtype), Path("r.yaml")).notes
    assert any("4.9e-04 away: of steps of 1e-06 one in 488 moves a weight" in note for note in notes) == is_noted


def test_the_plan_covers_a_gpu_that_is_not_here(
    make: Callable[..., Recipe], tmp_path: Path, model_folder: Path
) -> None:
    recipe = make()
    (tmp_path / "r.yaml").write_text(yaml.dump(recipe.model_dump(mode="json")))
    checked = check_file(tmp_path / "r.yaml", gpu="h200")
    assert [value for what, value in checked.plan if what == "H200"]
    with pytest.raises(RecipeError, match=r"--gpu V100: is not in the table\. Known: A100-40GB, "):
        check_file(tmp_path / "r.yaml", gpu="V100")


def test_missing_and_empty_videos_are_counted_and_the_first_named(make: Callable[..., Recipe], tmp_path: Path) -> None:
    make()
    example = TASKS["temporal_grounding"].example.model_dump(mode="json", exclude_none=True)
    names = [f"v{i}.mp4" for i in range(20)]
    for name in names[:10]:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / names[9]).write_bytes(b"")
    (tmp_path / "v19.mp4").mkdir()
    lines = [json.dumps({**example, "id": name, "video": name}) for name in names]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    (problem,) = problems_of(make(data={"train": ["mine.jsonl"]}))
    assert problem.startswith(
        "data.train: 11 of 20 rows have clips or images that cannot be used, more than data.max_bad_share 0.01 allows. "
        "Set data.video_root, mend or drop these rows, or raise the share:\n    v9.mp4: "
    )
    assert "v9.mp4: v9.mp4: empty file\n    v10.mp4: " in problem
    assert problem.endswith("v13.mp4: v13.mp4: not found\n... and 6 more")
    assert "v14.mp4" not in problem
    allowed = check(make(data={"train": ["mine.jsonl"], "max_bad_share": 0.55}), Path("r.yaml"))
    assert allowed.problems == ()
    assert any(
        "11 of 20 rows have clips or images that cannot be used, which data.max_bad_share 0.55 allows" in note
        for note in allowed.notes
    )


def test_a_task_without_rows_is_reported(make: Callable[..., Recipe]) -> None:
    recipe = make()
    recipe = recipe.model_copy(update={"tasks": {**recipe.tasks, "tracking": recipe.tasks["temporal_grounding"]}})
    assert problems_of(recipe) == ["tasks.tracking: no row has this task. Add rows, or remove it."]


def test_the_tokenizer_decides_where_bytes_would_not_fit(make: Callable[..., Recipe], model_folder: Path) -> None:
    recipe = make()
    tokens = dict(check(recipe, Path("r.yaml")).plan)["tokens"]
    prompt = int(tokens.split()[3].replace(",", ""))
    limit = prompt + recipe.sampling.max_completion_length
    assert problems_of(make(rollout={"max_model_len": limit})) == []
    (problem,) = problems_of(make(rollout={"max_model_len": limit - 1}))
    assert problem.startswith(f"rollout.max_model_len: a prompt can have {prompt:,} tokens")
    tokenizer = json.loads((model_folder / "tokenizer.json").read_text())
    letters = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {**letters, "en": len(letters)}
    tokenizer["model"]["merges"] = [["e", "n"]]
    (model_folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert problems_of(make(rollout={"max_model_len": limit - 1})) == []


def test_a_file_is_checked_whole(make: Callable[..., Recipe], tmp_path: Path, model_folder: Path) -> None:
    make()
    row = {"id": "a", "task": "temporal_grounding", "video": "kitchen.mp4", "query": "q"}
    (tmp_path / "bad.jsonl").write_text(json.dumps(row))
    path = tmp_path / "r.yaml"
    path.write_text(
        f"model: {model_folder}\ntasks:\n  temporal_grounding: {{rewards: {{choice_accuracy: 1}}}}\n"
        "data: {train: [rows.jsonl], eval: [bad.jsonl]}\nsteps: 4\nsampling: {temprature: 1}\n"
    )
    with pytest.raises(RecipeError) as caught:
        check_file(path, ["algorithm.loss_type=grop"])
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: 3 problems"
    assert lines[1] == "  sampling.temprature (line 6): unknown key. Did you mean 'temperature'?"
    assert lines[2].startswith("  algorithm.loss_type (command line): got the text 'grop', which is not one of grpo, ")
    assert lines[3].startswith("  tasks.temporal_grounding.rewards.choice_accuracy: ")
    assert lines[4:] == ["bad.jsonl:1: target: missing"]
