"""When a vLLM engine that sleeps keeps its weights, with an engine that is made up."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rft.weights.ref import Probe, StoredWeights, WeightsRef

pytestmark = pytest.mark.slow  # vLLM is imported

NEW = StoredWeights({"weight": torch.ones(2)})


class FakeEngine:
    """Notes what it is told, and has weights as far as it was not told to drop them."""

    vllm_config = SimpleNamespace(use_v2_model_runner=True)

    def __init__(self) -> None:
        self.told: list[str] = []
        self.level = 0
        self.has_weights = True

    def is_sleeping(self) -> bool:
        return self.level > 0

    def sleep(self, level: int) -> None:
        self.level = level
        self.has_weights = self.has_weights and level == 1

    def wake_up(self, tags: list[str] | None = None) -> None:
        self.told.append(f"wake {tags}")
        if tags != ["weights"]:
            self.level = 0

    def collective_rpc(self, method: str | Callable[..., Any], kwargs: dict[str, Any] | None = None) -> None:
        if method == "reload_weights":
            self.told.append("weights" if "weights_iterator" in (kwargs or {}) else "folder")
            self.has_weights = True

    def reset_prefix_cache(self, reset_running_requests: bool) -> bool:
        assert reset_running_requests
        self.told.append("caches")
        return True

    def set_weight_version(self, version: str) -> None:
        self.told.append(f"version {version}")

    def reset_mm_cache(self) -> None: ...

    def reset_encoder_cache(self) -> None: ...


def loaded(monkeypatch: pytest.MonkeyPatch, model: str | None) -> tuple[Any, FakeEngine]:
    """A loader that has loaded weights of which those of the folder `model` stay; and its engine."""
    from rft.weights import loader

    monkeypatch.setattr(loader, "prompt_logprobs", lambda engine, token_ids, finish: (-1.0,))
    engine = FakeEngine()
    found = loader.WeightLoader(engine, None, "folder")
    found.sleep()
    assert engine.level == 1, "before the first load nobody else has the engine's weights"
    assert found.load(WeightsRef(0, NEW, Probe((1, 2), (-1.0,)), model=model), print) == 0.0
    engine.told.clear()
    return found, engine


def test_weights_that_are_all_replaced_are_dropped_and_come_back_from_the_learner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loader, engine = loaded(monkeypatch, model=None)
    loader.wake()
    assert engine.told == []
    loader.sleep()
    assert (engine.level, engine.has_weights) == (2, False)
    loader.wake()
    # The caches stay: prompts that have been rendered meanwhile count on what they name there.
    assert engine.told == ["wake ['weights']", "weights", "wake ['kv_cache']"]
    assert (engine.level, engine.has_weights) == (0, True)


def test_weights_that_partly_stay_are_kept_while_the_engine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    loader, engine = loaded(monkeypatch, model="folder")
    loader.sleep()
    assert (engine.level, engine.has_weights) == (1, True)
    loader.wake()
    assert engine.told == ["wake None"]


def test_requests_that_go_on_get_their_media_back() -> None:
    """vLLM's worker has none of a prompt that it found computed."""
    from rft.weights.loader import take_media

    stripped, new = SimpleNamespace(mm_features=[]), SimpleNamespace(mm_features=["its clip"])
    take_media(
        SimpleNamespace(model_runner=SimpleNamespace(requests={"a": stripped, "b": new})),
        {"a": ["a clip"], "waiting": ["another"]},
    )
    assert (stripped.mm_features, new.mm_features) == (["a clip"], ["its clip"])
