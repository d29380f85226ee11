"""The `algorithm` section of a recipe: advantages, loss, KL term."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, TypeAdapter

from rft.own_code import is_own
from rft.recipe.section import Section


class GroundTruthRecipe(Section):
    advantage: Literal["anchored", "scaled_reward"] = "anchored"
    """Anchored: the ground truth gets `factor` times the best advantage of the group and does not enter the group's
    mean and deviation. Scaled reward: it is a member like the others, with `factor` times its own reward."""
    factor: float | None = Field(None, gt=0)
    """Multiplier, see `advantage`; default: 1.2 for anchored, 0.8 for scaled_reward."""


LossType = Literal["grpo", "bnpo", "dapo", "dr_grpo", "gspo", "cispo", "sapo"]
"""The names of LOSSES in rft/algorithm/loss.py, which needs torch."""


def _known_loss(value: object) -> object:
    return value if is_own(value) else TypeAdapter(LossType).validate_python(value)


class AlgorithmRecipe(Section):
    loss_type: Annotated[str, BeforeValidator(_known_loss)] = "grpo"
    """A name of LOSSES (`rft list losses`), or FILE.py:FUNCTION for a loss in a file of your own."""
    advantage: Literal["group_norm", "mean_only", "rloo", "per_task_running_std"] = "group_norm"
    """How rewards of a group become advantages (rft/algorithm/advantage.py)."""
    epsilon: float | None = Field(0.2, ge=0)
    """Clip range of the probability ratio below 1, and above 1 if epsilon_high is not set; null: no clipping."""
    epsilon_high: float | None = Field(None, ge=0)
    """Clip range above 1; default: epsilon. Larger: clip-higher."""
    delta: float | None = Field(None, gt=1)
    """Upper bound of the ratio for negative advantages (two-sided clip); null: none."""
    sapo_temperature_pos: float = Field(1.0, gt=0)
    """Sharpness of sapo's gate where advantages are positive."""
    sapo_temperature_neg: float = Field(1.05, gt=0)
    """Sharpness of sapo's gate where advantages are negative."""
    beta: float = Field(0.0, ge=0)
    """Weight of the KL term to the frozen reference; 0: no reference is loaded."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """Estimator of the KL term (rft/algorithm/loss.py)."""
    importance_sampling: (
        Literal["none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"] | None
    ) = None
    """Weight of a token or completion: its probability in the learner over that in the engine. Above the cap it is
    truncated to the cap, or masked (weight 0); default: token_truncate with rollout.ahead, else none."""
    importance_sampling_cap: float = Field(2.0, gt=0)
    """Largest importance weight."""
    num_iterations: int = Field(1, ge=1)
    """Passes of the learner over a step's rollouts."""
    num_mini_batches: int = Field(1, ge=1)
    """Optimizer updates per pass. The groups of a step are split evenly over them; probability ratios are to the
    policy before the first update."""
    zero_std_groups: Literal["drop", "keep"] = "drop"
    """Groups whose rewards are all equal (zero standard deviation): left out of the update, or kept with advantage 0,
    so that the KL term still acts on them and means count them."""
    max_resamples: int = Field(0, ge=0)
    """Most extra prompts per step that are sampled to replace zero-std groups; 0: such groups are only left out."""

    ground_truth: GroundTruthRecipe | None = None
    """TempSamp-R1: the target, written as a completion, joins each group; null: off."""

    @property
    def updates_per_step(self) -> int:
        """Optimizer updates of a step that has enough groups."""
        return self.num_iterations * self.num_mini_batches

    def correction(self, ahead: int) -> str:
        """The importance sampling in effect, with the default filled in. `ahead`: rollout.ahead."""
        return self.importance_sampling or ("token_truncate" if ahead else "none")
