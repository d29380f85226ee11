"""The learner: train groups in, a new policy out."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rft.algorithm.loss import LossInputs, k3, loss_function
from rft.clock import Clock
from rft.data.processor import MAX_CACHED_BYTES, PromptProcessor
from rft.errors import DataError, RolloutError
from rft.learner.batch import (
    MicroBatch,
    TokenGroup,
    clip_units,
    deal_completions,
    encode_group,
    micro_batch,
    split_mini_batches,
    token_groups,
    unit_length,
    visual_input,
)
from rft.learner.model import TokenLogprobs
from rft.learner.optimizer import apply_gradients, build_optimizer
from rft.learner.packing import PackedBatch, PackedGroup, pack_group, share_beginnings, split_groups
from rft.learner.policy_and_reference import Loading, Policies
from rft.learner.prompt_view import view_prompt
from rft.learner.schedule import learning_rate
from rft.learner.sharding import num_ranks, sum_over_ranks, this_rank
from rft.learner.token_ratios import token_ratios
from rft.learner.update_metrics import Update, update_metrics
from rft.learner.weights import (
    load_state,
    moving_weights,
    read_json,
    save_adapter,
    save_policy,
    save_state,
    trainable,
    trains_all,
    write_json,
)
from rft.parity.compare import PromptView
from rft.recipe import Recipe
from rft.types import Prompt, TokenRatio, TrainGroup
from rft.weights.ref import Probe

if TYPE_CHECKING:
    from rft.data.video import ClipCache

PROBE_TEXT = "<think>A red square moves to the left.</think><answer>1.5 to 3.0</answer>"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class FixedLogprobs:
    """[N, T] each, of the completions of one forward; the same in all updates of a step."""

    old: Tensor
    """Under the policy before the step's first update."""
    reference: Tensor | None
    """Under the frozen reference; None without a KL term."""


class Learner:
    """GRPO on the packed groups of a batch. With several ranks, every method is called on each with equal arguments."""

    def __init__(
        self,
        model_dir: str | Path,
        recipe: Recipe,
        processor: PromptProcessor,
        clips: "ClipCache",
        total_updates: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        packed: bool = True,
        features_dir: Path | None = None,
    ) -> None:
        """`total_updates`: where the learning rate schedule ends. `dtype`: in place of the recipe's.

        `packed`: a group is one sequence, where the model can; False: a copy of the prompt per completion.
        `features_dir`: where a frozen vision tower's features are kept, up to video.cache_gib; None: in memory alone.
        Raises DataError where `model_dir` holds no usable model.
        """
        self.recipe, self.processor, self.clips = recipe, processor, clips
        self.total_updates = total_updates
        self.device = torch.device(device)
        self.dtype = dtype or DTYPES[recipe.learner.dtype]
        self.policy_version = 0
        self.token_ratios: dict[int, tuple[TokenRatio, ...]] = {}
        """Of the last update, as of `rft.learner.token_ratios`, of the groups that this rank worked on."""
        self._log_ratios: dict[tuple[int, ...], Tensor] = {}
        """Places of a forward's completions -> [N, T], of policy over engine; from the last pass over them."""
        loading = Loading(self.device, self.dtype, packed, features_dir)
        banned = processor.banned_token_ids if recipe.learner.ban_vision_tokens else ()
        self._policies = Policies(model_dir, recipe, banned, loading)
        self._model, self._policy = self._policies.model, self._policies.policy
        self._optimizer = build_optimizer(list(trainable(self._model).values()), recipe.learner)

    def prefetch(self, prompts: Sequence[Prompt], is_due: Callable[[], bool] = lambda: False) -> None:
        """Process what the prompts show while their completions are sampled, as far as it is decoded and the
        processor's cache holds it.

        Which rank gets which group depends on the completions, so each processes all prompts. Its reference's tower
        sees an equal share of them, first; the other ranks find the features in the folder. `is_due`: whether the
        update has come, which processes the rest itself.
        """
        num_bytes = 0
        own = range(this_rank(), len(prompts), num_ranks())
        for place in sorted(range(len(prompts)), key=lambda place: place not in own):
            prompt = prompts[place]
            if is_due():
                return
            try:
                frames = self.clips.find(prompt.media) if prompt.media else None
                if frames is None:
                    continue
                inputs = self.processor.encode(prompt, frames)
            except DataError:  # an engine meets the same error, and the run counts it there
                continue
            num_bytes += inputs.num_bytes
            if num_bytes > MAX_CACHED_BYTES:
                return
            if place in own:
                self._policies.prefetch(visual_input(inputs, frames))

    def update(self, groups: Sequence[TrainGroup]) -> dict[str, float]:
        """Train on the rollouts of a step; returns the metrics of the last of num_iterations times over them.

        Each time makes num_mini_batches optimizer updates, fewer where there are fewer groups. Sums over a mini-batch
        are divided once, so the result does not depend on how groups share forwards and ranks. An update without
        groups, or with a gradient that is not finite, changes nothing and counts as skipped.
        """
        algorithm = self.recipe.algorithm
        self.token_ratios, self._log_ratios = {}, {}
        tokens = token_groups(groups, self.processor)
        if not tokens:
            return {"skipped_updates": 1.0}
        num_encoded = self._policies.num_encoded_videos
        self._check_tokens(tokens)
        if not self.recipe.learner.mask_padding:
            tokens = tuple(group.padded(self.processor.eos_token_id, self.processor.pad_token_id) for group in tokens)
        clock = Clock()
        with self._phase(clock, "learner_encode"):
            parts = split_mini_batches(tokens, algorithm.num_mini_batches)
            mini_batches = [self._micro_batches(part) for part in parts]
        with self._phase(clock, "learner_forward"):
            # What the first update works on needs no pass of its own: its own forwards are of the old policy.
            fixed = [[], *(self._fixed_logprobs(batches) for batches in mini_batches[1:])]
        metrics: dict[str, float] = {}
        num_skipped = 0.0
        for _ in range(algorithm.num_iterations):
            updates = [self._train(*each, clock) for each in zip(mini_batches, fixed, strict=True)]
            metrics = update_metrics(updates)
            num_skipped += metrics["skipped_updates"]
        self.token_ratios = token_ratios(groups, self._log_ratios, self.processor.token_bytes)
        metrics |= {"skipped_updates": num_skipped, "num_groups_trained": float(len(tokens))}
        encoded = float(self._policies.num_encoded_videos - num_encoded)
        metrics |= sum_over_ranks({"num_encoded_videos": encoded}, self.device)
        return metrics | clock.metrics()

    @torch.no_grad()
    def view_groups(self, groups: Sequence[TrainGroup]) -> tuple[PromptView, ...]:
        """The learner's view of each group's prompt and completions, in order."""

        def logprobs(packed: PackedGroup) -> Tensor:
            # By this tower, not by what an engine's tower left in the folder: the two are what is compared.
            batch = self._policies.batch([packed], self.processor.eos_token_id, kept=False)
            scored: TokenLogprobs = self._policy(batch.to(self.device))
            return scored.logprobs

        seconds = self.recipe.learner.seconds_per_grid
        version = self.policy_version
        return tuple(
            view_prompt(group, self.processor, self.clips, self._model, seconds, version, logprobs)
            for group in token_groups(groups, self.processor)
        )

    @property
    def frozen_tower(self) -> str | None:
        """Fingerprint of the policy's vision tower where it is frozen: engines keep its features under this name."""
        return self._policies.frozen_tower

    @property
    def trains_all(self) -> bool:
        """Whether no weight is frozen."""
        return trains_all(self._model)

    def state_dict_for_rollout(
        self, device: torch.device | str = "cpu", *, on_every_rank: bool = False
    ) -> tuple[dict[str, Tensor], Probe]:
        """Copies on `device` of the weights that training moves, and what the policy says of a fixed text.

        Named as in the saved model, adapters merged; {} on ranks above 0, unless `on_every_rank`. The probe's
        log-probabilities are under the bare logits: no temperature, no banned tokens.
        """
        token_ids = self.processor.completion_ids(PROBE_TEXT)
        packed = pack_group(token_ids[:1], torch.zeros(3, 1, dtype=torch.long), [token_ids[1:]])
        with torch.no_grad():
            logprobs = self._policy(self._batch([packed]), as_sampled=False).logprobs
        weights = moving_weights(self._model, self.dtype, torch.device(device), on_every_rank=on_every_rank)
        return weights, Probe(tuple(token_ids), tuple(logprobs.tolist()))

    def save(self, directory: Path) -> None:
        """Write `policy/` (a Hugging Face folder), the optimizer's state, and with LoRA `adapter/`."""
        directory.mkdir(parents=True, exist_ok=True)
        save_policy(self._model, directory / "policy", self.dtype)
        if self._policies.lora is not None:
            save_adapter(self._model, self._policies.lora, directory / "adapter")
        save_state(self._model, self._optimizer, directory)
        if this_rank() == 0:
            self.processor.save(directory / "policy")
            write_json(directory / "learner.json", {"policy_version": self.policy_version})

    def load(self, directory: Path) -> None:
        """Continue from what `save` wrote. Raises CheckpointError where the folder is damaged or of another model."""
        self.policy_version = read_json(directory / "learner.json")["policy_version"]
        load_state(self._model, self._optimizer, directory)

    def _check_tokens(self, groups: Sequence[TokenGroup]) -> None:
        banned = set(self.processor.banned_token_ids)
        wrong = [
            group.prompt.prompt_id
            for group in groups
            for completion in group.completions
            if banned.intersection(completion.token_ids)
        ]
        if wrong:
            raise RolloutError(
                f"{len(wrong)} completions hold a token that must never be sampled, such as a vision placeholder "
                f"(prompts {', '.join(wrong[:3])}). The engine must ban processor.banned_token_ids."
            )

    def _micro_batches(self, groups: Sequence[TokenGroup]) -> list[MicroBatch]:
        """This rank's forwards, as many as any other rank has."""
        packed, context = self._policies.is_packed, self._policies.context
        if not packed:
            groups = [single for group in groups for single in group.singles()]
        size = context.size if context else 1
        most = self.recipe.learner.max_tokens_per_forward
        config = self._model.config
        visual_ids = (config.video_token_id, config.image_token_id)
        shares = packed and self.recipe.video.stream
        units = clip_units(groups, most) if shares else tuple((group,) for group in groups)
        plan = split_groups([unit_length(unit) for unit in units], num_ranks() // size, most, padded=not packed)
        shortest = min(groups, key=TokenGroup.packed_length).shortest()
        batches = []
        for of_ranks in zip(*plan, strict=True):
            shows = any(group.prompt.media for places in of_ranks for group in _chosen(units, places, shortest))
            places = of_ranks[this_rank() // size]
            chosen, is_filler = _chosen(units, places, shortest), not places
            if context:
                chosen, has_own = deal_completions(chosen, context.rank, size)
                is_filler = is_filler or not has_own
            seconds = self.recipe.learner.seconds_per_grid
            encoded = [encode_group(group, self.processor, self.clips, self._model, seconds) for group in chosen]
            if shares:
                encoded = share_beginnings(encoded, visual_ids)
            batch = self._policies.batch(encoded, self.processor.eos_token_id, tower_runs=shows, shared=True)
            seen = self._policies.reference_visual(encoded, batch)  # both moved in their turn
            batches.append(micro_batch(chosen, batch, seen, _loss_dtype(self.dtype), is_filler=is_filler))
        return batches

    def _batch(self, groups: Sequence[PackedGroup]) -> PackedBatch:
        return self._policies.batch(groups, self.processor.eos_token_id).to(self.device)

    @torch.no_grad()
    def _fixed_logprobs(self, batches: Sequence[MicroBatch]) -> list[FixedLogprobs]:
        """By the policy as it is now, before any update of the step."""
        fixed = []
        for waiting in batches:
            batch = waiting.to(self.device)
            fixed.append(self._fixed(batch, batch.unpack(self._policy(batch.packed).logprobs)))
        return fixed

    def _fixed(self, batch: MicroBatch, old_logprobs: Tensor) -> FixedLogprobs:
        reference = None
        if self.recipe.algorithm.beta > 0:
            reference = batch.unpack(self._policies.reference_logprobs(batch.packed, batch.reference_visual))
        return FixedLogprobs(old_logprobs, reference)

    def _train(self, batches: Sequence[MicroBatch], fixed: list[FixedLogprobs], clock: Clock) -> Update:
        """One optimizer update on a mini-batch. `fixed`: as in `_accumulate`."""
        sums = self._accumulate(batches, fixed, clock)
        with self._phase(clock, "learner_optimizer"):
            return Update(sums, *self._step(sums["weight"]))

    def _accumulate(self, batches: Sequence[MicroBatch], fixed: list[FixedLogprobs], clock: Clock) -> dict[str, float]:
        """Add the gradients of all forwards; returns sums over the batch, of all ranks.

        `fixed`: per forward; filled in where empty, by the policy as it is now.
        """
        sums: dict[str, Tensor] = {}
        for number, waiting in enumerate(batches):
            batch = waiting.to(self.device)
            with self._phase(clock, "learner_forward"):
                loss, values = self._loss(batch, fixed, number)
            with self._phase(clock, "learner_backward"):
                loss.backward()  # type: ignore[no-untyped-call]
            for name, value in values.items():
                # In place of a product with 0: that of an infinite value is not a number.
                counted = torch.as_tensor(0.0 if batch.is_filler else value, dtype=torch.float64, device=self.device)
                sums[name] = sums[name] + counted if name in sums else counted
        totals = dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))
        return sum_over_ranks(totals, self.device)

    def _loss(
        self, batch: MicroBatch, fixed: list[FixedLogprobs], number: int
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        algorithm = self.recipe.algorithm
        scored = self._policy(batch.packed)
        policy_logprobs = batch.unpack(scored.logprobs)
        if not batch.is_filler:
            ratios = torch.where(batch.sampled, policy_logprobs.detach() - batch.rollout_logprobs, 0.0)
            self._log_ratios[batch.places] = ratios
        if number == len(fixed):
            fixed.append(self._fixed(batch, policy_logprobs.detach()))
        output = loss_function(algorithm.loss_type)(
            LossInputs(
                policy_logprobs=policy_logprobs,
                old_logprobs=fixed[number].old,
                reference_logprobs=fixed[number].reference,
                advantages=batch.advantages,
                mask=batch.mask,
                # To the correction of the engine's mismatch, what no engine drew is as likely there as here.
                rollout_logprobs=torch.where(batch.sampled, batch.rollout_logprobs, fixed[number].old),
                algorithm=algorithm,
                correction=algorithm.correction(self.recipe.rollout.ahead),
                max_completion_length=self.recipe.sampling.max_completion_length,
            )
        )
        # The old policy's gap: that of the policy between two updates would be one of weights, not of engines.
        rollout, old = batch.rollout_logprobs[batch.sampled], fixed[number].old[batch.sampled]
        gap = (old - rollout).abs()
        # A filler's gradients are 0 from the log-probabilities on, also where its loss is not finite.
        return (policy_logprobs * 0).sum() if batch.is_filler else output.loss_sum, {
            "loss": output.loss_sum.detach(),
            "weight": output.weight,
            **output.metrics,
            "entropy": scored.entropies.sum(),
            "logprob_gap": gap.sum(),
            "logprob_gap_exp": gap.exp().sum(),
            "logprob_gap_k3": k3(rollout, old).sum(),
            "num_tokens": float(len(scored.logprobs)),
            "num_sampled_tokens": float(len(old)),
            "num_completions": float(len(batch.mask)),
            "num_packed_tokens": float(batch.packed.num_tokens),
            "num_padded_tokens": float(batch.packed.token_ids.numel()),
            "num_forwards": 1.0,
        }

    def _step(self, weight: float) -> tuple[float, float]:
        """One optimizer update with the accumulated gradients; none where their norm is not finite.

        Returns that norm, before clipping, and the learning rate.
        """
        parameters = list(trainable(self._model).values())
        rate = learning_rate(self.recipe.learner, self.policy_version, self.total_updates)
        max_grad_norm = self.recipe.learner.max_grad_norm
        grad_norm = apply_gradients(parameters, self._optimizer, weight, max_grad_norm, rate)
        self.policy_version += math.isfinite(grad_norm)
        return grad_norm, rate

    @contextmanager
    def _phase(self, clock: Clock, name: str) -> Iterator[None]:
        with clock.phase(name):
            yield
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)  # kernels run on after the call that starts them


def _chosen(
    units: Sequence[tuple[TokenGroup, ...]], places: Sequence[int], filler: TokenGroup
) -> tuple[TokenGroup, ...]:
    """The groups of a forward: those of the units at `places`, or the filler where there are none."""
    return tuple(group for place in places for group in units[place]) or (filler,)


def _loss_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.bfloat16 else dtype
