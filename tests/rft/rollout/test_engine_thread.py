"""Which thread builds a vLLM engine and steps it, and answers that come steps later, with engines that are made up."""

import threading
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from rft.recipe import Recipe
from rft.types import Sampling

RECIPE = Recipe.model_validate({"model": "m", "tasks": {}, "data": {"train": []}, "steps": 1})


class FakeProcessor:
    banned_token_ids = ()
    eos_token_id = 1
    tokenizer = SimpleNamespace(decode=lambda token_ids, skip_special_tokens: f"text {token_ids}")

    @classmethod
    def of(cls, model: str, recipe: Recipe) -> "FakeProcessor":
        return cls()

    def engine_options(self) -> dict[str, Any]:
        return {}


class FakeEngine:
    """Steps once, and knows by which threads it was used."""

    def __init__(self) -> None:
        self.threads = [threading.get_ident()]
        self.stepped: Future[None] = Future()

    def has_unfinished_requests(self) -> bool:
        return not self.stepped.done()

    def step(self) -> list[object]:
        self.threads.append(threading.get_ident())
        self.stepped.set_result(None)
        return []


@pytest.mark.slow  # vLLM is imported
def test_one_thread_builds_and_steps_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    import rft.rollout.engine as module

    built: list[FakeEngine] = []

    class Factory:
        @staticmethod
        def from_engine_args(args: object, usage_context: object) -> FakeEngine:
            built.append(FakeEngine())
            return built[-1]

    monkeypatch.setattr(module, "PromptProcessor", FakeProcessor)
    monkeypatch.setattr(module, "LLMEngine", Factory)
    monkeypatch.setattr(module, "WeightLoader", lambda engine, receiver, model: None)
    module.Engine("m", RECIPE, use_gpu=False)
    (engine,) = built
    engine.stepped.result(timeout=60)
    assert len(engine.threads) == 2
    assert len({*engine.threads}) == 1
    assert threading.get_ident() not in engine.threads


@pytest.mark.slow  # vLLM is imported
def test_what_breaks_the_start_is_raised_to_whoever_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import rft.rollout.engine as module

    class Factory:
        @staticmethod
        def from_engine_args(args: object, usage_context: object) -> FakeEngine:
            raise ValueError("no room for the cache")

    monkeypatch.setattr(module, "PromptProcessor", FakeProcessor)
    monkeypatch.setattr(module, "LLMEngine", Factory)
    with pytest.raises(ValueError, match="no room for the cache"):
        module.Engine("m", RECIPE, use_gpu=False)


class QueuedEngine:
    """As on a GPU with asynchronous scheduling: two batches are under way, and steps come back without an answer."""

    def __init__(self) -> None:
        self.queue: list[list[str]] = [[], []]
        self.steps_with_nothing = 0

    def has_unfinished_requests(self) -> bool:
        return any(self.queue)

    def add_request(self, request_id: str, rendered: object, params: object) -> None:
        self.queue[-1].append(request_id)

    def step(self) -> list[object]:
        done, *others = self.queue
        self.queue = [*others, []]
        self.steps_with_nothing += not done
        return [answer(request_id) for request_id in done]


def answer(request_id: str) -> object:
    tokens = [int(request_id) + 5]
    one = SimpleNamespace(token_ids=tokens, logprobs=SimpleNamespace(logprobs=[-0.5]), finish_reason="stop")
    one.weight_versions = [SimpleNamespace(version="3", start=0, end=1)]
    return SimpleNamespace(request_id=request_id, prompt_token_ids=[1, 2, 3], outputs=[one])


@pytest.mark.slow  # vLLM is imported
def test_answers_that_come_steps_later_reach_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import rft.rollout.engine as module

    queued = QueuedEngine()
    monkeypatch.setattr(module, "PromptProcessor", FakeProcessor)
    monkeypatch.setattr(module, "LLMEngine", SimpleNamespace(from_engine_args=lambda args, usage_context: queued))
    monkeypatch.setattr(module, "WeightLoader", lambda engine, receiver, model: SimpleNamespace(wake=lambda: None))
    engine = module.Engine("m", RECIPE, use_gpu=False)
    for first in (0, 3):  # the second three after the engine stood still
        asked = [engine.submit(None, Sampling(1, 1.0, 1.0, 0, 4), seed) for seed in range(3)]
        texts = [completion.text for future in asked for completion in future.result(timeout=60)]
        assert texts == [f"text [{first + place + 5}]" for place in range(3)]
        assert [completion.policy_version for future in asked for completion in future.result()] == [3] * 3
    assert queued.steps_with_nothing >= 2
