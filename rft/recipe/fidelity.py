"""What the recipe line `fidelity` stands for: VideoChat-R1 as its released code trains, or with its errors corrected.

Source: arXiv:2504.06958 and its repository, whose hyperparameters are mostly the defaults of TRL 0.15.
"""

from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from rewards.types import Fidelity
from rft.recipe.model import PATCH_PIXELS, Recipe

ONLY_WHERE_GIVEN = ("tasks", "cold_start")
"""Sections that a recipe has or has not; the others are there by default."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A value that `fidelity` sets where recipe and command line leave its key out."""

    key: str
    as_published: object
    corrected: object
    why: str
    """Why the two differ; where they do not, what the value is."""

    def of(self, fidelity: Fidelity) -> object:
        return self.as_published if fidelity == "as_published" else self.corrected

    @property
    def differs(self) -> bool:
        return self.as_published != self.corrected


def _same(key: str, value: object, why: str) -> Choice:
    return Choice(key, value, value, why)


CHOICES: tuple[Choice, ...] = (
    Choice(
        "sampling.top_k", 50, 0, "the cut came from a library's default, and log-probabilities are computed without it"
    ),
    Choice(
        "algorithm.epsilon", None, 0.2, "with one update per batch the ratio is 1; the clip guards any further update"
    ),
    Choice(
        "algorithm.zero_std_groups", "keep", "drop", "equal rewards say nothing; kept, they thin out the other groups"
    ),
    Choice(
        "learner.seconds_per_grid", "one", "clip", "the time step went to sampling and was left out of the forward pass"
    ),
    Choice(
        "learner.ban_vision_tokens", False, True, "the softmax covered placeholders of pixels, which must not be drawn"
    ),
    Choice("learner.mask_padding", False, True, "the mask ended at <|im_end|> alone: after <|endoftext|> it went on"),
    Choice("parity.on_mismatch", "warn", "stop", "without the time step learner and engine do disagree"),
    Choice(
        "tasks.tracking.frames", "seven", "one_per_box", "eight boxes were asked of seven frames, told as 2 per second"
    ),
    Choice("cold_start.loss_on", "all", "completion", "the question was learned by heart too"),
    _same("sampling.num_generations", 8, "G"),
    _same("sampling.temperature", 1.0, "of the script"),
    _same("sampling.top_p", 1.0, "of the script"),
    _same("sampling.max_completion_length", 1024, "of the script"),
    _same("prompts_per_step", 8, "one on each of 8 GPUs"),
    _same("algorithm.loss_type", "grpo", "mean over each completion's tokens, then over completions"),
    _same("algorithm.advantage", "group_norm", "unbiased standard deviation of the group, plus 1e-4"),
    _same("algorithm.beta", 0.04, "of the KL term; TRL's default"),
    _same("algorithm.kl_estimator", "k3", "TRL's"),
    _same("algorithm.num_iterations", 1, "strictly on-policy"),
    _same("algorithm.num_mini_batches", 1, "strictly on-policy"),
    _same("rollout.ahead", 0, "strictly on-policy"),
    _same("algorithm.max_resamples", 0, "prompts are not replaced"),
    _same("scoring.truncated", "score", "cut completions count as they are"),
    _same("learner.learning_rate", 1e-6, "TRL's default"),
    _same("learner.lr_scheduler_type", "linear", "to 0"),
    _same("learner.min_lr_ratio", 0.0, "to 0"),
    _same("learner.warmup_steps", 0, "none"),
    _same("learner.weight_decay", 0.0, "none"),
    _same("learner.adam_beta1", 0.9, "AdamW's default"),
    _same("learner.adam_beta2", 0.999, "AdamW's default"),
    _same("learner.adam_epsilon", 1e-8, "AdamW's default"),
    _same("learner.max_grad_norm", 1.0, "the trainer's default"),
    _same("learner.freeze_vision", False, "all weights are trained"),
    _same("video.fps", 2.0, "of qwen-vl-utils"),
    _same("video.min_frames", 4, "of qwen-vl-utils"),
    _same("video.max_frames", 768, "of qwen-vl-utils"),
    _same("video.min_pixels", 16 * PATCH_PIXELS, "of a frame"),
    _same("video.max_pixels", 768 * PATCH_PIXELS, "of a frame"),
    _same("video.total_pixels", 3584 * PATCH_PIXELS, "of a clip: about 3,500 visual tokens"),
    _same("cold_start.learning_rate", 2e-5, "of the supervised baselines"),
    _same("cold_start.lr_scheduler_type", "linear", "to 0; the trainer's default"),
    _same("cold_start.rows_per_step", 8, "one on each of 8 GPUs"),
    _same("cold_start.warmup_steps", 0, "none"),
    _same("cold_start.weight_decay", 0.0, "none"),
    _same("cold_start.adam_beta2", 0.999, "AdamW's default"),
)
"""Sums of rewards, the method's averages and its lengths are no errors: they are the same in both."""


def fill(data: dict[str, Any]) -> None:
    """Write into the keys of a recipe, as read, what its `fidelity` says of those that are left out."""
    fidelity: Any = data.get("fidelity")
    if fidelity not in get_args(Fidelity):
        return
    for choice in CHOICES:
        *above, name = choice.key.split(".")
        section: Any = data
        for part in above:
            if isinstance(section, dict) and part not in section and above[0] not in ONLY_WHERE_GIVEN:
                section[part] = {}
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.setdefault(name, choice.of(fidelity))


def choice_lines(recipe: Recipe) -> tuple[str, ...]:
    """One line for each choice that differs between the two, with the value in force, and for each that was overruled.

    () where the recipe does not say `fidelity`.
    """
    if recipe.fidelity is None:
        return ()
    meant = {"as_published": "as the released rewards do", "corrected": "as they were meant"}
    lines = [f"{recipe.fidelity}: answers are read {meant[recipe.fidelity]} (docs/readings.md)"]
    for choice in CHOICES:
        used, value = _in_force(recipe, choice.key)
        overruled = used and value != choice.of(recipe.fidelity)
        if not used and choice.differs:
            lines.append(f"{choice.key}: not used here")
        elif overruled or choice.differs:
            lines.append(_line(choice, value, recipe.fidelity, overruled))
    return tuple(lines)


def _line(choice: Choice, value: object, fidelity: Fidelity, overruled: bool) -> str:
    line = f"{choice.key} {_shown(value)}"
    if overruled:
        line += f", set by hand; {fidelity}: {_shown(choice.of(fidelity))}"
    if choice.differs:
        other: Fidelity = "corrected" if fidelity == "as_published" else "as_published"
        line += f"; {other}: {_shown(choice.of(other))} ({choice.why})"
    return line


def _in_force(recipe: Recipe, key: str) -> tuple[bool, object]:
    """(whether the recipe has the key's section, its value)."""
    value: object = recipe
    for part in key.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, BaseModel):
            value = getattr(value, part)
        else:
            return False, None
    return True, value


def _shown(value: object) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
