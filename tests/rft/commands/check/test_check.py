"""rft check: everything that stops a run, at once, and the plan."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rewards import REWARDS
from rewards.targets.span import SpanTarget
from rewards.types import Score
from rft.commands.check.check import Checked, check, check_file
from rft.commands.check.prompt_length import visual_tokens
from rft.commands.check.rewards import reward_findings
from rft.commands.check.values import value_problems
from rft.commands.eval.request import eval_recipe
from rft.errors import CheckpointError, Problem, RecipeError
from rft.recipe import PATCH_PIXELS, Recipe, VideoRecipe
from rft.recipe.fidelity import published_settings
from rft.recipe.model_folder import model_problems
from rft.runs.checkpoint import TrainState, save_checkpoint
from rft.runs.run_dir import RunDir
from rft.tasks import TASKS


@pytest.fixture
def make(
    tmp_path: Path, model_folder: Path, example_rows: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Recipe]:
    """Builds a recipe that is fine, apart from what a test changes."""
    monkeypatch.chdir(tmp_path)

    def build(tasks: dict[str, Any] | None = None, **changes: Any) -> Recipe:
        tasks = {"temporal_grounding": {}} if tasks is None else tasks
        rows = example_rows(tmp_path / "rows.jsonl", [name for name in tasks if name in TASKS], copies=8)
        values = {"model": str(model_folder), "tasks": tasks, "data": {"train": [rows]}, "steps": 4, **changes}
        return Recipe.model_validate(values)

    return build


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


@pytest.mark.parametrize("think", [True, False])
@pytest.mark.parametrize("name", TASKS)
def test_the_default_rewards_of_a_task_fit_it(make: Callable[..., Recipe], name: str, think: bool) -> None:
    assert list(reward_findings(make({name: {"think": think}}))) == []


@pytest.mark.parametrize(
    ("task", "task_recipe", "problem"),
    [
        ("temporal_graunding", {}, "tasks.temporal_graunding: unknown task. Did you mean 'temporal_grounding'?"),
        ("tracking", {"rewards": {"mean_bx_iou": 1}},
         "tasks.tracking.rewards.mean_bx_iou: unknown reward. Did you mean 'mean_box_iou'?"),
        ("temporal_grounding", {"rewards": {"choice_accuracy": 1}},
         "tasks.temporal_grounding.rewards.choice_accuracy: choice_accuracy scores ChoiceTarget or "
         "GroundedChoiceTarget, but task temporal_grounding yields SpanTarget."),
        ("temporal_grounding", {"rewards": {"temporal_iou": {"args": {"min_iu": 0.3}}}},
         "tasks.temporal_grounding.rewards.temporal_iou: temporal_iou has no argument min_iu. Did you mean 'min_iou'?"),
        ("temporal_grounding", {"rewards": {"temporal_iou": {"args": {"min_iou": "x"}}}},
         "tasks.temporal_grounding.rewards.temporal_iou: temporal_iou raises TypeError on the example answer"),
        ("temporal_grounding", {"think": False, "rewards": {"temporal_iou": 1, "think_format": 1}},
         "tasks.temporal_grounding.rewards.think_format: think_format gives 0 to the example answer of task "
         "temporal_grounding without think"),
        ("tracking", {"think": True, "rewards": {"mean_box_iou": 1, "answer_format": 1}},
         "tasks.tracking.rewards.answer_format: answer_format gives 0 to the example answer of task tracking with"),
        ("tracking", {"rewards": {"mean_box_iou": 0}},
         "tasks.tracking.rewards: no reward has a weight: nothing would be learned."),
        ("tracking", {"rewards": {}}, "tasks.tracking.rewards: no reward has a weight: nothing would be learned."),
    ],
)  # fmt: skip
def test_rewards_that_do_not_fit(
    make: Callable[..., Recipe], task: str, task_recipe: dict[str, Any], problem: str
) -> None:
    problems = [str(one) for one in reward_findings(make({task: task_recipe}))]
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_a_reward_that_raises_needs_an_argument_or_scores_wrong_is_reported(make: Callable[..., Recipe]) -> None:
    def raising(completion: str, target: SpanTarget) -> Score:
        raise KeyError("boom")

    def needing(completion: str, target: SpanTarget, *, scale: float) -> Score:
        return Score(1.0, None, "")

    def half(completion: str, target: SpanTarget) -> Score:
        return Score(0.5, None, "always")

    def no_number(completion: str, target: SpanTarget) -> Score:
        return Score(float("nan"), None, "nan")

    table = {**REWARDS, "raising": raising, "needing": needing, "half": half, "no_number": no_number}
    recipe = make({"temporal_grounding": {"rewards": dict.fromkeys(("raising", "needing", "half", "no_number"), 1.0)}})
    messages = [one.message for one in reward_findings(recipe, table)]
    assert messages[0] == "raising raises KeyError on the example answer of task temporal_grounding: 'boom'."
    assert messages[1] == "needing needs the argument scale. Set it under args."
    assert messages[2].startswith("half gives 0.5 to the example answer of task temporal_grounding with think (always)")
    assert messages[3].startswith("no_number gives nan to the example answer")


def test_flaws_of_the_released_rewards_are_noted_and_mistakes_still_refused(make: Callable[..., Recipe]) -> None:
    """Its format reward of plain questions asks for spans that the prompt does not; no parser helps a wrong think."""
    recipe = make({"multiple_choice": {}, "temporal_grounding": {"rewards": {"answer_format": 1}}})
    recipe = recipe.model_copy(update={"fidelity": "as_published"})
    note, problem = reward_findings(recipe)
    assert isinstance(problem, Problem)
    assert str(problem).startswith("tasks.temporal_grounding.rewards.answer_format: answer_format gives 0 to")
    assert isinstance(note, str)
    assert note.startswith("tasks.multiple_choice.rewards.think_format: think_format gives 0 to the example answer")
    assert note.endswith("as the released code does; the corrected one accepts it.")
    assert not any(isinstance(one, str) for one in reward_findings(recipe.model_copy(update={"fidelity": "corrected"})))


def test_a_penalty_need_not_like_the_example(make: Callable[..., Recipe]) -> None:
    task_recipe = {"rewards": {"temporal_iou": 1.0, "answer_format": -0.5}}
    assert list(reward_findings(make({"temporal_grounding": task_recipe}))) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"algorithm": {"loss_type": "gone.py:mine"}}, "algorithm.loss_type: gone.py:mine: no such file."),
        ({"video": {"min_frames": 8, "max_frames": 4}}, "video.min_frames: 8 is more than video.max_frames, 4."),
        ({"video": {"max_pixels": 784}}, "video.min_pixels: 12544 is more than video.max_pixels, 784."),
        ({"prompts_per_step": 9}, "prompts_per_step: a step takes 9 prompts, but data.train has 8 rows. Lower it."),
        ({"learner": {"num_ranks": 9}}, "learner.num_ranks: 9 ranks share 8 groups an update: some would have none."),
        ({"learner": {"num_ranks": 5}, "algorithm": {"num_mini_batches": 2}},
         "learner.num_ranks: 5 ranks share 4 groups an update"),
        ({"algorithm": {"num_mini_batches": 9}},
         "algorithm.num_mini_batches: 9 mini-batches share 8 groups a step: some would have none."),
        ({"rollout": {"weight_transfer": "ipc"}}, "rollout.weight_transfer: ipc moves weights between two processes"),
        ({"rollout": {"weight_transfer": "nccl", "share_gpu": True}}, "rollout.weight_transfer: nccl moves weights"),
        ({"rollout": {"num_workers": 2, "share_gpu": True}}, "rollout.num_workers: of 2 engines only 1 would find a"),
        ({"learner": {"warmup_steps": 4}}, "learner.warmup_steps: 4 is not less than the 4 updates of the run"),
        ({"eval": {"every": 2}}, "eval.every: there is nothing to evaluate on."),
        ({"scoring": {"overlong_buffer": 1024}}, "scoring.overlong_buffer: 1024 leaves no completion without penalty"),
        ({"scoring": {"length_bonus": {"reward": "temporal_io"}}},
         "scoring.length_bonus.reward: no task is rewarded by 'temporal_io': the bonus would never be given. "
         "Did you mean 'temporal_iou'?"),
        ({"scoring": {"order_bonus": {"reward": "temporal_io"}}},
         "scoring.order_bonus.reward: no task is rewarded by 'temporal_io': the bonus would never be given. "
         "Did you mean 'temporal_iou'?"),
        ({"scoring": {"length_bonus": {"reward": "think_format", "tokens_low": 600}}},
         "scoring.length_bonus.tokens_low: 600 is more than tokens_high, 512,"),
        ({"scoring": {"length_bonus": {"reward": "think_format"}}, "sampling": {"max_completion_length": 300}},
         "scoring.length_bonus.tokens_low: 320 is more than tokens_high, 512, or than"),
        ({"rollout": {"max_model_len": 2048}}, "rollout.max_model_len: a prompt can have 3,"),
        ({"data": {"train": []}}, "data.train: names no file."),
        ({"data": {"train": ["gone.jsonl"]}}, "data.train: gone.jsonl not found in "),
        ({"cold_start": {"data": ["cold.jsonl"], "steps": 5}}, "cold_start.data: cold.jsonl not found in "),
        ({"cold_start": {"data": ["rows.jsonl"], "steps": 5, "warmup_steps": 5}},
         "cold_start.warmup_steps: 5 is not less than cold_start.steps, 5."),
        ({"steps": 0}, "steps: 0 steps without a cold_start train nothing."),
        ({"algorithm": {"zero_std_groups": "keep", "max_resamples": 2}}, "algorithm.max_resamples: replaces groups"),
        ({"tasks": {"temporal_grounding": {"frames": "seven"}}},
         "tasks.temporal_grounding.frames: seven goes by boxes, but temporal_grounding answers with none."),
        ({"run_dir": "rows.jsonl"}, "run_dir: rows.jsonl is a file."),
        ({"run_dir": "rows.jsonl/deeper"}, "run_dir: "),
        ({"model": "gone/deep/model"}, "model: folder gone/deep/model not found."),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(make: Callable[..., Recipe], changes: dict[str, Any], problem: str) -> None:
    problems = problems_of(make(**changes))
    assert len(problems) == 1, problems
    assert problems[0].startswith(problem)


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


def test_weights_kept_in_less_than_they_are_used_in_are_a_problem(make: Callable[..., Recipe]) -> None:
    (problem,) = value_problems(make(learner={"dtype": "float32", "master_dtype": "bfloat16"}))
    assert str(problem).startswith("learner.master_dtype: bfloat16 keeps less of a weight")


@pytest.mark.parametrize(
    ("rollout", "problem"),
    [
        ({"engine": {"enforce_eager": True, "kv_cache_dtype": "fp8"}}, None),
        ({"environment": {"VLLM_USE_V2_MODEL_RUNNER": 0, "NCCL_DEBUG": "INFO"}}, None),
        ({"engine": {"max_model_len": 9}},
         "rollout.engine.max_model_len: is not for a recipe to set here. Set rollout.max_model_len instead."),
        ({"engine": {"logprobs_mode": "raw_logprobs"}},
         "rollout.engine.logprobs_mode: is not for a recipe to set here. Leave it out."),
        ({"engine": {"enforce_eagar": True}},
         "rollout.engine.enforce_eagar: vLLM knows no such name. Did you mean 'enforce_eager'?"),
        ({"environment": {"OMP_NUM_THREADS": 4}},
         "rollout.environment.OMP_NUM_THREADS: is not for a recipe to set here. Set rollout.threads_per_worker "
         "instead."),
        ({"environment": {"VLLM_USE_V3_MODEL_RUNNER": 0}},
         "rollout.environment.VLLM_USE_V3_MODEL_RUNNER: vLLM knows no such name. "
         "Did you mean 'VLLM_USE_V2_MODEL_RUNNER'?"),
    ],
)  # fmt: skip
def test_what_goes_to_vllm_as_it_is(make: Callable[..., Recipe], rollout: dict[str, Any], problem: str | None) -> None:
    assert [str(one) for one in value_problems(make(rollout=rollout))] == ([problem] if problem else [])


def test_the_plan_covers_a_gpu_that_is_not_here(
    make: Callable[..., Recipe], tmp_path: Path, model_folder: Path
) -> None:
    recipe = make()
    (tmp_path / "r.yaml").write_text(yaml.dump(recipe.model_dump(mode="json")))
    checked = check_file(tmp_path / "r.yaml", gpu="h200")
    assert [value for what, value in checked.plan if what == "H200"]
    with pytest.raises(RecipeError, match=r"--gpu V100: is not in the table\. Known: A100-40GB, "):
        check_file(tmp_path / "r.yaml", gpu="V100")


def test_the_settings_that_the_page_on_rewards_shows_pass(make: Callable[..., Recipe]) -> None:
    page = (Path(__file__).parents[4] / "docs" / "rewards.md").read_text()
    (shown,) = [
        yaml.safe_load(block) for block in re.findall("```yaml\n(.*?)```", page, re.DOTALL) if "judge_" in block
    ]
    tasks = {
        "temporal_grounding": {"rewards": {"endpoint_iou": 0.5, "generalised_iou": 0.5, "think_format": 0.1}},
        "grounded_qa": {"rewards": {"at_most_spans": {"args": {"most": 3}}, "choice_accuracy": 0.7}},
        **shown["tasks"],
    }
    recipe = make(tasks, scoring={"length_bonus": {"reward": "choice_accuracy"}, **shown["scoring"]})
    assert list(reward_findings(recipe)) == []
    assert value_problems(recipe) == []


def test_a_check_sends_no_request_to_a_judge(make: Callable[..., Recipe]) -> None:
    args = {"judge": "model", "judge_url": "http://127.0.0.1:9/v1", "judge_model": "m"}
    tasks = {"caption": {"rewards": {"event_recall": {"args": args}}}}
    assert list(reward_findings(make(tasks))) == []
    note = "scoring.reward_timeout_s ends event_recall after 5 s for a whole group, but one request to its judge may"
    assert any(one.startswith(note) for one in check(make(tasks), Path("r.yaml")).notes)
    patient = make(tasks, scoring={"reward_timeout_s": 100})
    assert not any("event_recall" in one for one in check(patient, Path("r.yaml")).notes)
    del args["judge_model"]
    assert "judge_model is missing" in str(next(reward_findings(make(tasks))))


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


@pytest.mark.parametrize(
    ("clip_s", "tokens"), [(10.0, 1989), (31.0, 3240), (60.0, 2832), (117.0, 2784), (240.0, 2868), (755.0, 4608)]
)
def test_visual_tokens_bound_clips_of_480_by_360(clip_s: float, tokens: int) -> None:
    sampling = VideoRecipe().sampling()
    assert tokens <= visual_tokens(sampling, clip_s) <= 2 * tokens
    assert visual_tokens(sampling, clip_s) <= visual_tokens(sampling, None) == 768 // 2 * 16


def test_visual_tokens_of_the_counts_beside_the_seconds() -> None:
    published = VideoRecipe().sampling()
    # 482 frames of 16 tokens a pair; 480 or 478 have fewer.
    assert visual_tokens(published, 240.0) == 241 * 16
    # 146 frames may have 49 tokens a pair; 148 may have 48, 150 may have 47.
    assert visual_tokens(VideoRecipe(fps=4, min_pixels=784).sampling(), 37.35) == 73 * 49


def test_visual_tokens_of_small_clips() -> None:
    pixels = 4 * PATCH_PIXELS
    tiny = VideoRecipe(fps=2, min_frames=16, max_frames=16, min_pixels=pixels, max_pixels=pixels, total_pixels=10**6)
    assert visual_tokens(tiny.sampling(), 8.0) == 8 * 4
    assert visual_tokens(tiny.sampling(), None) == 8 * 4


@pytest.mark.parametrize(
    ("removed", "named"),
    [
        (("config.json",), "no model configuration (config.json)"),
        (("preprocessor_config.json", "video_preprocessor_config.json"), "no processor (preprocessor_config.json or"),
        (("tokenizer.json",), "no tokenizer (tokenizer.json, or vocab.json with merges.txt)"),
        (("chat_template.jinja",), "no chat template"),
    ],
)
def test_a_model_folder_with_a_part_missing(model_folder: Path, removed: tuple[str, ...], named: str) -> None:
    assert model_problems(str(model_folder))[0] == []
    for name in removed:
        (model_folder / name).unlink()
    (problem,) = model_problems(str(model_folder))[0]
    assert named in problem
    assert str(model_folder) in problem


def test_other_forms_of_a_model(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (model_folder / "chat_template.jinja").unlink()
    (model_folder / "tokenizer_config.json").write_text('{"chat_template": "x"}')
    assert model_problems(str(model_folder))[0] == []
    (model_folder / "config.json").write_text("{")
    (problem,) = model_problems(str(model_folder))[0]
    assert problem == f"{model_folder / 'config.json'} is not a JSON object. Copy it again."
    (model_folder / "config.json").write_text('{"model_type": "llama"}')
    assert "type llama" in model_problems(str(model_folder))[1][-1]
    assert model_problems("Qwen/Qwen2.5-VL-3B-Instruct")[0] == []
    assert "taken as a hub name" in model_problems("Qwen/Qwen2.5-VL-3B-Instruct")[1][0]
    (tmp_path / "Qwen").mkdir()
    assert "not found" in model_problems("Qwen/Qwen2.5-VL-3B-Instruct")[0][0]
    assert "is not a folder" in model_problems(str(model_folder / "config.json"))[0][0]


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


def test_eval_asks_as_the_run_did(
    make: Callable[..., Recipe], tmp_path: Path, model_folder: Path, example_rows: Callable[..., Path]
) -> None:
    make()
    run = tmp_path / "runs" / "r"
    checkpoint = run / "checkpoints" / "step_4"
    checkpoint.mkdir(parents=True)
    model_folder.rename(checkpoint / "policy")
    (run / "recipe.yaml").write_text(
        "model: elsewhere\ntasks: {temporal_grounding: {think: false}}\ndata: {train: [gone.jsonl]}\nsteps: 4\n"
        "cold_start: {data: [gone.jsonl], steps: 1}\nvideo: {fps: 1.0}\n"
    )
    rows = example_rows(tmp_path / "held: out.jsonl", ["temporal_grounding", "tracking"])
    recipe = eval_recipe(str(checkpoint), [rows], None, None, 3, ["video.max_frames=16"])
    assert recipe.model == str(checkpoint / "policy")
    assert recipe.data.eval == (rows,)
    assert (recipe.data.train, recipe.cold_start, recipe.eval.num_samples) == ((), None, 3)
    assert (recipe.video.fps, recipe.video.max_frames) == (1.0, 16)
    assert recipe.tasks["temporal_grounding"].think is False
    assert set(recipe.tasks) == set(TASKS)
    with pytest.raises(RecipeError, match=r"--task: no row of --data has task caption. Known: .*, tracking."):
        eval_recipe(str(checkpoint), [rows], None, None, 3, [], "caption")


def test_eval_names_a_damaged_file_of_a_policy(model_folder: Path, tmp_path: Path) -> None:
    def write(partial: Path) -> None:
        shutil.copytree(model_folder, partial / "policy")

    state = TrainState(step=4, data_position=0, seed=0, policy_version=4)
    checkpoint = save_checkpoint(RunDir(tmp_path / "run"), 4, write, state, keep=1)
    damaged = checkpoint / "policy" / "config.json"
    damaged.write_text(f"{damaged.read_text()} ")
    for model in (checkpoint, checkpoint / "policy"):
        with pytest.raises(CheckpointError, match=r"policy/config.json: differs from what was saved"):
            eval_recipe(str(model), [Path("rows.jsonl")], None, None, None, [])


def test_eval_without_a_run_takes_the_defaults_and_reports_all(make: Callable[..., Recipe], model_folder: Path) -> None:
    make()
    recipe = eval_recipe(str(model_folder), [Path("rows.jsonl")], None, None, None, [])
    assert recipe.video == VideoRecipe()
    with pytest.raises(RecipeError) as caught:
        eval_recipe("gone/deep/model", [Path("gone.jsonl")], None, None, None, [])
    lines = str(caught.value).splitlines()
    assert lines[0] == "rft eval: 2 problems"
    assert lines[1].startswith("  model: folder gone/deep/model not found")
    assert lines[2].startswith("  data.eval: gone.jsonl not found")
