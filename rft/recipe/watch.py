"""Names of what watches a run, for the recipe."""

from typing import Literal

AlarmName = Literal[
    "reward_without_gain",
    "one_answer",
    "below_baseline",
    "zero_std_groups",
    "entropy_collapse",
    "length_drift",
    "truncation",
    "kl_growth",
    "mismatch",
    "one_reward",
    "grad_norm_spikes",
    "format_saturated",
    "looks_away",
]
"""The names of RULES in rft/runs/alarms.py."""

ViewName = Literal["blank", "shuffled", "reversed", "mirrored", "swapped"]
"""Other ways to see the clips of held-out rows."""

TrackerName = Literal["tensorboard", "trackio", "wandb", "mlflow", "swanlab"]
"""The modules of rft/runs/trackers/ that open a tracker."""
