"""The server of `rft view`: what it serves, what it refuses, and that it changes nothing."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_runs import CLIP, write_run, write_step
from page_server import served

from rewards.targets.choice import ChoiceTarget
from rewards.targets.span import SpanTarget
from rft.commands.view.comparison import recipe_diff, same_answers
from rft.commands.view.server import HOST, distinct_names, view
from rft.data.video import clip_key
from rft.errors import CheckpointError, RecipeError
from rft.evaluation.evaluate import EvalResult, judge
from rft.evaluation.predictions import read_result, write_result
from rft.runs.run_dir import RunDir
from rft.types import Prompt


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = RunDir(tmp_path_factory.mktemp("runs") / "first")
    write_run(run, 2)
    return run


@pytest.fixture(scope="module")
def address(run: RunDir) -> Iterator[str]:
    with served([run]) as address:
        yield address


def ask(address: str, path: str, method: str = "GET", host: str | None = None) -> tuple[int, bytes]:
    """(status, body) of a request whose path is sent as it stands."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    connection.putrequest(method, path, skip_host=host is not None)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    response = connection.getresponse()
    status, body = response.status, response.read()
    connection.close()
    return status, body


def answer(address: str, path: str) -> Any:
    status, body = ask(address, path)
    assert status == 200, body
    return json.loads(body)


def test_what_is_served(address: str) -> None:
    status, page = ask(address, "/")
    assert status == 200
    assert b"connect-src &#39;self&#39;" in page
    run = answer(address, "/run/0?seen=")
    assert run["run"]["step"] == 2
    assert answer(address, f"/run/0?seen={run['state']}") == {"state": run["state"]}
    groups = answer(address, "/step/0/2")
    assert [group["id"] for group in groups] == ["span2", "boxes2", "choice2"]
    assert groups[0]["clips"] == [clip_key(CLIP)]
    assert len(answer(address, f"/clip/0/{groups[0]['clips'][0]}")["images"]) == 8


@pytest.mark.parametrize(
    "path",
    [
        "/recipe.yaml",
        "/../recipe.yaml",
        "/run/1",
        "/run/-1",
        "/run/0/../../recipe.yaml",
        "/step/0/9",
        "/step/0/..%2f..%2frecipe",
        "/step/0/../../etc/passwd",
        "/clip/0/../../../etc/passwd",
        "/clip/1/0",
    ],
)
def test_nothing_else_is_served(address: str, path: str) -> None:
    status, body = ask(address, path)
    assert status == 404
    assert b"model: tiny" not in body


@pytest.mark.parametrize("key", ["..%2f..%2frecipe.yaml", "%2e%2e", "x" * 32, "..%2Fclips%2F" + "0" * 32, "%00"])
def test_a_clip_is_named_by_its_key_alone(address: str, key: str) -> None:
    status, body = ask(address, f"/clip/0/{key}")
    assert status == 404 or json.loads(body) == {"missing": "no such clip"}


def test_other_hosts_and_methods_are_refused(address: str) -> None:
    assert ask(address, "/", host="attacker.example")[0] == 400
    assert ask(address, "/", host="localhost")[0] == 200
    assert {ask(address, "/run/0", method=method)[0] for method in ("POST", "PUT", "DELETE")} == {405}


def test_the_run_folder_stays_as_it_is(run: RunDir, address: str) -> None:
    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}

    before = files()
    for path in ("/", "/run/0", "/step/0/1", f"/clip/0/{clip_key(CLIP)}", "/compare"):
        assert ask(address, path)[0] == 200
    assert files() == before


def test_a_step_that_was_added_is_news(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    write_run(run, 1)
    with served([run]) as address:
        first = answer(address, "/run/0")
        write_step(run, 2)
        second = answer(address, f"/run/0?seen={first['state']}")
    assert second["run"]["rollouts"]["steps"] == [1, 2]


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    write_run(run, 1)
    run.summary.write_text("{")
    with served([run]) as address:
        status, body = ask(address, "/run/0")
    assert status == 503
    assert "summary.json: not JSON" in json.loads(body)["problem"]


def test_no_run_and_no_port(tmp_path: Path, run: RunDir) -> None:
    with pytest.raises(CheckpointError, match="no run here"):
        view([tmp_path], 0)
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RecipeError, match=f"port {port}: .*--port"):
            view([run.path], port)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["s1/grpo", "s2/grpo"], ["s1/grpo", "s2/grpo"]),
        (["x/s1/grpo", "y/s1/grpo", "y/s1/other"], ["x/s1/grpo", "y/s1/grpo", "y/s1/other"]),
        (["one/run"], ["run"]),
    ],
)
def test_runs_of_the_same_name_are_told_apart(paths: list[str], names: list[str]) -> None:
    assert distinct_names([Path(path) for path in paths]) == names


def test_recipes_are_compared_key_by_key(tmp_path: Path) -> None:
    runs = [RunDir(tmp_path / name) for name in ("a", "b", "c")]
    for run, text in zip(runs, ("steps: 3\nvideo: {fps: 1}\n", "steps: 4\nvideo: {fps: 1}\nseed: 1\n"), strict=False):
        run.path.mkdir()
        run.recipe.write_text(text)
    assert recipe_diff(runs[:2]) == [["seed", "-", "1"], ["steps", "3", "4"]]
    assert recipe_diff(runs)[-1] == ["video.fps", "1", "1", "-"]


def write_answers(run: RunDir, answers: dict[tuple[str, str], str]) -> None:
    """`answers`: (task, id) -> completion."""
    targets = {"temporal_grounding": SpanTarget(2.0, 6.0, duration_s=8.0), "multiple_choice": ChoiceTarget("B")}
    samples = [
        judge(Prompt(name, task, "?", None, targets[task]), "greedy", 0, text, "stop", 3, 1)
        for (task, name), text in answers.items()
    ]
    write_result(run.eval_file("final"), EvalResult(tuple(samples), 0))


def test_answers_to_the_same_prompts(tmp_path: Path) -> None:
    runs = [RunDir(tmp_path / "a"), RunDir(tmp_path / "b")]
    task, other = "temporal_grounding", "multiple_choice"
    right, half, wrong = "<answer>2 to 6</answer>", "<answer>2 to 4</answer>", "<answer>7 to 8</answer>"
    same = {(other, "c"): "<answer>B</answer>"}
    write_answers(runs[0], {(task, "p"): right, (task, "q"): right, (task, "r"): right, (task, "own"): "?"} | same)
    write_answers(runs[1], {(task, "p"): right, (task, "q"): half, (task, "r"): wrong} | same)
    rows, num_shared = same_answers(runs)
    assert num_shared == 4
    # Task by task in turn, those first that the runs differ on most.
    assert [(row["id"], [answer["value"] for answer in row["answers"]]) for row in rows] == [
        ("r", [1.0, 0.0]),
        ("c", [1.0, 1.0]),
        ("q", [1.0, 0.5]),
        ("p", [1.0, 1.0]),
    ]
    assert rows[2]["answers"][1]["spans"] == ((2.0, 4.0),)
    assert rows[2]["spans"] == [(2.0, 6.0)]
    assert same_answers([runs[0], RunDir(tmp_path / "none")]) == ([], 0)


def test_rows_of_other_data_are_not_compared(tmp_path: Path) -> None:
    runs = [RunDir(tmp_path / "a"), RunDir(tmp_path / "b")]
    write_answers(runs[0], {("multiple_choice", "p"): "<answer>B</answer>", ("multiple_choice", "q"): "?"})
    target = ChoiceTarget("C")
    samples = [judge(Prompt("q", "multiple_choice", "?", None, target), "greedy", 0, "?", "stop", 3, 1)]
    samples += [s for s in read_result(runs[0].eval_file("final")).samples if s.prompt_id == "p"]
    write_result(runs[1].eval_file("final"), EvalResult(tuple(samples), 0))
    assert same_answers(runs) == ([], 0)
