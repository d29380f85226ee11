"""Rewards on trial that ask a judge: that of a recipe is started for them, or they are refused."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from chat_server import chat_server

from rft.__main__ import main
from rft.recipe.judge import JudgeRecipe
from rft.runs.run_dir import RunDir

RECIPE = """model: m
tasks: {caption: {rewards: {event_recall: {args: {judge: model}}}}}
data: {train: []}
steps: 1
judge: {model: j}
"""
CAPTION = {"task": "caption", "completion": "<answer>A kid x.</answer>", "target": {"events": ["a child runs"]}}
ASKING = ["--args", "judge=model", "judge_retries=0"]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    run.recipe.write_text(RECIPE)
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(CAPTION | {"label": i}) + "\n" for i in (0, 1)))
    return run


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Judges that were started, in place of those on Ray; their model says yes."""
    started: list[str] = []
    with chat_server(lambda number, body: f"1: yes ({body['model']})") as chat:

        @contextmanager
        def served(judge: JudgeRecipe, cache: Path) -> Iterator[tuple[str, Path]]:
            started.append(judge.model)
            yield chat.url, tmp_path / "replies.sqlite"
            started.append("ended")

        monkeypatch.setitem(sys.modules, "rft.actors.judge", SimpleNamespace(served=served))
        yield started


@pytest.mark.parametrize("command", ["try", "agree"])
def test_the_judge_of_a_recipe_is_started(
    command: str, run: RunDir, started: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    labels = str(run.path.parent / "labels.jsonl")
    words = ["--on", labels] if command == "try" else [labels]
    assert main(["reward", command, "event_recall", *words, f"--recipe={run.recipe}", *ASKING, "--json"]) == 0
    assert started == ["j", "ended"]
    said = json.loads(capsys.readouterr().out)
    if command == "try":
        assert said["caption"]["rewards"]["event_recall"]["mean"] == 1.0
    else:
        assert (said["labels"], said["figures"]["accuracy"]["value"]) == (2, 0.5)


def test_an_address_is_asked_itself(run: RunDir, started: list[str]) -> None:
    labels = str(run.path.parent / "labels.jsonl")
    with chat_server(lambda number, body: "1: no") as chat:
        args = [*ASKING, f"judge_url={chat.url}", "judge_model=m"]
        assert main(["reward", "agree", "event_recall", labels, *args]) == 0
        assert [body["model"] for body in chat.bodies] == ["m"]
    assert started == []


def test_without_a_judge_it_is_refused(run: RunDir, started: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    labels = str(run.path.parent / "labels.jsonl")
    run.recipe.write_text(RECIPE.replace("judge: {model: j}", ""))
    for words, why in (
        (["agree", "event_recall", labels], "event_recall: judge=model, but of no recipe. Give a recipe"),
        (["try", "event_recall", "--task", "caption"], "judge=model, but of no recipe"),
        (["agree", "event_recall", labels, f"--recipe={run.recipe}"], "recipe.yaml has no section judge"),
        (["try", "event_recall", "--task=caption", "--watch"], "a judge would start again at every save"),
    ):
        assert main(["reward", *words, *ASKING]) == 2
        assert why in capsys.readouterr().err
    assert started == []
