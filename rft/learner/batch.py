"""Train samples -> the tensors of the forward passes they share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rft.errors import DataError
from rft.learner.packing import PackedBatch, PackedGroup, pack_group, packed_length
from rft.learner.vision import VisualInput
from rft.types import Prompt, TrainSample

if TYPE_CHECKING:
    from rft.data.frames import Frames
    from rft.data.processor import PromptInputs, PromptProcessor
    from rft.data.video import ClipCache


@dataclass(frozen=True, slots=True)
class SampleGroup:
    """The samples of one prompt."""

    prompt: Prompt
    samples: tuple[TrainSample, ...]

    def packed_length(self) -> int:
        completions = [sample.completion for sample in self.samples]
        return packed_length(completions[0].num_prompt_tokens, [len(c.token_ids) for c in completions])

    def padded(self, end_id: int, pad_id: int) -> "SampleGroup":
        """The group with padding up to its longest completion behind those without the end token.

        So VideoChat-R1's released trainer sees them: its mask goes on to the first end token, or to the last place.
        """
        longest = max(len(sample.completion.token_ids) for sample in self.samples)

        def padded(sample: TrainSample) -> TrainSample:
            completion = sample.completion
            number = longest - len(completion.token_ids)
            if not number or end_id in completion.token_ids:
                return sample
            token_ids, logprobs = completion.token_ids + (pad_id,) * number, completion.logprobs + (0.0,) * number
            completion = replace(completion, token_ids=token_ids, logprobs=logprobs)
            return replace(sample, completion=completion, num_padding=number)

        return replace(self, samples=tuple(map(padded, self.samples)))

    def singles(self) -> "tuple[SampleGroup, ...]":
        """A group for each sample."""
        return tuple(replace(self, samples=(sample,)) for sample in self.samples)

    def shortest(self) -> "SampleGroup":
        """The group with its shortest completion alone."""
        return replace(self, samples=(min(self.samples, key=lambda sample: len(sample.completion.token_ids)),))


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward pass works on: N completions of up to T tokens."""

    packed: PackedBatch
    mask: Tensor
    """[N, T], True at tokens."""
    advantages: Tensor
    """[N]"""
    rollout_logprobs: Tensor
    """[N, T], 0 outside `sampled`."""
    sampled: Tensor
    """[N, T], True at tokens that an engine drew: all but those of ground truths and padding."""
    reference_visual: VisualInput | None
    """What the reference sees, where its tower is another than the policy's."""
    is_filler: bool
    """Run for the sake of the other ranks only; counts for nothing."""

    def to(self, device: torch.device) -> "MicroBatch":
        return replace(
            self,
            packed=self.packed.to(device),
            mask=self.mask.to(device),
            advantages=self.advantages.to(device),
            rollout_logprobs=self.rollout_logprobs.to(device),
            sampled=self.sampled.to(device),
            reference_visual=self.reference_visual and self.reference_visual.to(device),
        )

    def unpack(self, values: Tensor) -> Tensor:
        """[M] in packed order -> [N, T], 0 outside the mask."""
        return values.new_zeros(self.mask.shape).masked_scatter(self.mask, values)


def with_tokens(samples: Sequence[TrainSample], processor: "PromptProcessor") -> tuple[TrainSample, ...]:
    """The samples, ground truths with the tokens of their text; zeros stand where no engine gave log-probabilities."""

    def written(sample: TrainSample) -> TrainSample:
        ids = processor.completion_ids(sample.completion.text)
        return replace(sample, completion=replace(sample.completion, token_ids=ids, logprobs=(0.0,) * len(ids)))

    return tuple(written(sample) if sample.is_ground_truth else sample for sample in samples)


def group_samples(samples: Sequence[TrainSample]) -> tuple[SampleGroup, ...]:
    """Groups in the order of their first sample. Samples without a token are left out."""
    by_prompt: dict[str, list[TrainSample]] = {}
    for sample in samples:
        if sample.completion.token_ids:
            by_prompt.setdefault(sample.prompt.prompt_id, []).append(sample)
    return tuple(SampleGroup(members[0].prompt, tuple(members)) for members in by_prompt.values())


def split_mini_batches(groups: Sequence[SampleGroup], number: int) -> tuple[Sequence[SampleGroup], ...]:
    """Parts in the order of the groups, whose sizes differ by at most 1; fewer than `number` where groups are fewer."""
    number = min(number, len(groups))
    ends = [len(groups) * part // number for part in range(number + 1)]
    return tuple(groups[start:end] for start, end in pairwise(ends))


def encode_group(
    group: SampleGroup,
    processor: "PromptProcessor",
    clips: "ClipCache",
    model: PreTrainedModel,
    seconds_per_grid: Literal["clip", "one"] = "clip",
) -> PackedGroup:
    """`seconds_per_grid`: the recipe's. Raises DataError where the completions were sampled from another prompt."""
    frames = clips.load(group.prompt.media)
    inputs = processor.encode(group.prompt, frames)
    seen = {sample.completion.num_prompt_tokens for sample in group.samples}
    if seen != {len(inputs.token_ids)}:
        raise DataError(
            f"prompt {group.prompt.prompt_id}: learner built {len(inputs.token_ids)} prompt tokens, rollout used "
            f"{', '.join(map(str, sorted(seen)))}; both must use rft/data/processor.py with the same model folder."
        )
    seconds = inputs.seconds_per_grid
    if seconds is not None and seconds_per_grid == "one":
        seconds = torch.ones_like(seconds)
    return pack_group(
        inputs.token_ids,
        prompt_positions(model, inputs.token_ids, inputs.grid, seconds),
        [sample.completion.token_ids for sample in group.samples],
        visual_input(inputs, frames),
    )


def visual_input(inputs: "PromptInputs", frames: "Frames | None") -> VisualInput | None:
    """What a prompt shows, for the tower; None: text alone."""
    return VisualInput(inputs.patches, inputs.grid, frames.key) if frames and inputs.grid is not None else None


def prompt_positions(
    model: PreTrainedModel, token_ids: Sequence[int], grid: Tensor | None, seconds_per_grid: Tensor | None
) -> Tensor:
    """[3, P] M-RoPE positions of a prompt: time, row and column.

    `grid` [n, 3] and `seconds_per_grid` [n] of its clips and images; None as in PromptInputs.

    By the rule that the models were trained with and vLLM follows: text after a video goes on behind the largest
    position of the video. transformers 5.19 goes on behind its rows and columns instead, so that long videos overlap
    the text that follows; its own `get_rope_index` would make learner and engine disagree.
    """
    ids = torch.tensor(token_ids)
    if grid is None:
        return torch.arange(len(ids)).expand(3, -1)
    vision = model.config.vision_config
    is_visual = (ids == model.config.video_token_id) | (ids == model.config.image_token_id)
    steps = [0.0] * len(grid) if seconds_per_grid is None else seconds_per_grid.tolist()
    shown = list(zip(grid.tolist(), steps, strict=True))
    if model.config.model_type == "qwen3_vl":  # every frame pair stands alone, behind its time in words
        shown = [((1, rows, columns), 0.0) for (times, rows, columns), _ in shown for _ in range(times)]
    parts: list[Tensor] = []
    at, place = 0, 0
    for (times, rows, columns), seconds in shown:
        num_text = int(is_visual[at:].int().argmax())
        sides = (torch.arange(side // vision.spatial_merge_size) for side in (rows, columns))
        cells = torch.cartesian_prod(torch.arange(times), *sides).T
        if hasattr(vision, "tokens_per_second"):  # Qwen2-VL counts frame pairs, not time
            cells[0] = (cells[0] * (seconds * vision.tokens_per_second)).long()
        text = torch.arange(num_text).expand(3, -1) + place
        parts += [text, cells + place + num_text]
        at += num_text + cells.shape[1]
        place = int(parts[-1].max()) + 1
    return torch.cat([*parts, torch.arange(len(ids) - at).expand(3, -1) + place], dim=1)


def micro_batch(
    groups: Sequence[SampleGroup],
    packed: PackedBatch,
    reference_visual: VisualInput | None,
    dtype: torch.dtype,
    *,
    is_filler: bool,
) -> MicroBatch:
    samples = [sample for group in groups for sample in group.samples]
    lengths = torch.tensor([len(sample.completion.token_ids) for sample in samples])
    places = torch.arange(int(lengths.max()))
    mask = places < lengths[:, None]
    logprobs = torch.tensor([value for sample in samples for value in sample.completion.logprobs], dtype=dtype)
    drawn = [0 if s.is_ground_truth else len(s.completion.token_ids) - s.num_padding for s in samples]
    return MicroBatch(
        packed=packed,
        mask=mask,
        advantages=torch.tensor([sample.advantage for sample in samples], dtype=dtype),
        rollout_logprobs=logprobs.new_zeros(mask.shape).masked_scatter(mask, logprobs),
        sampled=places < torch.tensor(drawn)[:, None],
        reference_visual=reference_visual,
        is_filler=is_filler,
    )
