"""What `rft check` says of a judge that the run starts itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rft.commands.check.check import check
from rft.recipe import Recipe

ASKS = """
from rewards.judge import ChatJudge, Endpoint
from rewards.types import Score, Target


def asks(completion: str, target: Target, *, judge, judge_url="", judge_model="", judge_cache=None) -> Score:
    return Score(ChatJudge(Endpoint(judge_url, judge_model)).ask("From 0 to 1?", completion, float)[0], None, "")
"""


def judged(**more: Any) -> dict[str, Any]:
    return {"caption": {"rewards": {"event_recall": {"args": {"judge": "model", **more}}}}}


def test_a_judge_that_the_run_starts_is_named_in_the_plan(
    make: Callable[..., Recipe], model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "asks.py").write_text(ASKS)
    tasks = judged()
    tasks["caption"]["rewards"]["asks.py:asks"] = {"args": {"judge": "model"}}
    recipe = make(tasks, judge={"model": str(model_folder)}, scoring={"reward_timeout_s": 100})
    checked = check(recipe, Path("r.yaml"))
    assert checked.problems == ()  # also where a reward asks for a verdict on the example answer
    assert dict(checked.plan)["judge"] == f"{model_folder}, 16 requests at a time"


@pytest.mark.parametrize(
    ("tasks", "judge", "problem"),
    [
        (judged(), None, "and give the recipe a section judge"),
        ({"caption": {}}, {}, "judge: no reward asks it. Give one the argument `judge: model`, without judge_url."),
        (judged(judge_model="m"), {}, "tasks.caption.rewards.event_recall.args.judge_model: the section judge decides"),
        (judged(), {"model": "no/such/folder"}, "judge.model: "),
        (judged(), {"engine": {"max_num_seqs": 3}}, "judge.engine.max_num_seqs: is not for a recipe to set here."),
        (judged(), {"engine": {"data_parallel_size": 2}}, "judge.engine.data_parallel_size: is not for a recipe"),
    ],
)
def test_what_is_wrong_with_a_judge(
    tasks: dict[str, Any], judge: dict[str, Any] | None, problem: str, make: Callable[..., Recipe], model_folder: Path
) -> None:
    section = None if judge is None else {"model": str(model_folder), **judge}
    assert any(problem in one for one in map(str, check(make(tasks, judge=section), Path("r.yaml")).problems))
