"""A judge that a run starts itself: waiting for its server, servers that end, and what they cost."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import ChatServer, Respond, chat_server

from rewards.targets.caption import CaptionTarget
from rft.data.frames import Frames, write_frames
from rft.data.video import clip_key
from rft.errors import Interrupted, RewardError
from rft.recipe import Recipe
from rft.scoring.judge import Judge, asking_rewards, with_judge
from rft.types import Completion, Prompt, Video

PROMPT = Prompt("p1", "caption", "What happens?", None, CaptionTarget("", ("a child runs", "it rains")))
ANSWERS = ("A kid x.", "A kid y.")


def recipe_of(scoring: dict[str, Any] | None = None, args: dict[str, Any] | None = None, **judge: Any) -> Recipe:
    args = {"judge": "model", "judge_retries": 0, "judge_timeout_s": 5, **(args or {})}
    return Recipe.model_validate(
        {
            "model": "m",
            "tasks": {"caption": {"rewards": {"event_recall": {"args": args}, "think_format": 0.5}}},
            "data": {"train": []},
            "steps": 1,
            "scoring": {"reward_timeout_s": 30, **(scoring or {})},
            "judge": {"model": "j", **judge},
        }
    )


def completion(text: str) -> Completion:
    return Completion(f"<answer>{text}</answer>", (1,), (-0.5,), 3, "stop", 0)


class LocalServer:
    """A chat endpoint in this process."""

    def __init__(self, chat: ChatServer) -> None:
        self.chat, self.ended, self.is_closed = chat, None, False

    def address(self) -> str | None:
        return self.chat.url.removesuffix("/v1")

    def problem(self) -> str | None:
        return self.ended

    def close(self) -> None:
        self.is_closed = True


class Servers:
    """Started one after the other; the responses of each are given."""

    def __init__(self, *responds: Callable[[LocalServer], Respond]) -> None:
        self.responds, self.started, self.open = list(responds), [], ExitStack()

    def start(self) -> LocalServer:
        respond = self.responds[len(self.started)]
        server = LocalServer(self.open.enter_context(chat_server(lambda number, body: respond(server)(number, body))))
        self.started.append(server)
        return server


def says(reply: str) -> Callable[[LocalServer], Respond]:
    return lambda server: lambda number, body: reply


def dies(server: LocalServer) -> Respond:
    """Its engine fails at the first request."""

    def respond(number: int, body: dict[str, Any]) -> tuple[int, object]:
        server.ended = "vLLM's engine failed"
        return 500, {}

    return respond


def never_up(server: LocalServer) -> Respond:
    raise AssertionError("asked")


@pytest.fixture
def judge_of(tmp_path: Path) -> Iterator[Callable[..., Judge]]:
    with ExitStack() as closed:

        def judge(recipe: Recipe, servers: Servers, **more: Any) -> Judge:
            assert recipe.judge is not None
            (tmp_path / "log").write_text("\n".join(f"line {i}" for i in range(40)))
            closed.enter_context(servers.open)
            cache = tmp_path / "judge.sqlite"
            return closed.enter_context(closing(Judge(recipe.judge, servers.start, cache, tmp_path / "log", **more)))

        yield judge


def test_a_judged_group_and_what_it_cost(judge_of: Callable[..., Judge]) -> None:
    recipe, servers = recipe_of(), Servers(says("1: yes\n2: no"))
    judge = judge_of(recipe, servers)
    group = judge.score(PROMPT, [completion(answer) for answer in ANSWERS], recipe)
    assert [rollout.scores["event_recall"].value for rollout in group.rollouts] == [0.5, 0.5]
    assert {body["model"] for body in servers.started[0].chat.bodies} == {"j"}
    counters = judge.counters()
    seconds = counters.pop("judge/seconds")
    assert counters == {
        "judge/restarts": 0,
        "judge/requests": 2,
        "judge/failures": 0,
        "judge/cache_hits": 0,
        "judge/prompt_tokens": 200,
        "judge/completion_tokens": 20,
        "judge/cost": 0,
    }
    assert seconds > 0
    judge.score(PROMPT, [completion(ANSWERS[0])], recipe)
    again = judge.counters()
    assert (again["judge/requests"], again["judge/cache_hits"]) == (0, 1)


@pytest.mark.parametrize("on_error", ["stop", "drop"])
def test_a_server_that_ends_is_started_again_and_the_group_judged_again(
    on_error: str, judge_of: Callable[..., Judge]
) -> None:
    recipe, servers, notes = recipe_of({"on_reward_error": on_error}), Servers(dies, says("1: yes\n2: yes")), []
    judge = judge_of(recipe, servers, note=notes.append)
    group = judge.score(PROMPT, [completion(ANSWERS[0])], recipe)
    assert group.rollouts[0].scores["event_recall"].value == 1.0
    assert group.rollouts[0].problem == ""
    assert [server.is_closed for server in servers.started] == [True, False]
    assert notes == ["the judge j is started again: it ended: vLLM's engine failed"]
    assert (judge.counters()["judge/restarts"], judge.counters()["judge/restarts"]) == (1, 0)


@pytest.mark.parametrize("on_error", ["stop", "drop"])
def test_one_that_always_ends_is_an_error_with_its_last_lines(on_error: str, judge_of: Callable[..., Judge]) -> None:
    recipe = recipe_of({"on_reward_error": on_error}, max_restarts=1)
    servers = Servers(dies, dies)
    with pytest.raises(RewardError, match=r"the judge j ended: vLLM's engine failed.*started again 1 times") as error:
        judge_of(recipe, servers).score(PROMPT, [completion(ANSWERS[0])], recipe)
    assert "line 28\n  line 29" in str(error.value)
    assert "line 27" not in str(error.value)
    assert all(server.is_closed for server in servers.started)


def test_one_that_cannot_start_is_not_started_again(judge_of: Callable[..., Judge]) -> None:
    recipe, servers = recipe_of(), Servers(never_up)
    judge = judge_of(recipe, servers)
    servers.started[0].ended = "OSError: no such model"
    with pytest.raises(RewardError, match="ended before it answered: OSError: no such model"):
        judge.url()
    assert len(servers.started) == 1


def test_the_wait_for_it_is_bounded_and_heeds_a_stop(judge_of: Callable[..., Judge]) -> None:
    recipe = recipe_of(start_timeout_s=0.3)
    with pytest.raises(Interrupted):
        judge_of(recipe, Servers(never_up), should_stop=lambda: True).url()
    servers = Servers(never_up)
    judge = judge_of(recipe, servers)
    servers.started[0].chat.url = "http://127.0.0.1:1/v1"
    with pytest.raises(RewardError, match=r"has not answered 0\.3 s after its start"):
        judge.url()


def test_a_reply_that_cannot_be_read_is_the_rewards_error(judge_of: Callable[..., Judge]) -> None:
    servers = Servers(says("maybe"))
    recipe = recipe_of()
    with pytest.raises(RewardError, match="replied what cannot be read"):
        judge_of(recipe, servers).score(PROMPT, [completion(ANSWERS[0])], recipe)
    assert len(servers.started) == 1


def test_a_file_that_cannot_keep_replies_is_an_error(judge_of: Callable[..., Judge], tmp_path: Path) -> None:
    (tmp_path / "judge.sqlite").write_text("no database, but long enough to be looked at as one " * 10)
    with pytest.raises(RewardError, match=r"judge\.sqlite cannot keep the judge's replies"):
        judge_of(recipe_of(), Servers(never_up))


def test_it_is_shown_frames_of_the_clip(judge_of: Callable[..., Judge], tmp_path: Path, model_folder: Path) -> None:
    servers, recipe = Servers(says("1: yes\n2: no")), recipe_of(args={"judge_frames": 2})
    shown = {"model": str(model_folder), "video": recipe.video.model_copy(update={"cache_dir": tmp_path})}
    video = Video(tmp_path / "clip.mp4", recipe.video.sampling(), content="fingerprint")
    key = clip_key(video)
    pixels = np.zeros((4, 28, 28, 3), np.uint8)
    write_frames(Frames(pixels, (0.0, 0.5, 1.0, 1.5), (0, 1, 2, 3), 2.0, 4, 2.0, key), tmp_path / f"{key}.clip")
    judge = judge_of(recipe, servers)
    prompt = replace(PROMPT, media=video)
    group = judge.score(prompt, [completion(ANSWERS[0])], recipe.model_copy(update=shown))
    assert group.rollouts[0].scores["event_recall"].value == 0.5
    (body,) = servers.started[0].chat.bodies
    content = body["messages"][1]["content"]
    assert [part["type"] for part in content] == ["image_url", "image_url", "text"]
    assert content[0]["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")


def test_only_rewards_without_an_address_ask_it() -> None:
    rewards = {
        "event_recall": {"args": {"judge": "model"}},
        "a.py:own": {"args": {"judge": "model", "judge_url": "http://x/v1", "judge_model": "other"}},
        "think_format": 1.0,
    }
    recipe = recipe_of().model_copy(
        update={
            "tasks": Recipe.model_validate(
                {"model": "m", "tasks": {"caption": {"rewards": rewards}}, "data": {"train": []}, "steps": 1}
            ).tasks
        }
    )
    assert [name for _, name, _ in asking_rewards(recipe)] == ["event_recall"]
    asking = with_judge(recipe, "http://127.0.0.1:5/v1", Path("c")).tasks["caption"].rewards or {}
    assert json.dumps(asking["event_recall"].args) == json.dumps(
        {"judge": "model", "judge_url": "http://127.0.0.1:5/v1", "judge_model": "j", "judge_cache": "c"}
    )
    assert asking["a.py:own"].args["judge_model"] == "other"
    assert asking["think_format"] == (recipe.tasks["caption"].rewards or {})["think_format"]
