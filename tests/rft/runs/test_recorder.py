"""When a run saves: every so many steps, after so many seconds, and at its end; what trackers get."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from rewards.targets.choice import ChoiceTarget
from rft.data.dataset import PromptOrder
from rft.errors import CheckpointError
from rft.recipe import Recipe
from rft.rollout_batches import RolloutBatch
from rft.runs.checkpoint import TrainState, load_state
from rft.runs.recorder import RunRecorder
from rft.runs.run_dir import RunDir, step_of
from rft.runs.trackers.tracker import Stage
from rft.runs.views import PlainView
from rft.train import StepResult
from rft.types import Group, Prompt


class Learner:
    policy_version = 0

    def save(self, directory: Path) -> None:
        (directory / "policy").write_text("weights")


@pytest.mark.parametrize(
    ("keys", "seconds", "saved"),
    [
        ({"save_every": 3}, 100, [3, 6, 7]),
        ({"save_every_s": 250}, 100, [3, 6, 7]),
        ({"save_every": 2, "save_every_s": 100}, 60, [2, 4, 6, 7]),  # at steps 3 and 5 the last one is 60 s old
        ({"save_every": 5, "save_every_s": 100}, 60, [2, 4, 5, 7]),  # one by steps puts off the next by time
        ({"save_every_s": 1000}, 100, [7]),
    ],
)
def test_a_checkpoint_is_due_by_steps_by_time_and_at_the_end(
    keys: dict[str, float], seconds: float, saved: list[int], tmp_path: Path
) -> None:
    recipe = Recipe.model_validate(
        {"model": "policy", "tasks": {}, "data": {"train": ["rows.jsonl"]}, "steps": 7, "keep_checkpoints": 9, **keys}
    )
    run, time = RunDir(tmp_path), [0.0]
    order = PromptOrder([Prompt("a", "multiple_choice", "?", None, ChoiceTarget("A"))], 0, None, 0.0)
    view = PlainView("run", io.StringIO())
    parts = (recipe, run, view, Learner(), order, lambda rows: None, lambda: ())
    record = RunRecorder(*parts, now=lambda: time[0])
    for step in range(recipe.steps):
        time[0] += seconds
        record.step(StepResult(step, RolloutBatch((), (), 0, {}, {}), {}, (), None))
        record.after_step()
    record.wait_until_saved()
    assert [step_of(path) for path in run.complete_checkpoints()] == saved


class PipeLearner(Learner):
    """From its second save on it leaves a pipe among its files, which cannot be forced to disk: to open it waits for
    a writer, and then fails."""

    num_saves = 0

    def save(self, directory: Path) -> None:
        super().save(directory)
        self.num_saves += 1
        if self.num_saves > 1:
            os.mkfifo(directory / "pipe")


@pytest.mark.parametrize("ends", [False, True])
def test_the_next_step_runs_while_a_checkpoint_is_made_whole_and_learns_of_its_error(
    ends: bool, tmp_path: Path
) -> None:
    recipe = Recipe.model_validate(
        {"model": "policy", "tasks": {}, "data": {"train": ["rows.jsonl"]}, "steps": 9, "save_every": 1}
    )
    run, prompt = RunDir(tmp_path), Prompt("a", "multiple_choice", "?", None, ChoiceTarget("A"))
    order = PromptOrder([prompt], 0, None, 0.0)
    view = PlainView("run", io.StringIO())
    record = RunRecorder(recipe, run, view, PipeLearner(), order, lambda rows: None, lambda: ())
    for step in range(2):
        record.step(StepResult(step, RolloutBatch((), (), 0, {}, {}), {}, (), None))
        record.after_step()
    assert [step_of(path) for path in run.complete_checkpoints()] == [1]
    record.step(StepResult(2, RolloutBatch((), (), 0, {}, {}), {}, (), None))
    os.close(os.open(run.checkpoints / ".partial_step_000002" / "pipe", os.O_WRONLY))
    with pytest.raises(CheckpointError, match=r"step_000002: the checkpoint cannot be written.*step_000001"):
        record.save() if ends else record.after_step()
    assert [path.name for path in run.checkpoints.iterdir()] == ["step_000001"]


class Shown:
    """Stands for the trackers of a run."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def log_metrics(self, stage: Stage, step: int, values: Mapping[str, float]) -> None:
        self.calls.append(f"{stage} {step}: {values['reward']}")

    def cut_after(self, step: int) -> None:
        self.calls.append(f"cut after {step}")

    def log_rollouts(self, step: int, groups: Sequence[Group]) -> None:
        self.calls.append(f"{len(groups)} groups of {step}")


def test_trackers_get_every_step_and_the_rollouts_of_checkpoints(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(
        {"model": "policy", "tasks": {}, "data": {"train": ["rows.jsonl"]}, "steps": 3, "save_every": 2}
    )
    run, shown = RunDir(tmp_path), Shown()
    prompt = Prompt("a", "multiple_choice", "?", None, ChoiceTarget("A"))
    parts = (recipe, run, PlainView("run", io.StringIO()), Learner(), PromptOrder([prompt], 0, None, 0.0))

    def steps(first: int, resumed: TrainState | None) -> None:
        record = RunRecorder(*parts, lambda rows: None, lambda: (), resumed=resumed, trackers=shown)
        for step in range(first, 3):
            batch = RolloutBatch((Group(prompt, ()),), (), 0, {}, {})
            record.step(StepResult(step, batch, {"reward": 0.5 * step}, (), None))
            record.after_step()
        record.wait_until_saved()

    steps(0, None)
    steps(2, load_state(run.checkpoint(2)))
    assert shown.calls == [
        *("train 1: 0.0", "train 2: 0.5", "1 groups of 2", "train 3: 1.0", "1 groups of 3"),
        *("cut after 2", "train 3: 1.0", "1 groups of 3"),
    ]
