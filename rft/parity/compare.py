"""Compares the views that sampler and learner have of a prompt: their first difference and its likely cause.

The views come from `prompt_view.py` of rft/rollout and rft/learner, through rft/parity/check.py.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rft.recipe import ParityRecipe
from rft.tables import TextTable
from rft.types import Prompt

SECONDS_TOLERANCE = 1e-5
"""Relative tolerance of seconds, which the two sides hold in single precision."""

LARGEST_GAP = 50.0
"""Clamp of |delta logprob|, also for inf and NaN, so that exp() stays finite; far above any threshold."""

EITHER_SIDE = 24
"""Characters that are quoted on each side of the first difference of two texts."""


@dataclass(frozen=True, slots=True)
class PromptView:
    """One side's view of a prompt of P tokens, and of the completions that the engine sampled for it."""

    policy_version: int
    """Policy version of the side's weights."""
    text: str
    """Text of the tokens."""
    token_ids: tuple[int, ...]
    """[P], the visual placeholders expanded."""
    clip: str
    """Key of the frames, of several clips with + between them: names content and sampling; "": text alone."""
    grid: tuple[int, ...]
    """Frame pairs (of an image: 1), rows and columns of patches, of one clip or image after the other; (): text
    alone."""
    seconds_per_grid: tuple[float, ...]
    """Seconds between frame pairs of each clip; (): the model counts pairs, not time, or there is no clip."""
    position_ids: tuple[tuple[int, ...], ...]
    """[3][P], time, row and column of M-RoPE."""
    logprobs: tuple[tuple[float, ...], ...]
    """[completion][T], log-probabilities of the sampled tokens, without top-k or top-p."""


Views = tuple[Prompt, PromptView, PromptView]
"""(prompt, the engine's view, the learner's view)."""


@dataclass(frozen=True, slots=True)
class ParityRow:
    """Comparison of the two sides over the prompts of one task and kind of media."""

    task: str
    kind: str
    num_prompts: int
    num_tokens: int
    """Completion tokens whose log-probabilities were compared."""
    ratio: float
    """Mean of exp |difference of log-probabilities|."""
    kl: float
    """The k3 estimate of KL(engine || learner), per token, in nats."""
    difference: str | None
    """The first difference and its likely cause; None: they agree."""


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Comparison of the two sides for all tasks and kinds of media."""

    rows: tuple[ParityRow, ...]

    def problems(self) -> tuple[str, ...]:
        return tuple(f"{row.task}, {row.kind}: {row.difference}" for row in self.rows if row.difference)

    def to_json(self) -> dict[str, Any]:
        """{task: {kind: {"num_prompts", "num_tokens", "ratio", "kl", "difference"}}}."""
        tasks: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            figures = {name: value for name, value in asdict(row).items() if name not in ("task", "kind")}
            tasks.setdefault(row.task, {})[row.kind] = figures
        return tasks

    def summary(self) -> str:
        """One line for a person, where there is no problem."""
        rows = self.rows
        return (
            f"sampler and learner agree on {sum(row.num_prompts for row in rows)} prompts of {len(rows)} kinds and "
            f"{sum(row.num_tokens for row in rows):,} tokens: largest mean exp|dlogp| "
            f"{max(row.ratio for row in rows):.5f}, KL {max(row.kl for row in rows):.2g}"
        )

    def table(self) -> TextTable:
        """Table with one line per task and kind of media."""
        columns = ("task", "shown", "prompts", "tokens", "mean exp|dlogp|", "KL", "outcome")
        rows = tuple(
            (
                row.task,
                row.kind,
                str(row.num_prompts),
                f"{row.num_tokens:,}",
                f"{row.ratio:.6f}",
                f"{row.kl:.2g}",
                "differ" if row.difference else "agree",
            )
            for row in self.rows
        )
        return TextTable("engine and learner", columns, rows)


def compare(task: str, kind: str, sides: Sequence[Views], bounds: ParityRecipe) -> ParityRow:
    """Comparison over the prompts of one task and kind."""
    tokens = list(_sampled_tokens(sides))
    gaps = [max(-LARGEST_GAP, min(LARGEST_GAP, learner - engine)) for _, engine, learner in tokens]
    ratio = sum(math.exp(abs(gap)) for gap in gaps) / max(1, len(gaps))
    kl = sum(math.exp(gap) - 1 - gap for gap in gaps) / max(1, len(gaps))
    differences = ((prompt, text) for prompt, engine, learner in sides if (text := first_difference(engine, learner)))
    first = next(differences, None)
    difference = f"prompt {first[0].prompt_id}: {first[1]} Measured: {measured(ratio, kl, bounds)}." if first else None
    if difference is None and not within(ratio, kl, bounds):
        where, engine, learner = max(tokens, key=lambda token: _width(*token[1:]))
        difference = (
            f"the same inputs, other log-probabilities over {len(gaps)} tokens: {measured(ratio, kl, bounds)}. "
            f"The widest is {where}: engine {engine:.4f}, learner {learner:.4f}. Likely cause: the engine holds other "
            "weights than the learner (stale, or not all loaded), or the two compute them differently (learner.dtype, "
            "kernels, versions)."
        )
    return ParityRow(task, kind, len(sides), len(gaps), ratio, kl, difference)


def within(ratio: float, kl: float, bounds: ParityRecipe) -> bool:
    """Whether ratio and KL are within the bounds; False if they are not finite."""
    return ratio <= bounds.max_ratio and kl < bounds.max_kl


def first_difference(engine: PromptView, learner: PromptView) -> str | None:
    """First difference of the two views, and its likely cause; None: they agree.

    In an order in which each difference explains those after it: another grid also makes other tokens and positions.
    """
    if engine.grid != learner.grid:
        return _grid_difference(engine.grid, learner.grid)
    if engine.token_ids != learner.token_ids:
        return _token_difference(engine, learner)
    if not _same_seconds(engine.seconds_per_grid, learner.seconds_per_grid):
        return (
            f"seconds per grid: engine {_seconds_text(engine)}, learner {_seconds_text(learner)}. Likely cause: the "
            "learner is not told the time step (learner.seconds_per_grid), or one side takes the clip at another "
            "video.fps or source_fps."
        )
    if engine.position_ids != learner.position_ids:
        return _position_difference(engine, learner)
    if engine.clip != learner.clip:
        return (
            "frames: of the same number and size, but not the same ones. Likely cause: the video file was replaced, "
            "or the two sides choose frames differently (the task's frames, video.decoder)."
        )
    if engine.policy_version != learner.policy_version:
        return (
            f"policy version: engine {engine.policy_version}, learner {learner.policy_version}. Likely cause: stale "
            "weights, because the learner's were not loaded into the engine after its last update."
        )
    return None


def _grid_difference(engine: tuple[int, ...], learner: tuple[int, ...]) -> str:
    cause = "other pixel limits (video.min_pixels, max_pixels, total_pixels), or another model's patch size"
    if engine[::3] != learner[::3]:
        cause = "another number of frames (video.fps, min_frames, max_frames, drop_still, or the task's frames)"
    sizes = (", ".join(f"{t} x {h} x {w}" for t, h, w in _of_parts(grid)) for grid in (engine, learner))
    return (
        "video grid in frame pairs x rows x columns: engine {}, learner {}. ".format(*sizes)
        + f"Likely cause: {cause}, so that one side's prompts were not made by this recipe."
    )


def _of_parts(grid: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    return zip(grid[::3], grid[1::3], grid[2::3], strict=True)


def _token_difference(engine: PromptView, learner: PromptView) -> str:
    texts = (engine.text, learner.text)
    if texts[0] == texts[1]:
        index = _first_unequal(engine.token_ids, learner.token_ids)
        return f"token {index}: the same text in other tokens. Likely cause: two tokenizers (model, cold start folder)."
    index = _first_unequal(*texts)
    excerpts = (repr(text[max(0, index - EITHER_SIDE) : index + EITHER_SIDE]) for text in texts)
    return (
        "prompt text: engine {}, learner {}. ".format(*excerpts)
        + f"They differ from character {index}. Likely cause: two chat templates (of model and cold start folder), or "
        "another system_prompt."
    )


def _position_difference(engine: PromptView, learner: PromptView) -> str:
    sides = [list(zip(*side.position_ids, strict=True)) for side in (engine, learner)]
    index = _first_unequal(*sides)
    ours, theirs = (side[index] for side in sides)
    cause = "the two follow different M-RoPE rules (versions of vLLM and transformers)"
    if ours[1:] == theirs[1:]:
        cause = "the learner's positions leave out or change the time between frame pairs (learner.seconds_per_grid)"
    return f"position ids (time, row, column) of token {index}: engine {ours}, learner {theirs}. Likely cause: {cause}."


def _first_unequal(left: Sequence[object], right: Sequence[object]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(left), len(right)))


def _same_seconds(engine: tuple[float, ...], learner: tuple[float, ...]) -> bool:
    return len(engine) == len(learner) and all(
        math.isclose(ours, theirs, rel_tol=SECONDS_TOLERANCE) for ours, theirs in zip(engine, learner, strict=True)
    )


def _seconds_text(view: PromptView) -> str:
    return ", ".join(f"{seconds:.6g}" for seconds in view.seconds_per_grid) or "none"


def _sampled_tokens(sides: Sequence[Views]) -> Iterator[tuple[str, float, float]]:
    """(where, the engine's, the learner's log-probability) of every sampled token."""
    for prompt, engine, learner in sides:
        for number, completions in enumerate(zip(engine.logprobs, learner.logprobs, strict=True)):
            for index, pair in enumerate(zip(*completions, strict=True)):
                yield f"prompt {prompt.prompt_id}, completion {number}, token {index}", *pair


def _width(engine: float, learner: float) -> tuple[bool, float]:
    """Order of gaps: one that is no number is the widest."""
    gap = abs(learner - engine)
    return math.isnan(gap), gap


def measured(ratio: float, kl: float, bounds: ParityRecipe) -> str:
    return (
        f"mean exp|dlogp| {ratio:.5g} (parity.max_ratio {bounds.max_ratio:g}), KL {kl:.4g} "
        f"(parity.max_kl {bounds.max_kl:g})"
    )
