"""Fixtures over the small policy."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_policy import END, FakeClips, FakeProcessor, recipe, sample, save_tiny

from rft.learner.learner import Learner
from rft.types import TrainSample

MakeLearner = Callable[..., Learner]


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def samples() -> tuple[TrainSample, ...]:
    """Three groups of unequal length and size."""
    return (
        sample("a", "7 8 9", (10, 11, 12, END), 1.0),
        sample("a", "7 8 9", (13, END), -1.0),
        sample("b", "14 15 16 17 18", (19, 20, 21, 22, 23, END), 0.5),
        sample("b", "14 15 16 17 18", (24,), -1.5),
        sample("b", "14 15 16 17 18", (25, 26, END), 1.0),
        sample("c", "27 28", (29, 30, 31), 2.0),
        sample("c", "27 28", (32, END), -2.0),
    )


@pytest.fixture
def make_learner(tiny_dir: Path) -> MakeLearner:
    def make(model_dir: Path = tiny_dir, **sections: dict[str, object]) -> Learner:
        """In float64; `sections`: recipe values, such as algorithm={"beta": 0.1}."""
        return Learner(
            model_dir, recipe(**sections), FakeProcessor(), FakeClips(), total_updates=4, dtype=torch.float64
        )

    return make
