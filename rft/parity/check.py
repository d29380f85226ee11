"""Compares engine and learner on a few real prompts before the first step, and reports the result."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from rft.data.dataset import Clips
from rft.data.frames import ClipError
from rft.errors import ParityError
from rft.parity.compare import ParityReport, PromptView, Views, compare
from rft.recipe import Recipe
from rft.types import Completion, Prompt, Sampling, Several, TrainGroup, Video

NUM_COMPLETIONS = 4
"""Completions sampled for each prompt."""

MAX_TOKENS = 64
"""Most tokens of each completion: enough to measure, little to wait for."""


class ParitySampler(Protocol):
    """The sampler: rft.rollout.pool.WorkerPool in a run."""

    def view_prompts(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int
    ) -> Sequence[tuple[PromptView, tuple[Completion, ...]]]:
        """(the engine's view, sampled completions) of each prompt."""
        ...


class ParityLearner(Protocol):
    def view_groups(self, groups: Sequence[TrainGroup]) -> Sequence[PromptView]:
        """The learner's view of each group's prompt, in order, from the tensors that it would train on."""
        ...


def task_and_kind(prompt: Prompt) -> tuple[str, str]:
    """Task of a prompt and kind of its media. A folder of frames has its rate in the row, a video file in the file."""
    media = prompt.media
    if isinstance(media, Several):
        return prompt.task, "several media"
    if not isinstance(media, Video):
        return prompt.task, "text alone" if media is None else "image"
    return prompt.task, "video file" if media.source_fps is None else "folder of frames"


def pick_prompts(
    prompts: Sequence[Prompt], clips: Clips, num_each: int, seed: int, on_bad: Callable[[str], None]
) -> tuple[Prompt, ...]:
    """Up to `num_each` prompts of every task and kind of media, drawn by `seed`.

    A clip that cannot be decoded is reported to `on_bad`, and another prompt is taken.
    """
    kinds: dict[tuple[str, str], list[Prompt]] = {}
    for prompt in prompts:
        kinds.setdefault(task_and_kind(prompt), []).append(prompt)
    picked: list[Prompt] = []
    for (task, kind), members in kinds.items():
        most = len(picked) + num_each
        for prompt in random.Random(f"{seed} {task} {kind}").sample(members, len(members)):
            if len(picked) == most:
                break
            try:
                clips.load(prompt.media)
            except ClipError as error:
                on_bad(f"row {prompt.prompt_id} is not compared: {error}")
            else:
                picked.append(prompt)
    return tuple(picked)


def compare_engine_and_learner(
    prompts: Sequence[Prompt], recipe: Recipe, pool: ParitySampler, learner: ParityLearner
) -> ParityReport:
    """Comparison of both views of `prompts`, and of the log-probabilities of completions that the engine samples.

    Engine and learner hold the same policy.
    """
    drawn = pool.view_prompts(prompts, sampling(recipe), recipe.seed)
    groups = [
        TrainGroup(prompt, completions, (0.0,) * len(completions))
        for prompt, (_, completions) in zip(prompts, drawn, strict=True)
    ]
    kinds: dict[tuple[str, str], list[Views]] = {}
    for prompt, (engine, _), learned in zip(prompts, drawn, learner.view_groups(groups), strict=True):
        kinds.setdefault(task_and_kind(prompt), []).append((prompt, engine, learned))
    return ParityReport(tuple(compare(*kind, views, recipe.parity) for kind, views in kinds.items()))


def sampling(recipe: Recipe) -> Sampling:
    """Sampling of the compared completions: as in training, but without top-k and top-p, which the learner ignores."""
    training = recipe.sampling.sampling()
    length = min(training.max_completion_length, MAX_TOKENS)
    return replace(training, num_generations=NUM_COMPLETIONS, top_p=1.0, top_k=0, max_completion_length=length)


def report_or_raise(report: ParityReport, recipe: Recipe, note: Callable[[str], None]) -> None:
    """Print the parity report. Raises ParityError if nothing was compared, or on a mismatch with on_mismatch "stop"."""
    if not report.rows:
        raise ParityError("engine and learner could not be compared: no clip or image can be decoded.")
    problems = report.problems()
    if not problems:
        note(report.summary())
        return
    text = "\n".join(["sampler and learner do not see or compute the same:", *(f"  {line}" for line in problems)])
    if recipe.parity.on_mismatch == "stop":
        raise ParityError(f"{text}\nNo step was run. Mend the cause; parity.on_mismatch=warn runs all the same.")
    note(f"{text}\nThe run goes on, as parity.on_mismatch says.")
