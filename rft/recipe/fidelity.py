"""Values that `fidelity` sets: those of VideoChat-R1's released code, or those with its errors corrected.

Source: arXiv:2504.06958 and its repository, whose hyperparameters are mostly the defaults of TRL 0.15.
"""

from dataclasses import dataclass
from typing import Any, get_args

from rewards.types import Fidelity
from rft.recipe import PATCH_PIXELS, Recipe

ONLY_WHERE_GIVEN = ("tasks", "cold_start")
"""Optional sections: `fidelity` sets their keys only if the recipe has the section."""


@dataclass(frozen=True, slots=True)
class PublishedSetting:
    """Value of a recipe key that `fidelity` sets if recipe and command line leave the key out."""

    key: str
    as_published: object
    corrected: object
    why: str
    """Why the two differ, or what the value is if they are equal."""

    def of(self, fidelity: Fidelity) -> object:
        return self.as_published if fidelity == "as_published" else self.corrected

    @property
    def differs(self) -> bool:
        return self.as_published != self.corrected


def _same(key: str, value: object, why: str) -> PublishedSetting:
    return PublishedSetting(key, value, value, why)


PUBLISHED_SETTINGS: tuple[PublishedSetting, ...] = (
    PublishedSetting(
        "sampling.top_k", 50, 0, "the cut came from a library's default, and log-probabilities are computed without it"
    ),
    PublishedSetting(
        "algorithm.epsilon", None, 0.2, "with one update per batch the ratio is 1; the clip guards any further update"
    ),
    PublishedSetting(
        "algorithm.zero_std_groups", "keep", "drop", "equal rewards say nothing; kept, they thin out the other groups"
    ),
    PublishedSetting(
        "learner.seconds_per_grid", "one", "clip", "the time step went to sampling and was left out of the forward pass"
    ),
    PublishedSetting(
        "learner.ban_vision_tokens", False, True, "the softmax covered placeholders of pixels, which must not be drawn"
    ),
    PublishedSetting(
        "learner.mask_padding", False, True, "the mask ended at <|im_end|> alone: after <|endoftext|> it went on"
    ),
    PublishedSetting("parity.on_mismatch", "warn", "stop", "without the time step learner and engine do disagree"),
    PublishedSetting(
        "tasks.tracking.frames",
        "seven",
        "one_per_box",
        "eight boxes were asked of seven frames, stated as 2 per second",
    ),
    PublishedSetting("cold_start.loss_on", "all", "completion", "the question was learned by heart too"),
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
    """Set the keys that a recipe leaves out to the values of its `fidelity`, in place. `data`: the parsed YAML."""
    fidelity: Any = data.get("fidelity")
    if fidelity not in get_args(Fidelity):
        return
    for setting in PUBLISHED_SETTINGS:
        *above, name = setting.key.split(".")
        section: Any = data
        for part in above:
            if isinstance(section, dict) and part not in section and above[0] not in ONLY_WHERE_GIVEN:
                section[part] = {}
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.setdefault(name, setting.of(fidelity))


def setting_lines(recipe: Recipe) -> tuple[str, ...]:
    """One line per setting that differs between the two or was set by hand, with the value in effect.

    () if the recipe has no `fidelity`.
    """
    if recipe.fidelity is None:
        return ()
    parser = {"as_published": "as the released rewards do", "corrected": "as they were meant"}
    lines = [f"{recipe.fidelity}: answers are read {parser[recipe.fidelity]} (docs/readings.md)"]
    for setting in PUBLISHED_SETTINGS:
        used, value = _value_in_effect(recipe, setting.key)
        set_by_hand = used and value != setting.of(recipe.fidelity)
        if not used and setting.differs:
            lines.append(f"{setting.key}: not used here")
        elif set_by_hand or setting.differs:
            lines.append(_setting_line(setting, value, recipe.fidelity, set_by_hand))
    return tuple(lines)


def _setting_line(setting: PublishedSetting, value: object, fidelity: Fidelity, set_by_hand: bool) -> str:
    line = f"{setting.key} {_format_value(value)}"
    if set_by_hand:
        line += f", set by hand; {fidelity}: {_format_value(setting.of(fidelity))}"
    if setting.differs:
        other: Fidelity = "corrected" if fidelity == "as_published" else "as_published"
        line += f"; {other}: {_format_value(setting.of(other))} ({setting.why})"
    return line


def _value_in_effect(recipe: Recipe, key: str) -> tuple[bool, object]:
    """(whether the recipe has the key's section, its value)."""
    value: Any = recipe.model_dump()
    for part in key.split("."):
        if not isinstance(value, dict):
            return False, None
        value = value.get(part)
    return True, value


def _format_value(value: object) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
