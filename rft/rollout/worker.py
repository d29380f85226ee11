"""What the pool asks of a worker, and what it answers."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from rft.parity.compare import PromptView
from rft.types import Completion, Prompt, Sampling
from rft.weights.ref import Address, StagedWeights, WeightsRef


class WorkerDied(Exception):
    """The process of a worker ended or hangs, or its engine failed; it has to be replaced."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A worker's completions of one prompt."""

    completions: tuple[Completion, ...]
    problem: str | None = None
    """Why there are none; the completions then only state the failure."""


@dataclass(frozen=True, slots=True)
class ViewedPrompt:
    """The engine's view of one prompt, and the completions that it sampled."""

    view: PromptView | None
    completions: tuple[Completion, ...]
    problem: str | None = None
    """Why there is no view."""


class Worker(Protocol):
    """One vLLM engine somewhere else. Futures raise WorkerDied when it is gone."""

    def ready(self) -> Future[None]: ...

    def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Future[Generated]: ...

    def view_prompt(self, prompt: Prompt, sampling: Sampling, seed: int) -> Future[ViewedPrompt]:
        """The engine's view and completions, to compare with the learner."""
        ...

    def broadcast_group(self, source: StagedWeights) -> Future[Address | None]:
        """The group that the engine is in with the learner that `source` lies with; None: in none."""
        ...

    def load_weights(self, ref: WeightsRef) -> Future[float]:
        """The probe's mean absolute log-probability gap after the load."""
        ...

    def counters(self) -> Future[dict[str, float]]:
        """Counts since the last call."""
        ...

    def abort(self) -> None:
        """Drop all requests; returns at once."""
        ...

    def sleep(self) -> Future[None]:
        """Leave the GPU to the learner until the next call."""
        ...

    def close(self) -> None: ...
