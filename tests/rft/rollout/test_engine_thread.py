"""Which thread builds a vLLM engine and which steps it, with an engine that is made up."""

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from rft.recipe import Recipe

RECIPE = Recipe.model_validate({"model": "m", "tasks": {}, "data": {"train": []}, "steps": 1})


class FakeProcessor:
    banned_token_ids = ()

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
