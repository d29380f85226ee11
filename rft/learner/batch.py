"""Train groups -> the tensors of the forward passes they share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rft.errors import DataError
from rft.learner.packing import PackedBatch, PackedGroup, pack_group, packed_length, split_groups
from rft.learner.vision import VisualInput
from rft.types import Prompt, TrainGroup, Video

if TYPE_CHECKING:
    from rft.data.frames import Shown
    from rft.data.processor import PromptInputs, PromptProcessor
    from rft.data.video import ClipCache


@dataclass(frozen=True, slots=True)
class LearnedCompletion:
    """The tokens of a completion and what they earned."""

    token_ids: tuple[int, ...]
    """[T]"""
    logprobs: tuple[float, ...]
    """[S], of the first S tokens, those that an engine drew: none of a ground truth, nor of padding."""
    advantage: float
    place: int
    """Of the completion, among those of all groups of the update."""


@dataclass(frozen=True, slots=True)
class TokenGroup:
    """A TrainGroup as tokens."""

    prompt: Prompt
    num_prompt_tokens: int
    """As the engine counted them."""
    completions: tuple[LearnedCompletion, ...]

    def packed_length(self) -> int:
        """Tokens of the group in a packed sequence."""
        return packed_length(self.num_prompt_tokens, [len(completion.token_ids) for completion in self.completions])

    def padded(self, end_id: int, pad_id: int) -> "TokenGroup":
        """The group with padding up to its longest completion behind those without the end token.

        So VideoChat-R1's released trainer sees them: its mask goes on to the first end token, or to the last place.
        """
        longest = max(len(completion.token_ids) for completion in self.completions)

        def padded(completion: LearnedCompletion) -> LearnedCompletion:
            if end_id in completion.token_ids:
                return completion
            padding = (pad_id,) * (longest - len(completion.token_ids))
            return replace(completion, token_ids=completion.token_ids + padding)

        return replace(self, completions=tuple(map(padded, self.completions)))

    def singles(self) -> "tuple[TokenGroup, ...]":
        """A group for each completion."""
        return tuple(replace(self, completions=(completion,)) for completion in self.completions)

    def dealt(self, rank: int, size: int) -> "TokenGroup":
        """The group with the completions of one of `size` ranks, which have about as many tokens each."""
        lengths = [len(completion.token_ids) for completion in self.completions]
        (places,) = split_groups(lengths, size, sum(lengths))[rank]
        return replace(self, completions=tuple(self.completions[place] for place in sorted(places)))

    def shortest(self) -> "TokenGroup":
        """The group with its shortest completion alone."""
        return replace(self, completions=(min(self.completions, key=lambda one: len(one.token_ids)),))


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
    places: tuple[int, ...]
    """[N], of the completions, among those of all groups of the update."""
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


def token_groups(groups: Sequence[TrainGroup], processor: "PromptProcessor") -> tuple[TokenGroup, ...]:
    """The groups as tokens, ground truths tokenized. Completions without a token are left out, and groups of none."""

    def completion(group: TrainGroup, index: int, place: int) -> LearnedCompletion:
        drawn, advantage = group.completions[index], group.advantages[index]
        if group.has_ground_truth and index == len(group.completions) - 1:
            return LearnedCompletion(tuple(processor.completion_ids(drawn.text)), (), advantage, place)
        return LearnedCompletion(drawn.token_ids, drawn.logprobs, advantage, place)

    learned, places = [], count()
    for group in groups:
        completions = [completion(group, index, next(places)) for index in range(len(group.completions))]
        if kept := tuple(one for one in completions if one.token_ids):
            learned.append(TokenGroup(group.prompt, group.completions[0].num_prompt_tokens, kept))
    return tuple(learned)


def split_mini_batches(groups: Sequence[TokenGroup], number: int) -> tuple[Sequence[TokenGroup], ...]:
    """Parts in the order of the groups, whose sizes differ by at most 1; fewer than `number` where groups are fewer."""
    number = min(number, len(groups))
    ends = [len(groups) * part // number for part in range(number + 1)]
    return tuple(groups[start:end] for start, end in pairwise(ends))


def deal_completions(groups: Sequence[TokenGroup], rank: int, size: int) -> tuple[tuple[TokenGroup, ...], bool]:
    """The groups with the completions of one of `size` ranks, and whether it has any; else the shortest fills in."""
    dealt = tuple(group.dealt(rank, size) for group in groups)
    if any(group.completions for group in dealt):
        return dealt, True
    return (groups[0].shortest(), *dealt[1:]), False


def clip_units(groups: Sequence[TokenGroup], max_tokens: int) -> tuple[tuple[TokenGroup, ...], ...]:
    """Groups about one clip, whatever its end, together, the longest prompt first; others are units of their own.

    A unit has at most `max_tokens` by `unit_length`, unless it is a single group.
    """
    by_clip: dict[object, list[TokenGroup]] = {}
    for place, group in enumerate(groups):
        media = group.prompt.media
        clip = replace(media, end_s=None) if isinstance(media, Video) else place
        by_clip.setdefault(clip, []).append(group)
    units: list[tuple[TokenGroup, ...]] = []
    for about in by_clip.values():
        unit: tuple[TokenGroup, ...] = ()
        for group in sorted(about, key=lambda group: -group.num_prompt_tokens):
            if unit and unit_length((*unit, group)) > max_tokens:
                units.append(unit)
                unit = ()
            unit = (*unit, group)
        units.append(unit)
    return tuple(units)


def unit_length(unit: Sequence[TokenGroup]) -> int:
    """Tokens of a unit: its longest prompt and all completions; what other questions say themselves is left out."""
    completions = [len(completion.token_ids) for group in unit for completion in group.completions]
    return packed_length(unit[0].num_prompt_tokens, completions)


def encode_group(
    group: TokenGroup,
    processor: "PromptProcessor",
    clips: "ClipCache",
    model: PreTrainedModel,
    seconds_per_grid: Literal["clip", "one"] = "clip",
) -> PackedGroup:
    """`seconds_per_grid`: the recipe's. Raises DataError where the completions were sampled from another prompt."""
    frames = clips.load(group.prompt.media)
    inputs = processor.encode(group.prompt, frames)
    if group.num_prompt_tokens != len(inputs.token_ids):
        raise DataError(
            f"prompt {group.prompt.prompt_id}: learner built {len(inputs.token_ids)} prompt tokens, rollout used "
            f"{group.num_prompt_tokens}; both must use rft/data/processor.py with the same model folder."
        )
    seconds = inputs.seconds_per_grid
    if seconds is not None and seconds_per_grid == "one":
        seconds = torch.ones_like(seconds)
    return pack_group(
        inputs.token_ids,
        prompt_positions(model, inputs.token_ids, inputs.grid, seconds),
        [completion.token_ids for completion in group.completions],
        visual_input(inputs, frames),
    )


def visual_input(inputs: "PromptInputs", frames: "Shown | None") -> VisualInput | None:
    """What a prompt shows, for the tower; None: text alone."""
    if frames is None or inputs.grid is None:
        return None
    # Features are kept by clip: those of several are computed each time.
    key = frames.key if len(inputs.grid) == 1 else None
    return VisualInput(inputs.patches, inputs.grid, key, scale=inputs.scale)


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
    groups: Sequence[TokenGroup],
    packed: PackedBatch,
    reference_visual: VisualInput | None,
    dtype: torch.dtype,
    *,
    is_filler: bool,
) -> MicroBatch:
    completions = [completion for group in groups for completion in group.completions]
    lengths = torch.tensor([len(completion.token_ids) for completion in completions])
    num_drawn = torch.tensor([len(completion.logprobs) for completion in completions])
    places = torch.arange(int(lengths.max()))
    mask, sampled = places < lengths[:, None], places < num_drawn[:, None]
    logprobs = torch.tensor([value for completion in completions for value in completion.logprobs], dtype=dtype)
    return MicroBatch(
        packed=packed,
        mask=mask,
        advantages=torch.tensor([completion.advantage for completion in completions], dtype=dtype),
        rollout_logprobs=logprobs.new_zeros(mask.shape).masked_scatter(sampled, logprobs),
        sampled=sampled,
        places=tuple(completion.place for completion in completions),
        reference_visual=reference_visual,
        is_filler=is_filler,
    )
