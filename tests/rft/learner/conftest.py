"""Fixtures over the small policy."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_policy import FakeClips, FakeProcessor, recipe, save_tiny, three_groups

from rft.learner.learner import Learner
from rft.types import TrainGroup

MakeLearner = Callable[..., Learner]


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def groups() -> tuple[TrainGroup, ...]:
    return three_groups()


@pytest.fixture
def make_learner(tiny_dir: Path) -> MakeLearner:
    def make(model_dir: Path = tiny_dir, **sections: dict[str, object]) -> Learner:
        """In float64; `sections`: recipe values, such as algorithm={"beta": 0.1}."""
        return Learner(
            model_dir, recipe(**sections), FakeProcessor(), FakeClips(), total_updates=4, dtype=torch.float64
        )

    return make
