"""Has engine and learner read a few real prompts before the first step, and tells what comes of it."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from rft.data.dataset import Clips
from rft.data.frames import ClipError
from rft.errors import ParityError
from rft.parity.compare import Agreement, Reading, compare, measured, within
from rft.recipe import Recipe
from rft.tables import TextTable
from rft.types import Completion, Media, Prompt, Sampling, TrainGroup, Video

NUM_COMPLETIONS = 4
"""Drawn for each prompt."""

MAX_TOKENS = 64
"""Of each completion: enough to measure, little to wait for."""


class ParitySampler(Protocol):
    """The sampler: rft.rollout.pool.WorkerPool in a run."""

    def read(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int
    ) -> Sequence[tuple[Reading, tuple[Completion, ...]]]:
        """What the engine made of each prompt, and the completions it drew."""
        ...


class ReadingLearner(Protocol):
    def readings(self, groups: Sequence[TrainGroup]) -> Sequence[Reading]:
        """What the learner makes of each prompt, in the order of the prompts, from the tensors it would train on."""
        ...


def kind_of(media: Media | None) -> str:
    """A folder of frames states its rate in the row, a video file in itself."""
    if not isinstance(media, Video):
        return "text alone" if media is None else "image"
    return "video file" if media.source_fps is None else "folder of frames"


def pick_prompts(
    prompts: Sequence[Prompt], clips: Clips, num_each: int, seed: int, on_bad: Callable[[str], None]
) -> tuple[Prompt, ...]:
    """Up to `num_each` prompts of every task and kind of what is shown, drawn by `seed`.

    A clip that cannot be decoded is told to `on_bad`, and another one taken.
    """
    kinds: dict[tuple[str, str], list[Prompt]] = {}
    for prompt in prompts:
        kinds.setdefault((prompt.task, kind_of(prompt.media)), []).append(prompt)
    picked: list[Prompt] = []
    for (task, kind), members in kinds.items():
        usable = _usable(random.Random(f"{seed} {task} {kind}").sample(members, len(members)), clips, on_bad)
        picked += [prompt for prompt, _ in zip(usable, range(num_each), strict=False)]
    return tuple(picked)


def _usable(prompts: Sequence[Prompt], clips: Clips, on_bad: Callable[[str], None]) -> Iterator[Prompt]:
    for prompt in prompts:
        try:
            clips.load(prompt.media)
        except ClipError as error:
            on_bad(f"row {prompt.prompt_id} is not compared: {error}")
        else:
            yield prompt


def compare_sides(
    prompts: Sequence[Prompt],
    recipe: Recipe,
    clips: Clips,
    pool: ParitySampler,
    learner: ReadingLearner,
    note: Callable[[str], None],
) -> Agreement:
    """Engine and learner over a few prompts of each task and kind of video. Both hold the same policy."""
    picked = pick_prompts(prompts, clips, recipe.parity.prompts_per_task, recipe.seed, note)
    return measure(picked, recipe, pool, learner)


def measure(prompts: Sequence[Prompt], recipe: Recipe, pool: ParitySampler, learner: ReadingLearner) -> Agreement:
    """Have both sides read `prompts`, and the learner judge what the engine draws for them."""
    drawn = pool.read(prompts, sampling(recipe), recipe.seed)
    groups = [
        TrainGroup(prompt, completions, (0.0,) * len(completions))
        for prompt, (_, completions) in zip(prompts, drawn, strict=True)
    ]
    sides = [
        (prompt, engine, learned)
        for prompt, (engine, _), learned in zip(prompts, drawn, learner.readings(groups), strict=True)
    ]
    kinds = dict.fromkeys((prompt.task, kind_of(prompt.media)) for prompt in prompts)
    return Agreement(
        tuple(
            compare(*kind, [side for side in sides if (side[0].task, kind_of(side[0].media)) == kind], recipe.parity)
            for kind in kinds
        )
    )


def sampling(recipe: Recipe) -> Sampling:
    """How the compared completions are drawn: as in training, without a cut that the learner knows nothing of."""
    asked = recipe.sampling.sampling()
    length = min(asked.max_completion_length, MAX_TOKENS)
    return replace(asked, num_generations=NUM_COMPLETIONS, top_p=1.0, top_k=0, max_completion_length=length)


def settle(agreement: Agreement, recipe: Recipe, note: Callable[[str], None]) -> None:
    """Tell the outcome. ParityError: the sides differ, and the recipe says to stop; or nothing could be compared."""
    if not agreement.parts:
        raise ParityError("engine and learner could not be compared: no clip or image can be decoded.")
    problems = agreement.problems()
    if not problems:
        note(agreement.summary())
        return
    text = "\n".join(["sampler and learner do not see or compute the same:", *(f"  {line}" for line in problems)])
    if recipe.parity.on_mismatch == "stop":
        raise ParityError(f"{text}\nNo step was run. Mend the cause; parity.on_mismatch=warn runs all the same.")
    note(f"{text}\nThe run goes on, as parity.on_mismatch says.")


def table(agreement: Agreement) -> TextTable:
    """One line per task and kind of what is shown."""
    columns = ("task", "shown", "prompts", "tokens", "mean exp|dlogp|", "KL", "outcome")
    rows = [
        (
            part.task,
            part.kind,
            str(part.num_prompts),
            f"{part.num_tokens:,}",
            f"{part.ratio:.6f}",
            f"{part.kl:.2g}",
            "differ" if part.difference else "agree",
        )
        for part in agreement.parts
    ]
    return TextTable("engine and learner", columns, tuple(rows))


def gap_alarm(metrics: Mapping[str, float], recipe: Recipe) -> str | None:
    """What to tell of a training step whose rollouts the learner finds too unlikely or too likely; None: nothing."""
    ratio, kl = metrics.get("logprob_gap_exp"), metrics.get("logprob_gap_k3")
    if ratio is None or kl is None or within(ratio, kl, recipe.parity):
        return None
    cause = "compare the two with `rft check --deep`"
    if recipe.sampling.top_p < 1 or recipe.sampling.top_k:
        cause = "sampling.top_p and top_k cut what the learner does not"
    elif recipe.rollout.ahead:
        cause = "rollout.ahead draws them from the policy of a step before"
    gap = measured(ratio, kl, recipe.parity)
    return f"engine and learner give the rollouts different log-probabilities: {gap}; {cause}"
