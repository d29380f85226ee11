"""The supervised stage before GRPO: demonstrations in, a new policy out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rft.learner.batch import prompt_positions, visual_input
from rft.learner.learner import DTYPES
from rft.learner.optimizer import apply_gradients, build_optimizer
from rft.learner.packing import PackedBatch, PackedGroup, pack_row, split_groups
from rft.learner.policy_and_reference import Loading, Policies
from rft.learner.schedule import cold_start_rate
from rft.learner.sharding import gather_from_ranks, num_ranks, sum_over_ranks, this_rank
from rft.learner.weights import save_policy, trainable
from rft.recipe import ColdStartRecipe, Recipe
from rft.types import Demonstration

if TYPE_CHECKING:
    from rft.data.processor import PromptProcessor
    from rft.data.video import ClipCache

MAX_GRAD_NORM = 1.0
"""Largest norm of the gradient; a larger one is scaled down to it."""


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """A demonstration of L + 1 tokens."""

    packed: PackedGroup
    learned: Tensor
    """bool [L], of its labels: those that count in the loss."""


@dataclass(frozen=True, slots=True)
class SupervisedBatch:
    """What one forward pass works on."""

    packed: PackedBatch
    """Its labels are the learned tokens alone."""
    is_filler: bool
    """Run for the sake of the other ranks only; counts for nothing."""


class SupervisedLearner:
    """Supervised updates of a model. With several ranks, every method is called on each with equal arguments.

    All that recipe.learner says of memory, precision, ranks and of which weights are trained holds here too; learning
    rate and AdamW are the stage's own. Adapters (learner.lora) are merged into the policy that is saved.
    """

    def __init__(
        self,
        model_dir: str | Path,
        recipe: Recipe,
        cold: ColdStartRecipe,
        processor: "PromptProcessor",
        clips: "ClipCache",
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        features_dir: Path | None = None,
    ) -> None:
        """`dtype`: in place of the recipe's. `features_dir`: as of `Learner`.

        Raises DataError where `model_dir` holds no usable model.
        """
        self._cold, self._processor, self._clips = cold, processor, clips
        self._recipe = supervised_recipe(recipe, cold)
        self._device, self._dtype = torch.device(device), dtype or DTYPES[recipe.learner.dtype]
        loading = Loading(self._device, self._dtype, packed=True, features_dir=features_dir)
        self._policies = Policies(model_dir, self._recipe, (), loading)
        self._parameters = list(trainable(self._policies.model).values())
        self._optimizer = build_optimizer(self._parameters, self._recipe.learner)
        self._num_updates = 0

    def update(self, rows: Sequence[Demonstration]) -> dict[str, float]:
        """One update on `rows`, at least one; its loss is minus the mean log-probability of their learned tokens.

        An update whose gradient is not finite changes nothing and counts as skipped.
        """
        sums = {"loss": 0.0, "num_tokens": 0.0}
        for batch in self._batches(rows):
            packed = batch.packed.to(self._device)
            logprobs = self._policies.policy(packed).logprobs
            loss = (logprobs * 0).sum() if batch.is_filler else -logprobs.sum()
            loss.backward()
            if not batch.is_filler:
                sums["loss"] += float(loss.detach())
                sums["num_tokens"] += len(logprobs)
        sums = sum_over_ranks(sums, self._device)
        rate = cold_start_rate(self._cold, self._num_updates)
        grad_norm = apply_gradients(self._parameters, self._optimizer, sums["num_tokens"], MAX_GRAD_NORM, rate)
        self._num_updates += 1
        return {
            "loss": sums["loss"] / sums["num_tokens"],
            "grad_norm": grad_norm,
            "learning_rate": rate,
            "skipped_updates": float(not math.isfinite(grad_norm)),
        }

    def save(self, directory: Path) -> None:
        """Write a Hugging Face folder with the processor."""
        save_policy(self._policies.model, directory, self._dtype)
        if this_rank() == 0:
            self._processor.save(directory)

    def _batches(self, rows: Sequence[Demonstration]) -> list[SupervisedBatch]:
        """This rank's forwards, as many as any other rank has.

        Rows are dealt in turn: a rank encodes its own alone, whose lengths nobody else knows.
        """
        own = [self._encode(row) for row in rows[this_rank() :: num_ranks()]]
        filler = min(own or [self._encode(rows[0])], key=lambda row: len(row.packed))
        lengths = [len(row.packed) for row in own]
        padded = not self._policies.is_packed
        plan = split_groups(lengths, 1, self._recipe.learner.max_tokens_per_forward, padded=padded)[0] if own else ()
        forwards = [[own[place] for place in places] for places in plan]
        shown = gather_from_ranks(([_shows(chosen) for chosen in forwards], _shows([filler])))
        batches = []
        for number in range(max(len(shows) for shows, _ in shown)):
            chosen = forwards[number] if number < len(forwards) else [filler]
            tower_runs = any(shows[number] if number < len(shows) else else_ for shows, else_ in shown)
            packed = self._pack(chosen, tower_runs=tower_runs)
            batches.append(SupervisedBatch(packed, is_filler=number >= len(forwards)))
        return batches

    def _pack(self, rows: Sequence[EncodedRow], *, tower_runs: bool) -> PackedBatch:
        groups = [row.packed for row in rows]
        packed = self._policies.batch(groups, self._processor.eos_token_id, tower_runs=tower_runs)
        learned = torch.cat([row.learned for row in rows])
        return replace(packed, scored=packed.scored[learned], labels=packed.labels[learned])

    def _encode(self, row: Demonstration) -> EncodedRow:
        frames = self._clips.load(row.prompt.media)
        inputs = self._processor.encode(row.prompt, frames)
        positions = prompt_positions(self._policies.model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
        completion = self._processor.completion_ids(row.completion)
        packed = pack_row(inputs.token_ids, positions, completion, visual_input(inputs, frames))
        if self._cold.loss_on == "all":
            return EncodedRow(packed, ~torch.isin(packed.labels, torch.tensor(self._processor.banned_token_ids)))
        return EncodedRow(packed, torch.arange(len(packed)) >= len(packed) - len(completion))


def supervised_recipe(recipe: Recipe, cold: ColdStartRecipe) -> Recipe:
    """The recipe with the stage's optimizer, for a policy alone under its bare logits."""
    optimizer = {
        "learning_rate": cold.learning_rate,
        "weight_decay": cold.weight_decay,
        "adam_beta1": 0.9,
        "adam_beta2": cold.adam_beta2,
        "adam_epsilon": 1e-8,
    }
    changed = {
        "learner": recipe.learner.model_copy(update=optimizer),
        "sampling": recipe.sampling.model_copy(update={"temperature": 1.0}),
        "algorithm": recipe.algorithm.model_copy(update={"beta": 0.0}),
    }
    return recipe.model_copy(update=changed)


def _shows(rows: Sequence[EncodedRow]) -> bool:
    return any(row.packed.visual is not None for row in rows)
