"""When a run saves: every so many steps, after so many seconds, and at its end."""

import io
from pathlib import Path

import pytest

from rewards.targets.choice import ChoiceTarget
from rft.data.dataset import PromptOrder
from rft.recipe import Recipe
from rft.rollout_batches import RolloutBatch
from rft.runs.recorder import RunRecorder
from rft.runs.run_dir import RunDir, step_of
from rft.runs.views import PlainView
from rft.train import StepResult
from rft.types import Prompt


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
    assert [step_of(path) for path in run.complete_checkpoints()] == saved
