"""A supervised stage whose processes die starts anew and leaves what an undisturbed one does; hand-written ranks."""

import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rewards.targets.choice import ChoiceTarget
from rft.actors import cold_start
from rft.actors.session import Session
from rft.errors import LearnerError
from rft.files import read_lines
from rft.launch import TrainingRun
from rft.recipe import Recipe
from rft.runs.run_dir import RunDir
from rft.runs.views import PlainView
from rft.types import Demonstration, Prompt

RECIPE = Recipe.model_validate(
    {
        "model": "policy",
        "tasks": {"multiple_choice": {"rewards": {"choice_accuracy": 1.0}}},
        "data": {"train": ["rows.jsonl"]},
        "cold_start": {"data": ["rows.jsonl"], "steps": 12, "rows_per_step": 2},
        "steps": 1,
        "learner": {"max_restarts": 2},
    }
)


class Row:
    def __init__(self, name: str) -> None:
        self.name = name

    def demonstration(self, recipe: Recipe) -> Demonstration:
        return Demonstration(Prompt(self.name, "multiple_choice", "?", None, ChoiceTarget("A")), self.name)


class Ranks:
    """Their policy is all that they were shown. The call numbers in `deaths`, over all ranks there were, end them."""

    deaths: tuple[int, ...] = ()
    num_calls = 0

    def __init__(self, *parts: object) -> None:
        self.shown: list[str] = []

    def call(self, method: str, argument: Any) -> dict[str, float]:
        Ranks.num_calls += 1
        if Ranks.num_calls in Ranks.deaths:
            raise LearnerError("killed")
        if method == "save":
            argument.mkdir()
            (argument / "policy").write_text(" ".join(self.shown))
            return {}
        self.shown += [row.completion for row in argument]
        return dict.fromkeys(("loss", "grad_norm", "learning_rate", "skipped_updates"), float(len(self.shown)))

    def close(self) -> None: ...


def test_engines_that_share_gpus_have_taken_their_share_before_the_stage_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setattr(cold_start, "Ranks", lambda *parts: events.append("stage") or Ranks())
    monkeypatch.setattr(Session, "usable_rows", lambda session, *what: (Row("r"),))
    recipe = RECIPE.model_copy(update={"rollout": RECIPE.rollout.model_copy(update={"share_gpu": True})})
    with ExitStack() as closing:
        training = training_in(tmp_path, recipe, io.StringIO(), closing)
        training.cold_start(SimpleNamespace(wait_until_ready=lambda: events.append("engines")))
    assert events == ["engines", "stage"]


def training_in(path: Path, recipe: Recipe, told: io.StringIO, closing: ExitStack) -> TrainingRun:
    run = RunDir.create(path, resume=True)
    closing.callback(run.release)
    clips = SimpleNamespace(find=lambda media: None)
    return TrainingRun(
        Session(recipe, PlainView("run", told), lambda: False, clips, path / "clips", path, closing), run
    )


@pytest.fixture
def learn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs the supervised stage in a run folder; returns what a person is told."""
    monkeypatch.setattr(cold_start, "Ranks", Ranks)
    monkeypatch.setattr(Session, "usable_rows", lambda session, *what: tuple(Row(f"r{place}") for place in range(5)))

    def in_folder(path: Path, deaths: Sequence[int] = ()) -> str:
        monkeypatch.setattr(Ranks, "deaths", tuple(deaths))
        monkeypatch.setattr(Ranks, "num_calls", 0)
        told = io.StringIO()
        with ExitStack() as closing:
            training_in(path, RECIPE, told, closing).cold_start(pool=None)
        return told.getvalue()

    return in_folder


def record_of(path: Path) -> tuple[str, list[dict[str, Any]]]:
    run = RunDir(path)
    lines = [{name: value for name, value in line.items() if name != "time"} for line in read_lines(run.metrics)]
    return (run.cold_start / "policy").read_text(), lines


@pytest.mark.parametrize("deaths", [[1], [11], [13], [11, 24]])
def test_a_stage_that_dies_starts_anew(deaths: list[int], learn: Callable[..., str], tmp_path: Path) -> None:
    """At its first update, after its first report, as it saves; and once more after that."""
    learn(tmp_path / "whole")
    told = learn(tmp_path / "died", deaths)
    assert told.count("the learner is started again with the supervised stage: killed") == len(deaths)
    assert record_of(tmp_path / "died") == record_of(tmp_path / "whole")
    assert [line["step"] for line in record_of(tmp_path / "died")[1]] == [10, 12]


def test_a_stage_that_dies_too_often_ends_the_run_and_resume_goes_on(learn: Callable[..., str], tmp_path: Path) -> None:
    learn(tmp_path / "whole")
    with pytest.raises(LearnerError, match="killed"):
        learn(tmp_path / "often", [11, 22, 33])
    assert not RunDir(tmp_path / "often").cold_start.exists()
    learn(tmp_path / "often")
    assert record_of(tmp_path / "often") == record_of(tmp_path / "whole")
