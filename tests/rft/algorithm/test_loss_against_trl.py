"""The losses of trl.GRPOTrainer, computed by its own code on the same log-probabilities."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_loss import random_inputs

from rft.algorithm.loss import LOSSES, LossInputs, mismatch_weights

pytestmark = pytest.mark.slow  # importing trl takes seconds


def trl_loss(given: LossInputs, loss_type: str, level: str, epsilon_high: float) -> torch.Tensor:
    from collections import defaultdict

    from trl import GRPOTrainer

    settings = given.algorithm
    trainer: Any = object.__new__(GRPOTrainer)
    trainer.args = SimpleNamespace(
        use_bias_correction_kl=False,
        delta=settings.delta,
        sapo_temperature_pos=settings.sapo_temperature_pos,
        sapo_temperature_neg=settings.sapo_temperature_neg,
        steps_per_generation=1,
    )
    trainer.aux_loss_enabled = trainer._entropy_bonus_enabled = False
    trainer.top_entropy_quantile = 1.0
    trainer.off_policy_mask_threshold = None
    trainer.importance_sampling_level = level
    trainer.loss_type = loss_type
    trainer.beta = settings.beta
    trainer.epsilon_low = torch.inf if settings.epsilon is None else settings.epsilon
    trainer.epsilon_high = epsilon_high
    trainer.max_completion_length = given.max_completion_length
    trainer.use_vllm = given.correction != "none"
    trainer.vllm_importance_sampling_correction = True
    trainer.current_gradient_accumulation_steps = 1
    trainer.model = SimpleNamespace(training=True)
    trainer.accelerator = SimpleNamespace(
        num_processes=1, gather=lambda values: values, reduce=lambda values, reduction: values
    )
    trainer._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    logprobs = given.policy_logprobs
    trainer._get_per_token_logps_and_entropies = lambda *args, **kwargs: (logprobs, torch.zeros_like(logprobs), None)
    tokens = torch.zeros(logprobs.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": tokens[:, :1],
        "prompt_mask": tokens[:, :1] + 1,
        "completion_ids": tokens,
        "completion_mask": given.mask.double(),
        "advantages": given.advantages,
        "old_per_token_logps": given.old_logprobs,
        "ref_per_token_logps": given.reference_logprobs,
        "num_items_in_batch": given.mask.sum(),
    }
    if given.correction != "none":
        inputs["importance_sampling_ratio"] = mismatch_weights(given)
    return trainer._compute_loss(None, inputs)


@pytest.mark.parametrize("correction", ["none", "token_truncate", "sequence_mask"])
@pytest.mark.parametrize(
    ("name", "loss_type", "level", "settings"),
    [
        ("grpo", "grpo", "token", {}),
        ("grpo", "grpo", "token", {"epsilon": None, "beta": 0.0}),
        ("grpo", "grpo", "token", {"epsilon_high": 0.28, "delta": 1.4}),
        ("bnpo", "bnpo", "token", {}),
        ("dapo", "dapo", "token", {"epsilon_high": 0.28}),
        ("dr_grpo", "dr_grpo", "token", {}),
        ("gspo", "grpo", "sequence", {"epsilon": 3e-2, "epsilon_high": 4e-2}),
        ("cispo", "cispo", "token", {"epsilon_high": 0.1}),
        ("sapo", "sapo", "token", {"sapo_temperature_neg": 1.3}),
    ],
)
def test_loss_and_gradient_are_trls(
    name: str, loss_type: str, level: str, settings: dict[str, Any], correction: str
) -> None:
    ours = random_inputs(3, settings, correction)
    # TRL states cispo's bound itself, not its distance from 1.
    bound = ours.bounds[1]
    epsilon_high = bound if loss_type == "cispo" else bound - 1
    output = LOSSES[name](ours)
    (output.loss_sum / output.weight).backward()
    theirs = random_inputs(3, settings, correction)
    expected = trl_loss(theirs, loss_type, level, epsilon_high)
    expected.backward()
    assert (output.loss_sum / output.weight).item() == pytest.approx(expected.item(), abs=1e-6)
    assert ours.policy_logprobs.grad is not None
    assert theirs.policy_logprobs.grad is not None
    assert (ours.policy_logprobs.grad - theirs.policy_logprobs.grad).abs().max() < 1e-6
    assert theirs.policy_logprobs.grad.abs().max() > 1e-3
