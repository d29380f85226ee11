"""The command line: exit codes, messages without traceback, and how fast it answers."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

import rft.__main__
from rft.__main__ import main
from rft.commands.list import first_line, losses, rewards, tasks
from rft.errors import Interrupted, RolloutError
from rft.recipe.algorithm import AlgorithmRecipe, LossType

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe(
    tmp_path: Path, model_folder: Path, example_rows: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.chdir(tmp_path)
    example_rows(tmp_path / "rows.jsonl", ["temporal_grounding"], copies=8)
    path = tmp_path / "mine.yaml"
    rest = "tasks: {temporal_grounding: {}}\ndata: {train: [rows.jsonl]}\nsteps: 2\n"
    path.write_text(f"model: {model_folder}\n{rest}")
    return path


@pytest.mark.parametrize("command", [["--help"], ["check", "mine.yaml"], ["list", "rewards"]])
def test_no_heavy_library_is_loaded(recipe: Path, command: list[str]) -> None:
    code = (
        "import sys\nfrom rft.__main__ import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    print()\n"
        "print(sorted({'torch', 'ray', 'vllm', 'transformers', 'trl', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_check_prints_the_plan(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(recipe), "steps=3"]) == 0
    out = capsys.readouterr().out
    assert "3 x 8 prompts x 8 completions" in out
    assert "temporal_iou 1, think_format 1; rows: 8 train" in out


def test_a_users_mistake_is_a_message_and_exit_code_2(recipe: Path) -> None:
    recipe.write_text(recipe.read_text() + "sampling: {temprature: 1}\nsteps: 3\n")
    done = subprocess.run(
        [sys.executable, "-m", "rft", "train", str(recipe)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"{recipe}: 2 problems",
        "  steps: written twice, on lines 4 and 6. Keep one.",
        "  sampling.temprature (line 5): unknown key. Did you mean 'temperature'?",
    ]


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["check"], ["check", "r.yaml", "--odd"], ["data", "nonsense", "d"], ["eval", "m"], ["list", "x"]],
)
def test_unknown_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: rft" in capsys.readouterr().err


def test_without_arguments_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RolloutError("worker 1 died"), 2, "worker 1 died\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (Interrupted(), 130, "interrupted\n"),
    ],
)
def test_how_a_command_ends(
    error: BaseException,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing(args: object) -> None:
        raise error

    monkeypatch.setattr(rft.__main__, "_list", failing)
    assert main(["list"]) == status
    assert capsys.readouterr().err == message


def test_a_broken_invariant_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(args: object) -> None:
        raise AssertionError("broken")

    monkeypatch.setattr(rft.__main__, "_list", failing)
    with pytest.raises(AssertionError, match="broken"):
        main(["list"])


def test_options_may_stand_before_overrides() -> None:
    _, commands = rft.__main__._parsers()
    args = commands["train"].parse_intermixed_args(["r.yaml", "steps=1", "--resume", "seed=2"])
    assert (args.recipe, args.resume, args.overrides) == (Path("r.yaml"), True, ["steps=1", "seed=2"])
    args = commands["eval"].parse_intermixed_args(["m", "--data", "a", "--data", "b", "video.fps=1", "--task", "t"])
    assert (args.data, args.task, args.overrides) == ([Path("a"), Path("b")], "t", ["video.fps=1"])


def test_list_shows_all_kinds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for name in ("temporal_grounding", "mean_box_iou", "dr_grpo", "recipes/videochat_r1_joint_7b.yaml"):
        assert f"  {name} " in out
    assert main(["list", "losses"]) == 0
    assert capsys.readouterr().out.startswith("losses\n  grpo ")
    assert all((*tasks().values(), *rewards().values(), *losses().values()))


def test_the_recipe_names_what_is_in_the_tables() -> None:
    from rft.algorithm.advantage import ADVANTAGES
    from rft.algorithm.loss import KL_ESTIMATORS, LOSSES

    fields = AlgorithmRecipe.model_fields
    assert get_args(LossType) == tuple(LOSSES)
    assert losses() == {name: first_line(loss) for name, loss in LOSSES.items()}
    assert get_args(fields["advantage"].annotation) == tuple(ADVANTAGES)
    assert get_args(fields["kl_estimator"].annotation) == tuple(KL_ESTIMATORS)


def test_list_outside_the_project_shows_the_packages_recipes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["list", "recipes"])
    assert "  recipes/quickstart.yaml " in capsys.readouterr().out
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text("# What it is for.\nmodel: m\n")
    main(["list", "recipes"])
    assert capsys.readouterr().out == "recipes\n  recipes/mine.yaml  What it is for.\n"


def test_eval_reports_all_problems(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    row = {"id": "a", "task": "tracking", "video": "v.mp4", "object": "fox", "target": {"span": [1, 2]}}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    assert main(["eval", str(tmp_path / "gone"), "--data", str(tmp_path / "rows.jsonl"), "video.fps=0"]) == 2
    assert "video.fps (command line): must be more than 0.0, got 0." in capsys.readouterr().err
    assert main(["eval", str(tmp_path / "gone"), "--data", str(tmp_path / "rows.jsonl")]) == 2
    err = capsys.readouterr().err
    assert "  model: folder " in err
    assert "rows.jsonl:1: target: has span, but tracking needs" in err
