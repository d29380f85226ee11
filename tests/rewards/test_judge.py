import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from chat_server import Respond, chat_server

from rewards.judge import ChatJudge, Endpoint, JudgeError
from rewards.reply_cache import ReplyCache, Usage


def judge_of(url: str, **more: Any) -> ChatJudge:
    return ChatJudge(Endpoint(url, "m", **{"retries": 2, "timeout_s": 5.0, **more}))


def after(num: int, failure: tuple[int, object] | str) -> Respond:
    """Fails so many times, then replies "7"."""
    return lambda number, _: failure if number < num else "7"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewards.judge._FIRST_WAIT_S", 0.01)


def test_a_question_in_the_words_of_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    with chat_server(after(0, "")) as chat:
        judge = judge_of(chat.url + "/", key_env="SOME_KEY", prices=(2.0, 5.0))
        answer, usage = judge.ask("how", "what", int)
    assert answer == 7
    assert chat.headers[0]["path"] == "/v1/chat/completions"
    assert chat.headers[0]["authorization"] == "Bearer secret"
    assert chat.bodies[0]["messages"] == [{"role": "system", "content": "how"}, {"role": "user", "content": "what"}]
    assert (chat.bodies[0]["model"], chat.bodies[0]["temperature"]) == ("m", 0)
    assert usage == Usage(1, 0, 0, 100, 10, pytest.approx((100 * 2 + 10 * 5) / 1e6))


def test_images_go_with_the_question_and_belong_to_its_key() -> None:
    with chat_server(lambda number, body: str(number)) as chat:
        judge = judge_of(chat.url)
        answers = [judge.ask("how", "what", int, images)[0] for images in ([b"\xff\xd8a"], [b"b"], [b"\xff\xd8a"], [])]
    assert answers == [0, 1, 0, 2]
    assert chat.bodies[0]["messages"][1]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9hh"}},
        {"type": "text", "text": "what"},
    ]
    assert chat.bodies[2]["messages"][1]["content"] == "what"


def test_without_a_key_none_is_sent_and_a_missing_one_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "of another endpoint")
    with chat_server(after(0, "")) as chat:
        judge_of(chat.url).ask("how", "what", int)
        assert "authorization" not in chat.headers[0]
        with pytest.raises(JudgeError, match="variable SOME_KEY is not set"):
            judge_of(chat.url, key_env="SOME_KEY").ask("how", "what", int)
    assert len(chat.bodies) == 1


@pytest.mark.parametrize(
    "failure",
    [
        (500, {}),
        (429, {}),
        (200, b"<html>"),
        (200, {"choices": []}),
        (200, b'{"choices": [{"message": {"content": "7"}}], "usage": {"prompt_tokens": 1e999}}'),
        (200, b"[" * 100_000),
        "soon",
    ],
)
def test_what_may_pass_is_tried_again(failure: tuple[int, object] | str) -> None:
    with chat_server(after(2, failure)) as chat:
        answer, usage = judge_of(chat.url).ask("how", "what", int)
    assert (answer, len(chat.bodies)) == (7, 3)
    assert (usage.requests, usage.failures) == (3, 2)
    # A reply that cannot be read was paid for too.
    assert usage.prompt_tokens == (300 if failure == "soon" else 100)


@pytest.mark.parametrize(
    ("failure", "requests", "message"),
    [
        ((500, {"error": "full"}), 3, r'answered 500: {"error": "full"} \(after 3 requests\)'),
        ((401, {"error": "who?"}), 1, r'answered 401: {"error": "who\?"} \(after 1 requests\)'),
        ((404, {}), 1, "answered 404.*correct judge_url"),
        ((302, {}), 1, "answered 302"),
        ((200, {"choices": [{"message": {"content": None}}]}), 3, "its content is no text"),
        ((200, b"x" * 2_000_000), 3, "more than 1000000 bytes"),
        ("soon", 3, "replied what cannot be read: invalid literal"),
    ],
)
def test_a_failure_that_stays_is_an_error(failure: Any, requests: int, message: str, tmp_path: Path) -> None:
    with chat_server(after(9, failure)) as chat:
        judge = judge_of(chat.url, cache=str(tmp_path / "c"))
        with pytest.raises(JudgeError, match=message):
            judge.ask("how", "what", int)
        assert len(chat.bodies) == requests
        assert judge.cache.usage()["m"].failures == requests
        chat.respond = after(0, "")
        assert judge.ask("how", "what", int)[0] == 7


def test_a_slow_judge_is_given_up() -> None:
    def slow(number: int, body: dict[str, Any]) -> str:
        time.sleep(0.6)
        return "7"

    with chat_server(slow) as chat, pytest.raises(JudgeError, match="timed out"):
        judge_of(chat.url, timeout_s=0.2, retries=0).ask("how", "what", int)


def test_a_judge_that_sends_byte_by_byte_is_given_up_too() -> None:
    with chat_server(after(0, "")) as chat:
        chat.drip_s = 0.02
        with pytest.raises(JudgeError, match="timed out"):
            judge_of(chat.url, timeout_s=0.2, retries=0).ask("how", "what", int)


def test_a_judge_of_this_machine_is_not_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with chat_server(after(0, "")) as chat:
        assert judge_of(chat.url).ask("how", "what", int)[0] == 7


def test_nobody_listens() -> None:
    with chat_server(after(0, "")) as chat:
        url = chat.url
    with pytest.raises(JudgeError, match=f"judge m at {url} gave no answer: .*refused.*after 3 requests.*Start it"):
        judge_of(url).ask("how", "what", int)


def test_replies_outlive_the_judge_and_are_counted(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "judge.sqlite")
    with chat_server(lambda number, body: str(number)) as chat:
        first = judge_of(chat.url, cache=path)
        assert [first.ask("how", what, int)[0] for what in ("a", "b", "a")] == [0, 1, 0]
        second = judge_of(chat.url, cache=path)
        assert second.ask("how", "b", int) == (1, Usage(cache_hits=1))
        assert second.ask("other", "b", int)[0] == 2
    assert second.cache.usage() == {"m": Usage(3, 0, 2, 300, 30, 0.0)}
    command = [sys.executable, "-m", "rewards.reply_cache", path]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout)["m"]["cache_hits"] == 2
    assert subprocess.run([*command[:-1], path + "x"], capture_output=True, check=False).returncode == 2


def test_a_cache_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, but long enough to be looked at as one " * 10)
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(JudgeError, match=f"judge_cache {path}"):
            judge_of("http://127.0.0.1/v1", cache=str(path))


def test_equal_requests_at_the_same_time_are_sent_once() -> None:
    def slow(number: int, body: dict[str, Any]) -> str:
        time.sleep(0.1)
        return "7"

    with chat_server(slow) as chat:
        judge, answers = judge_of(chat.url), []
        threads = [threading.Thread(target=lambda: answers.append(judge.ask("how", "what", int)[0])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [7] * 8
    assert len(chat.bodies) == 1


WRITES = """
import sys
from pathlib import Path
from rewards.reply_cache import ReplyCache, Usage
cache = ReplyCache(Path(sys.argv[1]))
for i in range(30):
    cache.put(f"{sys.argv[2]} {i}", "x" * i)
    cache.put("shared", sys.argv[2])
    cache.count("m", Usage(requests=1, cost=0.5))
"""


def test_processes_share_a_cache(tmp_path: Path) -> None:
    path = tmp_path / "judge.sqlite"
    processes = [subprocess.Popen([sys.executable, "-c", WRITES, str(path), str(i)]) for i in range(3)]
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    cache = ReplyCache(path)
    assert cache.usage() == {"m": Usage(requests=90, cost=45.0)}
    assert all(cache.get(f"{i} {j}") == "x" * j for i in range(3) for j in range(30))
    assert cache.get("shared") in ("0", "1", "2")
