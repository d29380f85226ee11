"""The recipe of a run: the pydantic model here, the YAML reader in `load`. Runs without torch."""

from rft.recipe.algorithm import AlgorithmRecipe, GroundTruthRecipe
from rft.recipe.model import (
    ColdStartRecipe,
    DataRecipe,
    EvalRecipe,
    LearnerRecipe,
    LengthBonusRecipe,
    LoraRecipe,
    OrderBonusRecipe,
    ParityRecipe,
    Recipe,
    RewardRecipe,
    RolloutRecipe,
    SamplingRecipe,
    ScoringRecipe,
    SecondLookRecipe,
    TaskRecipe,
    VideoRecipe,
)

__all__ = [
    "AlgorithmRecipe",
    "ColdStartRecipe",
    "DataRecipe",
    "EvalRecipe",
    "GroundTruthRecipe",
    "LearnerRecipe",
    "LengthBonusRecipe",
    "LoraRecipe",
    "OrderBonusRecipe",
    "ParityRecipe",
    "Recipe",
    "RewardRecipe",
    "RolloutRecipe",
    "SamplingRecipe",
    "ScoringRecipe",
    "SecondLookRecipe",
    "TaskRecipe",
    "VideoRecipe",
]
